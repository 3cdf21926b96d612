//! Server-Sent Events (WHATWG HTML §9.2): what a native `EventSource` reads.
//!
//! A field ends with its line, so text of others may not hold a line break. A payload is split into as
//! many `data` lines as it has lines; positions are digits and letters, and the name of an event is
//! visible ASCII by its type.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, PRAGMA};
use sockeye_hub::{Entry, Gap, Payload, Position};

use crate::transports::encode::{self, entry_form};

/// A comment, without an empty line: many readers take that for the end of an event, even of one
/// without data.
pub(super) const HEARTBEAT: &[u8] = b":\n";

/// How a client learns the position of a stream before its first message, so that a stream that breaks
/// before that is resumed, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// In a block of its own, without data. Only after the empty line does an `EventSource` store the
    /// id (WHATWG HTML §9.2.6), and it dispatches nothing.
    Block,
    /// In lines that belong to the first event, whose own id replaces it. Readers that take each empty
    /// line for a message (fetch-event-source, httpx-sse) see none, and those of them that reconnect
    /// have stored the id with its line.
    Lines,
}

impl Opening {
    /// For the client that sends these headers. An `EventSource` of the standard asks for no cached
    /// response (WHATWG HTML §9.2.2, Fetch §4.5: `Cache-Control: no-cache` and `Pragma`). Browsers that
    /// leave out `Pragma` send `Accept-Language`. Go's donovanhide/eventsource and Symfony's reader,
    /// which take each empty line for a message, send `Cache-Control` alone.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(CACHE_CONTROL).iter().flat_map(|line| line.to_str());
        let is_fresh = lines.any(|line| {
            line.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
        });
        let is_whole = headers.contains_key(PRAGMA) || headers.contains_key(ACCEPT_LANGUAGE);
        if is_fresh && is_whole { Self::Block } else { Self::Lines }
    }
}

/// How long to wait before reconnecting, and the position to continue after.
pub(super) fn opening(form: Opening, at: &impl Display, retry: Duration) -> String {
    let mut opening = format!("{}id: {at}\n", self::retry(retry));
    if form == Opening::Block {
        opening.push('\n');
    }
    opening
}

/// The last field: how long to wait before reconnecting.
pub(super) fn last_bytes(after: Duration) -> String {
    format!("{}\n", retry(after))
}

/// How long to wait before reconnecting.
fn retry(after: Duration) -> String {
    format!("retry: {}\n", after.as_millis())
}

/// The event with the payload as its data; bytes in base64, and named `binary` so that they are not
/// taken for text.
pub(super) fn event(entry: &Entry) -> Bytes {
    entry.form(&entry_form::EVENT, || {
        let mut event = head(entry);
        match &entry.payload {
            Payload::Bytes(bytes) => {
                let _ = writeln!(event, "data: {}", Base64Display::new(bytes, &STANDARD));
            }
            Payload::Json(text) | Payload::Text(text) => push_lines(&mut event, text),
        }
        finish(event)
    })
}

/// The event with the whole message as its data.
pub(super) fn meta_event(entry: &Entry) -> Bytes {
    entry.form(&entry_form::META_EVENT, || {
        let mut event = head(entry);
        // It is one line, with its end.
        event.push_str("data: ");
        event.push_str(&encode::encode(entry));
        finish(event)
    })
}

/// The gap, and the position where what follows it begins.
pub(super) fn gap(gap: &Gap) -> String {
    format!("event: gap\nid: {}\ndata: {}\n\n", gap.next, encode::gap_json(gap))
}

/// The end of the channel. Its id tells a client that has seen it from one that has not.
pub(super) fn end(at: Position) -> String {
    format!("event: end\nid: {at}\ndata: {}\n\n", encode::end_json("", at))
}

fn head(entry: &Entry) -> String {
    let mut head = format!("id: {}\n", entry.position);
    let name = match (&entry.payload, &entry.event) {
        (Payload::Bytes(_), _) => "binary",
        (_, Some(name)) => name.as_str(),
        (_, None) => return head,
    };
    let _ = writeln!(head, "event: {name}");
    head
}

/// A `data` line for each line of the text, whichever of the three line breaks it uses: the client
/// joins them with `\n`.
fn push_lines(event: &mut String, text: &str) {
    let mut rest = text;
    loop {
        let end = rest.find(['\r', '\n']);
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
        if end.is_none() {
            return;
        }
        rest = after.strip_prefix("\r\n").unwrap_or(&after[1..]);
    }
}

/// A form is kept for other readers, so it has no spare capacity.
fn finish(mut event: String) -> Bytes {
    event.push('\n');
    event.shrink_to_fit();
    event.into()
}
