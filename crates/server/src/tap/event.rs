//! What a tap shows, each as a line of JSON with one member that says what it is.
//!
//! Names of channels, codes and positions need no escapes.

use std::fmt::{self, Display, Formatter};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use sockeye_hub::{Entry, Gap, Payload};

use crate::json::{in_one_line, quoted};

/// What is shown in the place of a token, as JSON.
const SHOWN_TOKEN: &str = "\"***\"";

/// What is shown of a payload: `"size":…` with `"data":…`, or `"b64":…` of bytes. Of more than the operator wants
/// to see it is `"start":…` or `"b64_start":…`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Data<'a> {
    Text(&'a str),
    Json(&'a str),
    Bytes(&'a [u8]),
    /// JSON of that many bytes with a token, which is not shown, between these parts of it.
    Secret {
        size: usize,
        before: &'a str,
        after: &'a str,
    },
    /// That many bytes that may contain a token: they are not shown.
    Hidden(usize),
}

impl<'a> Data<'a> {
    /// The payload of a message.
    pub(crate) fn of(payload: &'a Payload) -> Self {
        match payload {
            Payload::Json(json) => Self::Json(json),
            Payload::Text(text) => Self::Text(text),
            Payload::Bytes(bytes) => Self::Bytes(bytes),
        }
    }

    /// At most `max` bytes of it.
    pub(crate) fn first(self, max: usize) -> impl Display + 'a {
        First { data: self, max }
    }
}

struct First<'a> {
    data: Data<'a>,
    max: usize,
}

impl Display for First<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let size = match self.data {
            Data::Text(text) | Data::Json(text) => text.len(),
            Data::Bytes(bytes) => bytes.len(),
            Data::Hidden(size) | Data::Secret { size, .. } => size,
        };
        write!(f, "\"size\":{size},")?;
        match self.data {
            Data::Hidden(_) => f.write_str("\"hidden\":true"),
            Data::Secret { before, after, .. } => {
                let json = [before, SHOWN_TOKEN, after].concat();
                f.write_str(if json.len() <= self.max { "\"data\":" } else { "\"start\":" })?;
                let start = &json[..json.floor_char_boundary(self.max)];
                match json.len() <= self.max {
                    true => f.write_str(&in_one_line(&json)),
                    false => write!(f, "{}", quoted(start)),
                }
            }
            Data::Json(json) if size <= self.max => write!(f, "\"data\":{}", in_one_line(json)),
            Data::Text(text) if size <= self.max => write!(f, "\"data\":{}", quoted(text)),
            Data::Text(text) | Data::Json(text) => {
                let start = &text[..text.floor_char_boundary(self.max)];
                write!(f, "\"start\":{}", quoted(start))
            }
            Data::Bytes(bytes) => {
                let (name, bytes) = match size <= self.max {
                    true => ("b64", bytes),
                    false => ("b64_start", &bytes[..self.max]),
                };
                write!(f, "\"{name}\":\"{}\"", Base64Display::new(bytes, &STANDARD))
            }
        }
    }
}

/// `"at":…,"ts":…,"event":…` and the data of a message.
struct Message<'a>(&'a Entry, usize);

impl Display for Message<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(entry, max) = self;
        write!(f, "\"at\":\"{}\",\"ts\":{},", entry.position, entry.ts)?;
        if let Some(event) = &entry.event {
            write!(f, "\"event\":{},", quoted(event.as_str()))?;
        }
        Data::of(&entry.payload).first(*max).fmt(f)
    }
}

/// The first line: what is tapped, as JSON.
pub(crate) fn tap(what: &str) -> String {
    format!("{{\"tap\":{what}}}")
}

/// A message of the channel, and who published it, as JSON, if that is known.
pub(crate) fn message(entry: &Entry, publisher: Option<&str>, max: usize) -> String {
    let message = Message(entry, max);
    match publisher {
        Some(publisher) => format!("{{\"message\":{{{message},\"by\":{publisher}}}}}"),
        None => format!("{{\"message\":{{{message}}}}}"),
    }
}

/// A publication that was refused.
pub(crate) fn refused(code: impl Display, size: impl Display, publisher: &str) -> String {
    format!("{{\"refused\":{{\"code\":\"{code}\",\"size\":{size},\"by\":{publisher}}}}}")
}

/// A reader comes, from that position on.
pub(crate) fn subscribed(members: &str, at: impl Display) -> String {
    format!("{{\"subscribed\":{{{members},\"at\":\"{at}\"}}}}")
}

/// A reader goes.
pub(crate) fn unsubscribed(members: &str, why: &str) -> String {
    format!("{{\"unsubscribed\":{{{members},\"why\":\"{why}\"}}}}")
}

/// A reader is told that messages are missing. Of the tap itself there are no members.
pub(crate) fn gap(members: &str, gap: &Gap) -> String {
    let Gap { after, next, why } = gap;
    let comma = if members.is_empty() { "" } else { "," };
    format!(
        "{{\"gap\":{{{members}{comma}\"after\":\"{after}\",\"next\":\"{next}\",\"why\":\"{why}\"}}}}"
    )
}

/// The channel has ended, at that position.
pub(crate) fn channel_end(at: impl Display) -> String {
    format!("{{\"end\":{{\"why\":\"ended\",\"at\":\"{at}\"}}}}")
}

/// Something that the client has sent, of that kind.
pub(crate) fn received(kind: &str, data: Data<'_>, max: usize) -> String {
    format!("{{\"in\":{{\"kind\":\"{kind}\",{}}}}}", data.first(max))
}

/// Something that the server sends, of that kind.
pub(crate) fn sent(kind: &str, data: Data<'_>, max: usize) -> String {
    format!("{{\"out\":{{\"kind\":\"{kind}\",{}}}}}", data.first(max))
}

/// A message of a channel that the server sends.
pub(crate) fn delivered(channel: impl Display, entry: &Entry, max: usize) -> String {
    let message = Message(entry, max);
    format!("{{\"out\":{{\"kind\":\"message\",\"channel\":\"{channel}\",{message}}}}}")
}

/// A Close, and which side has sent it.
pub(crate) fn close(from: &str, code: u16, reason: &str) -> String {
    let reason = quoted(reason);
    format!("{{\"close\":{{\"from\":\"{from}\",\"code\":{code},\"reason\":{reason}}}}}")
}

/// The last line: why nothing follows.
pub(crate) fn end(why: &str) -> String {
    format!("{{\"end\":{{\"why\":\"{why}\"}}}}")
}

/// That many events are missing here.
pub(crate) fn dropped(count: u64) -> String {
    format!("{{\"dropped\":{count}}}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn line(data: Data<'_>, max: usize) -> Value {
        let line = received("text", data, max);
        assert!(!line.contains(['\r', '\n']), "{line}");
        serde_json::from_str(&line).expect("each line is JSON")
    }

    #[test]
    fn a_payload_is_shown_whole_up_to_the_bound_and_then_its_start() {
        assert_eq!(line(Data::Text("abc"), 3)["in"]["data"], "abc");
        let cut = line(Data::Text("abé"), 3);
        assert_eq!((&cut["in"]["start"], &cut["in"]["size"]), (&"ab".into(), &4.into()));
        assert_eq!(line(Data::Json("{\n\"a\":1}"), 8)["in"]["data"]["a"], 1);
        assert_eq!(line(Data::Json("{\"a\":1}"), 4)["in"]["start"], "{\"a\"");
        assert_eq!(line(Data::Bytes(b"abc"), 3)["in"]["b64"], "YWJj");
        assert_eq!(line(Data::Bytes(b"abcd"), 3)["in"]["b64_start"], "YWJj");
        let (before, after) = ("{\"op\":\"auth\",\"token\":", "}");
        let secret = Data::Secret { size: 28, before, after };
        assert_eq!(line(secret, 99)["in"]["size"], 28);
        assert_eq!(line(secret, 99)["in"]["data"]["token"], "***");
        assert_eq!(line(secret, 22)["in"]["start"], "{\"op\":\"auth\",\"token\":\"");
        let hidden = line(Data::Hidden(9), 100);
        assert_eq!((&hidden["in"]["size"], &hidden["in"]["hidden"]), (&9.into(), &true.into()));
    }

    proptest! {
        #[test]
        fn any_text_and_bytes_make_one_line_of_json(
            text in "[\\x00-\\x7f]{0,100}|\\PC{0,50}",
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            max in 0..120_usize,
        ) {
            for data in [Data::Text(&text), Data::Bytes(&bytes), Data::Hidden(max)] {
                prop_assert!(line(data, max)["in"]["size"].is_number());
            }
            let closed: Value = serde_json::from_str(&close("client", 1000, &text)).unwrap();
            prop_assert_eq!(&closed["close"]["reason"], &text);
        }
    }
}
