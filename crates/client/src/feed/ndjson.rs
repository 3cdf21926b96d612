//! Reading a channel as JSON lines: one message in each.

use ::http::{
    HeaderValue, Method,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::Deserialize;

use super::{FeedEvent, SILENCE, Sink, pass_on, poll};
use crate::{
    endpoint::Endpoint,
    failure::{Ended, Failure, nonsense},
    http::{Http, Question},
    message::{End, Gap, Message},
    platform::timeout,
};

/// Reads from there on, until something ends it.
///
/// # Errors
///
/// Always: with what ended it.
pub async fn listen(endpoint: &Endpoint, after: &str, sink: &mut impl Sink) -> Ended {
    let mut http = Http::default();
    let mut after = after.to_owned();
    if after == "now" {
        // No line says where the stream begins: a drop before the first message would lose some.
        let newest = poll::newest(endpoint, &mut http).await?;
        after = newest.to_string();
        sink.take(FeedEvent::At(newest))?;
    }
    let mut question = Question::new(Method::GET, vec![("after", &after)]);
    question.headers.insert(ACCEPT, HeaderValue::from_static("application/x-ndjson"));
    let answer = http.ask(endpoint, &question).await?;
    let kind = answer.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !kind.starts_with(b"application/x-ndjson") {
        return Err(Failure::broken("the server answers with something else than JSON lines"));
    }
    sink.take(FeedEvent::Open)?;
    let (mut body, mut lines) = (answer.into_body(), Lines::new(endpoint.max()));
    loop {
        let piece = timeout(SILENCE, body.next()).await;
        let piece = piece.map_err(|_| Failure::broken("the server has been silent for 45 s"))?;
        let piece = piece.ok_or_else(|| Failure::broken("the server has ended the stream"))?;
        let bytes = piece.map_err(Failure::broken)?;
        let mut whole = Vec::new();
        let read = lines.read(&bytes, |line| {
            whole.push(news(line)?);
            Ok(())
        });
        pass_on(whole, sink).await?;
        read?;
    }
}

fn news(line: &[u8]) -> Result<FeedEvent, Failure> {
    #[derive(Deserialize)]
    struct Missing {
        gap: Gap,
    }
    if line.starts_with(b"{\"gap\"") {
        let Missing { gap } = serde_json::from_slice(line).map_err(nonsense)?;
        return Ok(FeedEvent::Gap(gap));
    }
    if let Some(end) = End::of(line) {
        return Ok(FeedEvent::End(end));
    }
    serde_json::from_slice::<Message>(line).map(FeedEvent::Message).map_err(nonsense)
}

/// The lines of a stream, as its pieces come.
#[derive(Debug)]
pub struct Lines {
    /// The longest line.
    max: usize,
    /// What has come of a line.
    line: Vec<u8>,
}

impl Lines {
    /// No line may have more than that many bytes.
    pub fn new(max: usize) -> Self {
        Self { max, line: Vec::new() }
    }

    /// Gives the lines that this piece completes. Empty ones only keep the connection open.
    ///
    /// # Errors
    ///
    /// When a line is too long, and whatever `take` gives.
    pub fn read(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut parts = piece.split(|&byte| byte == b'\n');
        let last = parts.next_back().unwrap_or_default();
        for part in parts {
            self.line.extend_from_slice(part);
            if !self.line.trim_ascii().is_empty() {
                take(&self.line)?;
            }
            self.line.clear();
        }
        self.line.extend_from_slice(last);
        match self.line.len() > self.max {
            true => Err(Failure::broken(format!("a line has more than {} bytes", self.max))),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_stream_is_cut() {
        let stream = b"{\"at\":1}\n\n  \n{\"gap\":{}}\r\n{";
        for size in 1..=stream.len() {
            let (mut lines, mut read) = (Lines::new(64), Vec::new());
            for piece in stream.chunks(size) {
                let take = |line: &[u8]| {
                    read.push(String::from_utf8_lossy(line).trim().to_owned());
                    Ok(())
                };
                lines.read(piece, take).unwrap();
            }
            assert_eq!(read, ["{\"at\":1}", "{\"gap\":{}}"]);
        }
        assert!(Lines::new(64).read(&[b'x'; 65], |_| Ok(())).is_err());
    }
}
