//! HTTP/1.1: a `POST` for each message, or for many lines of JSON.

use crate::SIZE;
use crate::load::{Protocol, Taken};

/// A message by each request.
pub(crate) struct Posts;

impl Protocol for Posts {
    fn publish(&self, _: usize, out: &mut Vec<u8>) {
        post(out, "text/plain", &"x".repeat(SIZE));
    }

    fn take(&self, input: &[u8]) -> Taken {
        answer(input)
    }
}

/// That many messages by each request.
pub(crate) struct Bodies(pub(crate) usize);

impl Protocol for Bodies {
    fn publish(&self, _: usize, out: &mut Vec<u8>) {
        let line = format!("{{\"data\":\"{}\"}}\n", "x".repeat(SIZE));
        post(out, "application/x-ndjson", &line.repeat(self.0));
    }

    fn messages(&self) -> usize {
        self.0
    }

    fn take(&self, input: &[u8]) -> Taken {
        answer(input)
    }
}

fn post(out: &mut Vec<u8>, kind: &str, body: &str) {
    let head = format!(
        "POST /c/bench HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}

/// `201`, which says that all of it was kept, with a body of a told length.
fn answer(input: &[u8]) -> Taken {
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Taken::More;
    };
    let head = String::from_utf8_lossy(&input[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 201 "), "{head}");
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| *name == "content-length");
    let length = length.and_then(|(_, value)| value.trim().parse().ok());
    let whole = end + 4 + length.unwrap_or(0);
    if input.len() < whole { Taken::More } else { Taken::Acknowledged(whole) }
}
