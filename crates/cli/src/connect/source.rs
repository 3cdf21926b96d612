//! What a session sends: lines that are typed or piped, or a transcript.

use std::{
    collections::VecDeque,
    fs::File,
    future::pending,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use sockeye::{CloseFrame, Message};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    hex,
    screen::Screen,
    typed::{HELP, Typed},
};
use crate::terminal::input;

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    Send(Message),
    Ping,
    Close(CloseFrame),
    /// There is nothing more to send.
    End,
    /// Ctrl-C was typed.
    Interrupted,
}

/// How the input is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct InputOptions {
    /// Lines are binary messages.
    pub(super) binary: bool,
    /// Lines are binary messages in hexadecimal.
    pub(super) hex: bool,
    /// Lines that begin with a slash are commands.
    pub(super) commands: bool,
    /// A person types it: what is wrong is said, and not the end.
    pub(super) is_typed: bool,
    /// The largest file to send.
    pub(super) max_file: u64,
}

/// Where messages come from.
pub(super) struct Source {
    input: Input,
    /// Lines that came while there was no connection.
    ahead: VecDeque<io::Result<Vec<u8>>>,
    options: InputOptions,
    screen: Screen,
    /// The number of the line that was read last.
    number: u64,
}

enum Input {
    /// Nothing is read yet.
    Nothing,
    Lines(mpsc::Receiver<io::Result<Vec<u8>>>),
    /// Messages, each with its time since the connection was open.
    Transcript(VecDeque<(Duration, Message)>, Option<Instant>),
}

impl Source {
    pub(super) fn new(options: InputOptions, screen: Screen) -> Self {
        Self { input: Input::Nothing, ahead: VecDeque::new(), options, screen, number: 0 }
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self.input, Input::Nothing)
    }

    /// Whether a person types it.
    pub(super) fn is_typed(&self) -> bool {
        self.options.is_typed
    }

    pub(super) fn read_lines(&mut self, lines: mpsc::Receiver<io::Result<Vec<u8>>>) {
        self.input = Input::Lines(lines);
    }

    pub(super) fn replay(&mut self, messages: Vec<(Duration, Message)>) {
        self.input = Input::Transcript(messages.into(), None);
    }

    /// What is to be done next. Nothing is lost if this is given up.
    pub(super) async fn next(&mut self) -> anyhow::Result<Next> {
        loop {
            let line = match &mut self.input {
                Input::Nothing => return Ok(Next::End),
                Input::Transcript(messages, begun) => {
                    let begun = *begun.get_or_insert_with(Instant::now);
                    let Some((since, _)) = messages.front() else { return Ok(Next::End) };
                    sleep_until(begun + *since).await;
                    return Ok(messages.pop_front().map_or(Next::End, |(_, m)| Next::Send(m)));
                }
                Input::Lines(lines) => match self.ahead.pop_front() {
                    Some(line) => Some(line),
                    None => lines.recv().await,
                },
            };
            let line = match line {
                None => return Ok(Next::End),
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                    return Ok(Next::Interrupted);
                }
                Some(line) => line.map_err(input::cannot_read)?,
            };
            self.number += 1;
            match self.interpret(line) {
                Ok(Some(next)) => return Ok(next),
                Ok(None) => {}
                Err(wrong) if self.options.is_typed => self.screen.note(&format!("{wrong:#}")),
                Err(wrong) => return Err(wrong),
            }
        }
    }

    /// Waits for a Ctrl-C that is typed while there is no connection. Lines before it are kept.
    pub(super) async fn interrupted(&mut self) {
        if let Input::Lines(lines) = &mut self.input
            && self.options.is_typed
        {
            while let Some(line) = lines.recv().await {
                match line {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
                    line => self.ahead.push_back(line),
                }
            }
        }
        pending().await
    }

    /// What a line means, if it is not one that is done at once.
    fn interpret(&self, line: Vec<u8>) -> anyhow::Result<Option<Next>> {
        let typed = match self.options.commands {
            true => Typed::parse(line),
            false => Typed::Message(line),
        };
        Ok(Some(match typed {
            Typed::Message(line) => Next::Send(self.message(line)?),
            Typed::Bytes(bytes) => Next::Send(bytes.into()),
            Typed::File(path) => Next::Send(self.file(&path)?),
            Typed::Ping => Next::Ping,
            Typed::Close(frame) => Next::Close(frame),
            Typed::Help => {
                self.screen.note(HELP);
                return Ok(None);
            }
            Typed::Wrong(why) => return Err(self.wrong(&why)),
        }))
    }

    fn message(&self, line: Vec<u8>) -> anyhow::Result<Message> {
        let InputOptions { binary, hex, .. } = self.options;
        if hex {
            let text = String::from_utf8_lossy(&line);
            return Ok(hex::parse(&text).map_err(|why| self.wrong(&why))?.into());
        }
        if binary {
            return Ok(line.into());
        }
        let text = String::from_utf8(line);
        let number = self.number;
        Ok(text
            .map_err(|_| anyhow!("line {number} of the input is not UTF-8: --binary sends bytes"))?
            .into())
    }

    fn wrong(&self, why: &str) -> anyhow::Error {
        match self.options.is_typed {
            true => anyhow!("{why}"),
            false => anyhow!("line {} of the input: {why}", self.number),
        }
    }

    /// A file as a message: text if it is UTF-8.
    fn file(&self, path: &Path) -> anyhow::Result<Message> {
        let name = path.display();
        let (mut bytes, max) = (Vec::new(), self.options.max_file);
        let file = File::open(path).with_context(|| format!("/send {name}"))?;
        let read = file.take(max.saturating_add(1)).read_to_end(&mut bytes);
        read.with_context(|| format!("/send {name}"))?;
        ensure!(bytes.len() as u64 <= max, "/send {name}: more than {max} bytes (--max-message)");
        if self.options.binary || self.options.hex {
            return Ok(bytes.into());
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(error) => Bytes::from(error.into_bytes()).into(),
        })
    }
}
