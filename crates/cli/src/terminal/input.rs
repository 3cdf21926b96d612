//! The input of the program, cut into messages.

use std::io;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    sync::mpsc,
};

/// What ends a message in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    /// A line feed, with a carriage return before it or not.
    Line,
    /// A NUL, as `find -print0` writes it.
    Nul,
    /// The end of the input.
    End,
}

/// How much is read from the input at once.
const BUFFER: usize = 64 << 10;

/// The messages in the input, in memory `ahead` of what takes them. Something else reads the input, for a
/// read cannot be given up.
pub(crate) fn messages(separator: Separator, ahead: usize) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, messages) = mpsc::channel(ahead);
    tokio::spawn(async move {
        let mut input = BufReader::with_capacity(BUFFER, tokio::io::stdin());
        loop {
            let message = next(&mut input, separator).await.transpose();
            let Some(message) = message else { return };
            let is_last = message.is_err();
            if sender.send(message).await.is_err() || is_last {
                return;
            }
            if separator == Separator::End {
                return;
            }
        }
    });
    messages
}

/// The error of an input that cannot be read.
pub(crate) fn cannot_read(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot read the input")
}

/// The next message; `None` at the end.
async fn next(
    input: &mut (impl AsyncBufReadExt + Unpin),
    separator: Separator,
) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    let end = match separator {
        Separator::Line => b'\n',
        Separator::Nul => 0,
        Separator::End => {
            input.read_to_end(&mut message).await?;
            return Ok(Some(message));
        }
    };
    if input.read_until(end, &mut message).await? == 0 {
        return Ok(None);
    }
    if message.last() == Some(&end) {
        message.pop();
        if separator == Separator::Line && message.last() == Some(&b'\r') {
            message.pop();
        }
    }
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_end_where_the_separator_says() {
        let all = async |text: &str, separator| {
            let (mut input, mut all) = (text.as_bytes(), Vec::new());
            while let Some(message) = next(&mut input, separator).await.unwrap() {
                all.push(String::from_utf8(message).unwrap());
                if separator == Separator::End {
                    break;
                }
            }
            all
        };
        assert_eq!(all("a\n\nb\r\nc\rd\n", Separator::Line).await, ["a", "", "b", "c\rd"]);
        assert_eq!(all("a\nb", Separator::Line).await, ["a", "b"]);
        assert_eq!(all("a\r", Separator::Line).await, ["a\r"]);
        assert_eq!(all("a\nb\0\0c", Separator::Nul).await, ["a\nb", "", "c"]);
        assert_eq!(all("a\nb\0c\n", Separator::End).await, ["a\nb\0c\n"]);
        assert!(all("", Separator::Line).await.is_empty());
        assert_eq!(all("", Separator::End).await, [""]);
    }
}
