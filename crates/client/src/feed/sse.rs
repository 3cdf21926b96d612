//! Reading a channel by Server-Sent Events (WHATWG HTML §9.2).

use std::time::Duration;

use ::http::{
    HeaderValue, Method,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, PRAGMA},
};

use super::{FeedEvent, SILENCE, Sink, pass_on};
use crate::{
    endpoint::Endpoint,
    failure::{Ended, Failure, Problem, nonsense},
    http::{Http, Question},
    message::End,
    platform::timeout,
    position::MAX_POSITION,
};

/// Reads from there on, until something ends it.
///
/// # Errors
///
/// Always: with what ended it.
pub async fn listen(endpoint: &Endpoint, after: &str, sink: &mut impl Sink) -> Ended {
    let mut http = Http::default();
    let mut question = Question::new(Method::GET, vec![("after", after), ("meta", "1")]);
    question.headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    // As a browser's, which sends them itself: then the position comes before the first message.
    if !cfg!(target_family = "wasm") {
        for name in [CACHE_CONTROL, PRAGMA] {
            question.headers.insert(name, HeaderValue::from_static("no-cache"));
        }
    }
    let answer = http.ask(endpoint, &question).await?;
    let kind = answer.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !kind.starts_with(b"text/event-stream") {
        return Err(Failure::broken("the server answers with something else than events"));
    }
    let (mut body, mut events) = (answer.into_body(), Events::new(endpoint.max()));
    loop {
        // The first thing comes at once, unless a proxy holds it back.
        let silence = if events.has_begun { SILENCE } else { endpoint.timeout() };
        let piece = timeout(silence, body.next()).await;
        let piece = piece.map_err(|_| Failure::broken("nothing is heard of the server"))?;
        let (retry, is_on_purpose) = (events.retry, events.is_on_purpose);
        let broken = |why: &dyn ToString| match is_on_purpose {
            true => Failure::later(Problem::new(why.to_string()), retry),
            false => Failure::cut(Problem::new(why.to_string()), retry),
        };
        let piece = piece.ok_or_else(|| broken(&"the server has ended the stream"))?;
        let bytes = piece.map_err(|error| broken(&error))?;
        sink.take(FeedEvent::Open)?;
        let mut whole = Vec::new();
        let read = events.read(&bytes, |event| {
            whole.push(event.news()?);
            Ok(())
        });
        pass_on(whole, sink).await?;
        read?;
    }
}

/// An event, or an id that came without one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    id: String,
    name: String,
    data: Option<String>,
}

impl Event {
    fn news(self) -> Result<FeedEvent, Failure> {
        Ok(match self.data {
            None => FeedEvent::At(self.id.parse().map_err(nonsense)?),
            Some(gap) if self.name == "gap" => {
                FeedEvent::Gap(serde_json::from_str(&gap).map_err(nonsense)?)
            }
            Some(data) => match End::of(data.as_bytes()).filter(|_| self.name == "end") {
                Some(end) => FeedEvent::End(end),
                None => FeedEvent::Message(serde_json::from_str(&data).map_err(nonsense)?),
            },
        })
    }
}

/// The stream, read as its pieces come.
#[derive(Debug, Default)]
struct Events {
    /// The longest event.
    max: usize,
    has_begun: bool,
    /// The line that has begun.
    line: Vec<u8>,
    /// Whether the last line ended with a carriage return, so that a line feed still belongs to it.
    after_return: bool,
    event: Event,
    /// Whether the id came with this event, and not with one before.
    has_new_id: bool,
    /// How long to wait before coming back.
    retry: Duration,
    /// Whether that was said after the opening, which says it of any end.
    is_on_purpose: bool,
    /// Whether a block has ended.
    has_opened: bool,
}

impl Events {
    fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Gives the events that this piece completes.
    fn read(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(Event) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.has_begun = true;
        for &byte in piece {
            let is_rest_of_end = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            match byte {
                _ if is_rest_of_end => {}
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    if let Some(event) = self.end_line(&String::from_utf8_lossy(&line)) {
                        take(event)?;
                    }
                }
                byte => self.line.push(byte),
            }
        }
        let Event { id, name, data } = &self.event;
        let length = self.line.len() + name.len() + data.as_ref().map_or(0, String::len);
        if length > self.max {
            return Err(Failure::broken(format!("an event has more than {} bytes", self.max)));
        }
        match id.len() {
            ..=MAX_POSITION => Ok(()),
            _ => Err(Failure::broken("the id of an event is too long")),
        }
    }

    /// Takes a line; an empty one ends an event.
    fn end_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            self.has_opened = true;
            let event = std::mem::take(&mut self.event);
            self.event.id.clone_from(&event.id);
            // An id holds on; alone it is news once.
            let is_new_id = std::mem::take(&mut self.has_new_id);
            return (event.data.is_some() || is_new_id).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => {
                value.clone_into(&mut self.event.id);
                self.has_new_id = true;
            }
            "event" => value.clone_into(&mut self.event.name),
            "data" => match &mut self.event.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                empty => *empty = Some(value.to_owned()),
            },
            "retry" => {
                self.retry = value.parse().map_or(self.retry, Duration::from_millis);
                self.is_on_purpose = self.has_opened;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of a stream that is cut into pieces of these sizes: events, and whether it was refused.
    fn read(stream: &str, size: usize) -> (Vec<Event>, bool) {
        let (mut events, mut read) = (Events::new(64), Vec::new());
        let refused = stream.as_bytes().chunks(size).any(|piece| {
            let take = |event| {
                read.push(event);
                Ok(())
            };
            events.read(piece, take).is_err()
        });
        (read, refused)
    }

    proptest! {
        /// Lines that are too long may be refused sooner or later, but nothing else depends on the pieces.
        #[test]
        fn any_stream_is_read_the_same_however_it_is_cut(
            stream in "(id|data|event|retry|:|: |x|1|\\.|\\{|\\}|\"|\r|\n|\r\n|ä){0,40}",
            size in 1..9_usize,
        ) {
            let (whole, cut) = (read(&stream, stream.len().max(1)), read(&stream, size));
            if !whole.1 && !cut.1 {
                prop_assert_eq!(&whole.0, &cut.0);
            }
            for event in whole.0 {
                let _ = event.news();
            }
        }
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut_and_its_lines_end() {
        let stream =
            "retry: 700\nid: k.1\n\n:\n\nid: k.2\nevent: move\ndata: 1\ndata:2\n\ndata\n\n";
        let event = |id: &str, name: &str, data: Option<&str>| Event {
            id: id.to_owned(),
            name: name.to_owned(),
            data: data.map(str::to_owned),
        };
        for end in ["\n", "\r\n", "\r"] {
            let stream = stream.replace('\n', end);
            for size in 1..stream.len() {
                let (mut events, mut read) = (Events::new(64), Vec::new());
                for piece in stream.as_bytes().chunks(size) {
                    events
                        .read(piece, |event| {
                            read.push(event);
                            Ok(())
                        })
                        .unwrap();
                }
                assert_eq!(
                    read,
                    [
                        event("k.1", "", None),
                        event("k.2", "move", Some("1\n2")),
                        event("k.2", "", Some("")),
                    ]
                );
                assert_eq!(events.retry, Duration::from_millis(700));
            }
        }
    }
}
