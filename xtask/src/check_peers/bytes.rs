//! Whether the bytes of a finding bear out what is said of it: read once more, without the code that has judged them.

use serde_json::Value;

/// What a second reading of a finding's bytes gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Confirmed,
    /// They show something else.
    Contradicted,
    /// It is of a kind that people have to read.
    ByHand,
}

/// The first byte of frames, and what the reports say of other things that came.
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8A;
const END: &str = "the end of the connection";
/// The payload of the Ping that asks whether a peer still answers.
const PROBE: &[u8] = b"still there?";

/// Reads the bytes of a case that is loose.
pub(super) fn read(case: &Value) -> Reading {
    let lines = |which: &str| -> Vec<&str> {
        let lines = case["bytes"][which].as_array().map_or(&[][..], Vec::as_slice);
        lines.iter().filter_map(Value::as_str).collect()
    };
    let (sent, came) = (lines("sent"), lines("came"));
    match is_borne_out(case["came"].as_str().unwrap_or_default(), &sent, &came) {
        Some(true) => Reading::Confirmed,
        Some(false) => Reading::Contradicted,
        None => Reading::ByHand,
    }
}

/// Whether it is so; `None` if this is not known here.
fn is_borne_out(what: &str, sent: &[&str], came: &[&str]) -> Option<bool> {
    let frames: Vec<_> = came.iter().filter_map(|line| frame(line)).collect();
    let has = |first: u8| frames.iter().any(|frame| frame[0] == first);
    let is_ended = came.iter().any(|line| line.contains(END) || line.contains("reset"));
    let is_response = came.first().is_some_and(|line| line.starts_with("HTTP/"));
    let is_open = came.first().is_some_and(|line| {
        ["HTTP/1.1 101", ":status 200", "GET "].iter().any(|begin| line.starts_with(begin))
    });
    let is_probed = sent.iter().any(|line| line.contains("still there?"));
    let is_answered = frames.iter().any(|frame| payload(frame) == PROBE);
    let closes =
        |wanted: Option<u16>| frames.iter().any(|frame| frame[0] == CLOSE && code(frame) == wanted);
    Some(match what {
        _ if what.starts_with("it is taken") => frames.iter().any(|frame| frame[0] & 0xF <= 2),
        _ if what.starts_with("an answer to it: a Pong") => has(PONG),
        _ if what.starts_with("the end of the connection, without a Close") => {
            is_open && is_ended && !has(CLOSE)
        }
        _ if what.starts_with("no HTTP response, but") => !is_response,
        _ if what.starts_with("neither a response nor an end") => !is_response && !is_ended,
        _ if what.contains("stays open after both") => has(CLOSE) && !is_ended,
        _ if what.starts_with("a Close without a code") => closes(None),
        _ if what.starts_with("a Close with ") => {
            let code = what.split([' ', ',']).nth(3)?.parse().ok()?;
            closes(Some(code))
        }
        "the connection neither ends nor answers" => is_probed && !is_answered && !is_ended,
        _ if what.ends_with(", and answers a Ping") => is_probed && is_answered,
        "the WebSocket opens (101)" | "the WebSocket opens" => is_open,
        _ if what.starts_with("still open after") => !is_ended,
        _ if what.starts_with("status ") => {
            let status = what.split(' ').nth(1)?;
            came.first()?.split(' ').nth(1) == Some(status)
        }
        END => !is_response && is_ended,
        _ => return None,
    })
}

/// The bytes of a frame that a line begins with in hexadecimal, as far as they are shown.
fn frame(line: &str) -> Option<Vec<u8>> {
    let digits = line.split(' ').map_while(|word| match word.len() {
        2 => u8::from_str_radix(word, 16).ok(),
        _ => None,
    });
    Some(digits.collect()).filter(|bytes: &Vec<u8>| bytes.len() >= 2)
}

/// The payload of a frame, unmasked.
fn payload(frame: &[u8]) -> Vec<u8> {
    let length = match frame[1] & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let (is_masked, rest) = (frame[1] & 0x80 != 0, frame.get(2 + length..).unwrap_or_default());
    match rest.split_at_checked(4) {
        Some((key, masked)) if is_masked => {
            masked.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
        }
        _ => rest.to_vec(),
    }
}

/// The code of a Close.
fn code(frame: &[u8]) -> Option<u16> {
    payload(frame).first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reading(what: &str, sent: &[&str], came: &[&str]) -> Reading {
        read(&json!({ "came": what, "bytes": { "sent": sent, "came": came } }))
    }

    const OPEN: &str = "HTTP/1.1 101 Switching Protocols";

    #[test]
    fn bytes_bear_out_what_they_show_and_nothing_else() {
        let end = "the end of the connection, without a Close";
        let close = "88 02 03 e8 · Close, 2 bytes: 1000 \"\"";
        assert_eq!(reading(end, &[], &[OPEN, END]), Reading::Confirmed);
        assert_eq!(reading(end, &[], &[OPEN, close, END]), Reading::Contradicted);
        let other = "a Close with 1000, not 1002";
        assert_eq!(reading(other, &[], &[OPEN, close, END]), Reading::Confirmed);
        let right = "88 02 03 ea · Close, 2 bytes: 1002 \"\"";
        assert_eq!(reading(other, &[], &[OPEN, right, END]), Reading::Contradicted);
        let of_a_client = "88 82 37 fa 21 01 34 12 · Close, masked, 2 bytes: 1000 \"\"";
        assert_eq!(reading(other, &[], &[OPEN, of_a_client]), Reading::Confirmed);
        assert_eq!(reading("something else", &[], &[OPEN]), Reading::ByHand);
    }

    #[test]
    fn a_ping_that_asks_is_answered_or_not() {
        let silent = "the connection neither ends nor answers";
        let asked = "89 0c 73 74 · Ping, 12 bytes: \"still there?\"";
        let pong = "8a 0c 73 74 69 6c 6c 20 74 68 65 72 65 3f · Pong, 12 bytes: \"still there?\"";
        assert_eq!(reading(silent, &[asked], &[OPEN]), Reading::Confirmed);
        assert_eq!(reading(silent, &[asked], &[OPEN, pong]), Reading::Contradicted);
        assert_eq!(reading(silent, &[], &[OPEN]), Reading::Contradicted);
        let goes_on = "the client takes it, and answers a Ping";
        assert_eq!(reading(goes_on, &[asked], &["GET / HTTP/1.1", pong]), Reading::Confirmed);
    }
}
