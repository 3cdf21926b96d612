//! What is sent: as many bytes as asked for, or what is in a file.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use sockeye::Message;

use crate::flags::units::Size;

#[derive(Debug, Args)]
pub(super) struct Payload {
    /// How large each message is
    #[arg(long, value_name = "SIZE", default_value = "125")]
    size: Size,

    /// Send text instead of binary messages
    #[arg(long)]
    text: bool,

    /// Send what is in this file instead of a row of x
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    file: Option<PathBuf>,

    /// With --file: every line of it is a message; each connection sends them in their order, and
    /// begins anew after the last
    #[arg(long, requires = "file")]
    lines: bool,
}

/// What each connection sends, again and again.
#[derive(Debug)]
pub(super) struct Messages(Vec<Message>);

impl Payload {
    pub(super) fn messages(&self) -> anyhow::Result<Messages> {
        let payload = match &self.file {
            Some(path) => {
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
            }
            None => vec![b'x'; self.size.in_memory()],
        };
        if !self.lines {
            return Ok(Messages(vec![self.message(payload)?]));
        }
        let lines = payload.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let messages: Vec<_> =
            lines.map(|line| self.message(line.to_vec())).collect::<anyhow::Result<_>>()?;
        ensure!(!messages.is_empty(), "there is no line in the file");
        Ok(Messages(messages))
    }

    fn message(&self, payload: Vec<u8>) -> anyhow::Result<Message> {
        Ok(match self.text {
            true => Message::from(String::from_utf8(payload).context("--text wants UTF-8")?),
            false => Message::from(payload),
        })
    }

    /// `text` or `binary`.
    pub(super) fn kind(&self) -> &'static str {
        if self.text { "text" } else { "binary" }
    }
}

impl Messages {
    /// What a connection sends after that many others.
    pub(super) fn after(&self, others: usize) -> &Message {
        &self.0[others % self.0.len()]
    }

    /// How large they are on average, in bytes.
    pub(super) fn size(&self) -> usize {
        let all: usize = self.0.iter().map(|message| message.as_bytes().len()).sum();
        all / self.0.len()
    }
}
