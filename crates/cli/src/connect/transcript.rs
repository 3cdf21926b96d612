//! A transcript of a session: a line of JSON for each message, with its time.
//!
//! ```text
//! {"ms":0,"opened":"ws://127.0.0.1:9001/"}
//! {"ms":512,"sent":"hello"}
//! {"ms":513,"received":{"b64":"/wA="}}
//! {"ms":900,"closed":{"code":1000,"reason":""}}
//! ```

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sockeye::{Closed, Message};
use tokio::time::Instant;

/// A transcript that is being written.
#[derive(Debug)]
pub(super) struct Transcript {
    file: File,
    name: String,
    begun: Instant,
}

/// A line of a transcript.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// When it was, in milliseconds since the first line.
    ms: u64,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Opened(String),
    Sent(Payload),
    Received(Payload),
    Closed { code: u16, reason: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Payload {
    Text(String),
    Bytes { b64: String },
}

impl Transcript {
    /// Begins a file, in the place of one that is there.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let file = File::create(path).with_context(|| format!("--log {name}"))?;
        Ok(Self { file, name, begun: Instant::now() })
    }

    pub(super) fn opened(&mut self, url: String) -> anyhow::Result<()> {
        self.write(What::Opened(url))
    }

    pub(super) fn sent(&mut self, message: &Message) -> anyhow::Result<()> {
        self.write(What::Sent(Payload::of(message)))
    }

    pub(super) fn received(&mut self, message: &Message) -> anyhow::Result<()> {
        self.write(What::Received(Payload::of(message)))
    }

    pub(super) fn closed(&mut self, closed: &Closed) -> anyhow::Result<()> {
        let (code, reason) = (closed.code(), closed.reason().to_owned());
        self.write(What::Closed { code, reason })
    }

    fn write(&mut self, what: What) -> anyhow::Result<()> {
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut line = serde_json::to_vec(&Line { ms, what })?;
        line.push(b'\n');
        // In one write: what was logged is there whatever comes next.
        self.file.write_all(&line).with_context(|| format!("--log {}", self.name))
    }
}

impl Payload {
    fn of(message: &Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_string()),
            Message::Binary(bytes) => Self::Bytes { b64: STANDARD.encode(bytes) },
        }
    }

    fn message(self) -> Result<Message, base64::DecodeError> {
        match self {
            Self::Text(text) => Ok(text.into()),
            Self::Bytes { b64 } => Ok(STANDARD.decode(b64)?.into()),
        }
    }
}

/// What was sent in a transcript, each with its time since the first connection was open.
pub(super) fn sent(path: &Path) -> anyhow::Result<Vec<(Duration, Message)>> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("--replay {name}"))?;
    let (mut messages, mut opened) = (Vec::new(), None);
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let number = index + 1;
        let of_line = || format!("--replay {name}, line {number}: not a line of a transcript");
        let line = line.with_context(of_line)?;
        let line: Line = serde_json::from_str(&line).with_context(of_line)?;
        match line.what {
            What::Opened(_) => opened = opened.or(Some(line.ms)),
            What::Sent(payload) => {
                let since = line.ms.saturating_sub(opened.unwrap_or_default());
                let message = payload.message().with_context(of_line)?;
                messages.push((Duration::from_millis(since), message));
            }
            What::Received(_) | What::Closed { .. } => {}
        }
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_written_is_read_with_its_times() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut transcript = Transcript::create(&path).unwrap();
        tokio::time::advance(Duration::from_millis(30)).await;
        transcript.opened("ws://h/".to_owned()).unwrap();
        tokio::time::advance(Duration::from_millis(500)).await;
        let (text, bytes) = (Message::from("zwei\n\u{1b}"), Message::from(vec![0xff, 0]));
        transcript.sent(&text).unwrap();
        transcript.received(&Message::from("x")).unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
        transcript.sent(&bytes).unwrap();
        let millis = Duration::from_millis;
        assert_eq!(sent(&path).unwrap(), [(millis(500), text), (millis(501), bytes)]);
        std::fs::write(&path, "{\"ms\":1,\"sent\":\"a\"}\nhello\n").unwrap();
        let wrong = format!("{:#}", sent(&path).unwrap_err());
        assert!(wrong.contains("line 2: not a line of a transcript"), "{wrong}");
    }
}
