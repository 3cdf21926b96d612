//! What is typed: messages, and commands that begin with a slash.

use std::path::PathBuf;

use sockeye::{CloseCode, CloseFrame};

use super::hex;

/// A line that was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// It is a message.
    Message(Vec<u8>),
    /// `/hex`: bytes to send as a binary message.
    Bytes(Vec<u8>),
    /// `/send`: a file to send as a message.
    File(PathBuf),
    /// `/ping`.
    Ping,
    /// `/close`.
    Close(CloseFrame),
    /// `/help`.
    Help,
    /// It is a command and a wrong one: what to do.
    Wrong(String),
}

/// What `/help` says.
pub(super) const HELP: &str = "\
/ping                 send a ping, and say how long its pong takes
/close [CODE [WHY]]   close, with 1000 unless another code is given, and end
/send FILE            send a file as one message
/hex BYTES            send bytes as a binary message: /hex 00 ff 7f
/help                 say this
//TEXT                send a line that begins with a slash: /TEXT
Ctrl-D closes and ends, Ctrl-C does so at once.";

impl Typed {
    /// Reads a line.
    pub(super) fn parse(line: Vec<u8>) -> Self {
        let Some(command) = line.strip_prefix(b"/") else { return Self::Message(line) };
        if command.starts_with(b"/") {
            return Self::Message(command.to_vec());
        }
        let command = String::from_utf8_lossy(command);
        let (name, rest) = command.split_once(' ').unwrap_or((&command, ""));
        let rest = rest.trim();
        match (name, rest) {
            ("ping", "") => Self::Ping,
            ("help", "") => Self::Help,
            ("close", rest) => close(rest).map_or_else(Self::Wrong, Self::Close),
            ("send", file) if !file.is_empty() => Self::File(file.into()),
            ("send", _) => Self::Wrong("say which file: /send FILE".to_owned()),
            ("hex", bytes) => hex::parse(bytes).map_or_else(Self::Wrong, Self::Bytes),
            ("ping" | "help", _) => Self::Wrong(format!("/{name} takes nothing more")),
            _ => Self::Wrong(format!(
                "there is no command /{name}: /help lists them, //{command} sends the line"
            )),
        }
    }
}

/// What a Close is to say: nothing more, a code, or a code and a reason.
fn close(text: &str) -> Result<CloseFrame, String> {
    let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
    let code = match code {
        "" => CloseCode::NORMAL,
        code => {
            let number = code.parse::<u16>().ok().and_then(|code| CloseCode::try_from(code).ok());
            number.ok_or_else(|| {
                format!("{code} is not a code to close with: write 1000 or one from 3000 to 4999")
            })?
        }
    };
    CloseFrame::new(code, reason.trim()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Typed {
        Typed::parse(line.as_bytes().to_vec())
    }

    fn wrong(line: &str) -> String {
        match parse(line) {
            Typed::Wrong(why) => why,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_is_a_message_unless_it_begins_with_one_slash() {
        for (line, message) in [("hello", "hello"), ("", ""), (" /ping", " /ping"), ("//x", "/x")] {
            assert_eq!(parse(line), Typed::Message(message.into()), "{line}");
        }
        assert_eq!(Typed::parse(vec![0xff]), Typed::Message(vec![0xff]));
    }

    #[test]
    fn commands_take_what_they_take() {
        assert_eq!(parse("/ping"), Typed::Ping);
        assert_eq!(parse("/help "), Typed::Help);
        assert_eq!(parse("/send  a file"), Typed::File("a file".into()));
        assert_eq!(parse("/hex 00 fF7f"), Typed::Bytes(vec![0, 255, 127]));
        let close = |code, reason: &str| {
            Typed::Close(CloseFrame::new(CloseCode::new(code), reason.to_owned()).unwrap())
        };
        assert_eq!(parse("/close"), close(1000, ""));
        assert_eq!(parse("/close 1000 bye"), close(1000, "bye"));
        assert_eq!(parse("/close 4999  see you "), close(4999, "see you"));
    }

    #[test]
    fn a_wrong_command_says_what_to_write() {
        assert!(wrong("/etc/passwd").contains("//etc/passwd sends the line"));
        assert!(wrong("/ping x").contains("nothing more"));
        assert!(wrong("/send").contains("/send FILE"));
        assert!(wrong("/hex 0").contains("two digits"));
        for code in ["0", "1005", "1006", "5000", "x", "99999"] {
            assert!(wrong(&format!("/close {code}")).contains("1000"), "{code}");
        }
        assert!(wrong(&format!("/close 1000 {}", "x".repeat(124))).contains("123"));
    }
}
