//! WebSockets: a plain one, to which what it publishes comes back when it is kept, and `sockeye.v1`, which answers.

use sockeye_testing::frame::{BINARY, PING, TEXT, masked};
use sockeye_testing::handshake::request_with;

use crate::SIZE;
use crate::load::{Protocol, Taken};

/// A plain WebSocket.
pub(crate) struct Plain;

impl Protocol for Plain {
    fn hello(&self, _: usize) -> Vec<u8> {
        request_with("/c/bench", "").into_bytes()
    }

    fn publish(&self, _: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&masked(TEXT, "x".repeat(SIZE).as_bytes()));
    }

    fn take(&self, input: &[u8]) -> Taken {
        if input.starts_with(b"HTTP") {
            return upgraded(input);
        }
        match frame(input) {
            None => Taken::More,
            Some((TEXT | BINARY, payload, whole)) => {
                assert_eq!(payload.len(), SIZE, "{}", String::from_utf8_lossy(payload));
                Taken::Acknowledged(whole)
            }
            Some((PING, _, whole)) => Taken::Other(whole),
            Some((first, payload, _)) => panic!("{first:#x} {}", String::from_utf8_lossy(payload)),
        }
    }
}

/// `sockeye.v1` at `/connect`, without a subscription.
pub(crate) struct V1;

impl Protocol for V1 {
    fn hello(&self, _: usize) -> Vec<u8> {
        request_with("/connect", "Sec-WebSocket-Protocol: sockeye.v1\r\n").into_bytes()
    }

    fn publish(&self, _: usize, out: &mut Vec<u8>) {
        let data = "x".repeat(SIZE);
        let command = format!(r#"{{"id":1,"op":"pub","ch":"bench","data":"{data}"}}"#);
        out.extend_from_slice(&masked(TEXT, command.as_bytes()));
    }

    fn take(&self, input: &[u8]) -> Taken {
        if input.starts_with(b"HTTP") {
            // What is ready is said by the first frame.
            return match upgraded(input) {
                Taken::Ready(head) => Taken::Other(head),
                other => other,
            };
        }
        match frame(input) {
            None => Taken::More,
            Some((_, payload, whole)) if payload.starts_with(b"{\"hello\"") => Taken::Ready(whole),
            Some((TEXT, payload, whole)) => {
                let text = String::from_utf8_lossy(payload);
                assert!(text.contains("\"ok\""), "{text}");
                Taken::Acknowledged(whole)
            }
            Some((PING, _, whole)) => Taken::Other(whole),
            Some((first, payload, _)) => panic!("{first:#x} {}", String::from_utf8_lossy(payload)),
        }
    }
}

/// The response to the handshake.
fn upgraded(input: &[u8]) -> Taken {
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Taken::More;
    };
    let head = String::from_utf8_lossy(&input[..end]);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Taken::Ready(end + 4)
}

/// The first byte and the payload of a frame of a server, and how many bytes it takes (RFC 6455 §5.2).
fn frame(input: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, &second) = (input.first()?, input.get(1)?);
    let (head, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes([*input.get(2)?, *input.get(3)?]))),
        127 => panic!("nothing of this load is that long"),
        length => (2, usize::from(length)),
    };
    Some((first, input.get(head..head + length)?, head + length))
}
