//! What is printed: messages on stdout, each line after the name of its client; the rest on stderr. On a terminal
//! both stand above the line that is being typed.
//!
//! Threads print, so that an output that takes nothing stops the clients whose messages wait for it and no
//! other; what is merely told of clients is then lost.

use std::{
    fmt,
    io::{self, IsTerminal},
    sync::mpsc::{self as blocking, RecvTimeoutError},
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use sockeye::{Closed, Message, MessageKind};
use tokio::sync::{mpsc, oneshot};

use super::{cgi::Link, clients::Name};
use crate::{
    terminal::output::{complain, print_with},
    terminal::prompt::Prompt,
    terminal::visible,
};

/// How many lines wait for each output.
const WAITING: usize = 64;

/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How much of a binary message is shown on a terminal, in bytes.
const SHOWN: usize = 64;

/// How it is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// As JSON lines.
    pub(super) json: bool,
    /// Without what is told of clients.
    pub(super) quiet: bool,
}

/// Where lines go. Clones print to the same.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    out: mpsc::Sender<Line>,
    err: mpsc::Sender<Line>,
    style: Style,
    is_terminal: bool,
}

enum Line {
    Out(Vec<u8>),
    Err(String),
}

/// The threads that print, to be waited for when no screen is left.
pub(super) struct Printers(Vec<blocking::Receiver<()>>);

/// Says when stdout does not take what is printed.
pub(super) type Failed = oneshot::Receiver<anyhow::Error>;

impl Screen {
    /// Begins to print, above the prompt if there is one.
    pub(super) fn open(
        style: Style,
        prompt: Option<Prompt>,
    ) -> io::Result<(Self, Printers, Failed)> {
        let (out, lines) = mpsc::channel(WAITING);
        let (say_failed, failed) = oneshot::channel();
        let (err, printers) = match prompt {
            Some(prompt) => (out.clone(), vec![start(lines, Output::Prompt(prompt), say_failed)?]),
            None => {
                let (err, complaints) = mpsc::channel(WAITING);
                let (never, _) = oneshot::channel();
                let printers = [(lines, say_failed), (complaints, never)];
                let printers = printers.map(|(lines, failed)| start(lines, Output::Plain, failed));
                (err, printers.into_iter().collect::<io::Result<_>>()?)
            }
        };
        let is_terminal = io::stdout().is_terminal();
        Ok((Self { out, err, style, is_terminal }, Printers(printers), failed))
    }

    /// Prints a client's message; waits for the output. `false` if there is none any more.
    pub(super) async fn message(&self, name: Name, message: Message) -> bool {
        self.print(match self.style.json {
            true => json_message(name, &message),
            false => self.plain(name, message),
        })
        .await
    }

    /// Tells of a client that has come.
    pub(super) async fn opened(&self, name: Name, link: Link, uri: &str) {
        if self.style.json {
            let opened =
                json!({"client": name.0, "open": {"from": link.peer.to_string(), "to": uri}});
            self.print(opened.to_string().into_bytes()).await;
        }
        self.tell(format_args!("{name} connected from {} to {uri}", link.peer));
    }

    /// Tells of a client that has left.
    pub(super) async fn closed(&self, name: Name, closed: &Closed) {
        if self.style.json {
            let (code, reason) = (closed.code(), closed.reason());
            let closed = json!({"client": name.0, "close": {"code": code, "reason": reason}});
            self.print(closed.to_string().into_bytes()).await;
        }
        self.tell(format_args!("{name} {closed}"));
    }

    /// Tells the person in front of it something, unless that is not wanted; waits for nothing.
    pub(super) fn tell(&self, line: impl fmt::Display) {
        if !self.style.quiet {
            self.warn(line);
        }
    }

    /// The same of what has gone wrong, whether wanted or not.
    pub(super) fn warn(&self, line: impl fmt::Display) {
        // Where stderr takes nothing the line is lost.
        let _ = self.err.try_send(Line::Err(line.to_string()));
    }

    /// Passes on what a process has said on its stderr; waits for ours.
    pub(super) async fn said(&self, name: Name, line: &[u8]) {
        let line = format!("{name} {}", String::from_utf8_lossy(line));
        // Nothing is left to say it to.
        let _ = self.err.send(Line::Err(line)).await;
    }

    async fn print(&self, line: Vec<u8>) -> bool {
        self.out.send(Line::Out(line)).await.is_ok()
    }

    fn plain(&self, name: Name, message: Message) -> Vec<u8> {
        match message.kind() {
            MessageKind::Binary if self.is_terminal => {
                let bytes = message.as_bytes();
                format!("{name} {} bytes: {}", bytes.len(), hex(bytes)).into_bytes()
            }
            MessageKind::Binary | MessageKind::Text => named_lines(name, message.as_bytes()),
        }
    }
}

impl Printers {
    /// Waits for the last lines; for a second at most.
    pub(super) fn finish(self) {
        for printer in self.0 {
            let ended = printer.recv_timeout(LAST_LINES);
            debug_assert!(ended != Ok(()), "nothing is sent: {:?}", RecvTimeoutError::Disconnected);
        }
    }
}

/// The message with the client's name before each of its lines: no client can speak for another.
fn named_lines(name: Name, text: &[u8]) -> Vec<u8> {
    let name = format!("{name} ");
    let lines = text.split(|byte| *byte == b'\n').map(|line| [name.as_bytes(), line].concat());
    lines.collect::<Vec<_>>().join(&b'\n')
}

fn json_message(name: Name, message: &Message) -> Vec<u8> {
    let line = match message.as_text() {
        Some(text) => json!({"client": name.0, "data": text}),
        None => json!({"client": name.0, "b64": STANDARD.encode(message.as_bytes())}),
    };
    line.to_string().into_bytes()
}

/// The beginning of a message, in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN { digits + "…" } else { digits }
}

enum Output {
    Prompt(Prompt),
    Plain,
}

impl Output {
    fn print(&mut self, line: Line) -> anyhow::Result<()> {
        match self {
            Self::Prompt(prompt) => prompt.print(match line {
                Line::Out(line) => visible::lines(&String::from_utf8_lossy(&line)).into_owned(),
                Line::Err(line) => format!("* {}", visible::line(&line)),
            }),
            Self::Plain => match line {
                Line::Out(line) => Ok(print_with(|out| out.write_all(&line))?),
                Line::Err(line) => {
                    complain(line);
                    Ok(())
                }
            },
        }
    }
}

/// Starts a thread that prints until no line can come; what it gives ends with it.
fn start(
    mut lines: mpsc::Receiver<Line>,
    mut output: Output,
    failed: oneshot::Sender<anyhow::Error>,
) -> io::Result<blocking::Receiver<()>> {
    let (running, ended) = blocking::channel();
    thread::Builder::new().name("print".to_owned()).spawn(move || {
        let _running = running;
        while let Some(line) = lines.blocking_recv() {
            if let Err(error) = output.print(line) {
                // The program may be about to end.
                let _ = failed.send(error);
                return;
            }
        }
    })?;
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_message_has_the_name_of_its_client() {
        assert_eq!(named_lines(Name(2), b"one\n@1 two\n"), b"@2 one\n@2 @1 two\n@2 ");
        assert_eq!(named_lines(Name(1), b""), b"@1 ");
    }

    #[test]
    fn json_says_which_client_and_what() {
        assert_eq!(json_message(Name(1), &"a\"b".into()), br#"{"client":1,"data":"a\"b"}"#);
        let bytes = Message::binary(vec![0, 255]);
        assert_eq!(json_message(Name(1), &bytes), br#"{"b64":"AP8=","client":1}"#);
    }
}
