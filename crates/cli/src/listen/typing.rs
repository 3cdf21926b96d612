//! What is typed or piped in, and which clients it is for.

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
use sockeye::Message;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    clients::{Clients, Name},
    screen::Screen,
};

/// Lines without their ends.
pub(super) type Lines = mpsc::Receiver<io::Result<Vec<u8>>>;

/// The lines of stdin, in a thread: it may wait for ever, and is not waited for. A line of more than `max`
/// bytes is an error.
pub(super) fn piped(max: usize) -> io::Result<Lines> {
    let (sender, lines) = mpsc::channel(16);
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        let mut input = BufReader::new(io::stdin());
        loop {
            let line = match read_line(&mut input, max) {
                Ok(None) => return,
                Ok(Some(line)) => Ok(line),
                Err(error) => Err(error),
            };
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(lines)
}

/// The next line, without its end; `None` at the end of the input.
fn read_line(input: &mut impl BufRead, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let limit = (max as u64).saturating_add(2);
    if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    match line.len() > max {
        true => {
            Err(io::Error::other(format!("a line of more than {max} bytes: see --max-message")))
        }
        false => Ok(Some(line)),
    }
}

/// Sends lines to clients.
pub(super) struct Typing {
    pub(super) clients: Arc<Clients>,
    pub(super) screen: Screen,
    /// As binary messages.
    pub(super) binary: bool,
    /// Whether a person types, and sees whether there is a client.
    pub(super) is_prompt: bool,
    /// How long a client may take nothing.
    pub(super) write_timeout: Duration,
}

impl Typing {
    /// Sends the lines, until there are no more. A pipe is not read while there is no client.
    pub(super) async fn send(&self, mut lines: Lines) -> anyhow::Result<()> {
        let mut number = 0_u64;
        loop {
            if !self.is_prompt {
                self.clients.some().await;
            }
            let Some(line) = lines.recv().await else { return Ok(()) };
            let line = match line {
                // Ctrl-C ends what is typed.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
                line => line.context("cannot read the input")?,
            };
            number += 1;
            let (to, text) = addressed(line);
            let message = match self.binary {
                true => Message::binary(text),
                false => Message::from(String::from_utf8(text).map_err(|_| {
                    anyhow!("line {number} of the input is not UTF-8: --binary sends bytes")
                })?),
            };
            match to {
                None => self.send_to_all(message).await,
                Some(name) => self.send_to(name, message).await,
            }
        }
    }

    async fn send_to_all(&self, message: Message) {
        if !self.is_prompt {
            self.clients.some().await;
        }
        let sent = self.clients.send_to_all(message, self.write_timeout).await;
        if sent.clients == 0 {
            self.screen.warn("no client is connected");
        }
        sent.slow.into_iter().for_each(|name| self.cut_off(name));
    }

    async fn send_to(&self, name: Name, message: Message) {
        let Some(writer) = self.clients.writer(name) else {
            return self.screen.warn(format_args!("{name} is not connected"));
        };
        if timeout(self.write_timeout, writer.send(message)).await.is_err() {
            writer.abort();
            self.cut_off(name);
        }
    }

    fn cut_off(&self, name: Name) {
        self.screen.warn(format_args!("{name} reads too slowly: cut off"));
    }
}

/// Which client a line is for, and what it says: `@2 text` for a client, `@* text` and everything else for all.
fn addressed(mut line: Vec<u8>) -> (Option<Name>, Vec<u8>) {
    let Some(rest) = line.strip_prefix(b"@") else { return (None, line) };
    let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
    let to = match &rest[..end] {
        b"*" => Some(None),
        digits if digits.iter().all(u8::is_ascii_digit) => {
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            number.map(|number| Some(Name(number)))
        }
        _ => None,
    };
    match to {
        Some(to) => {
            line.drain(..(end + 2).min(line.len()));
            (to, line)
        }
        None => (None, line),
    }
}

/// When something came last from any client.
#[derive(Debug)]
pub(super) struct LastCame(Mutex<Instant>);

impl LastCame {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    pub(super) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until nothing has come for that while, from now on.
    pub(super) async fn quiet(&self, wait: Duration) {
        let now = Instant::now();
        loop {
            let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let until = last.max(now) + wait;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_the_client_that_it_names() {
        for (line, to, text) in [
            ("hello", None, "hello"),
            ("@2 hello", Some(2), "hello"),
            ("@12", Some(12), ""),
            ("@2  two", Some(2), " two"),
            ("@* @2 hello", None, "@2 hello"),
            ("@ann hello", None, "@ann hello"),
            ("@", None, "@"),
            ("@99999999999999999999 a", None, "@99999999999999999999 a"),
            ("", None, ""),
        ] {
            let (name, rest) = addressed(line.as_bytes().to_vec());
            assert_eq!((name, rest), (to.map(Name), text.as_bytes().to_vec()), "{line}");
        }
    }

    #[test]
    fn lines_end_with_lf_or_crlf_and_have_a_largest_length() {
        let mut input = &b"a\r\nb\n\nlast"[..];
        let mut lines = std::iter::from_fn(|| read_line(&mut input, 4).unwrap());
        assert_eq!(lines.next().unwrap(), b"a");
        assert_eq!(lines.next().unwrap(), b"b");
        assert_eq!(lines.next().unwrap(), b"");
        assert_eq!(lines.next().unwrap(), b"last");
        assert!(read_line(&mut &b"12345\n"[..], 4).is_err());
        assert_eq!(read_line(&mut &b"1234\r\n"[..], 4).unwrap().unwrap(), b"1234");
    }
}
