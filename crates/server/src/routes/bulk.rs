//! Publishing in bulk: many messages by one request.
//!
//! - `POST /c/{channel}` with lines of JSON: a message in each, to that channel.
//! - `POST /publish` with a list of JSON, or with lines: a message in each, to the channel that it names.
//!
//! Each message is taken or refused by itself, in the order in which they stand, and the answer says which.
//! Lines are published as they come: the request may be long, and holds no more than a line.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::BytesMut;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sockeye_hub::{ChannelName, IdempotencyKey, Json, Position, Publication, Source};
use tokio::time::{Instant, timeout, timeout_at};

use super::deciding::Deciding;
use super::publish::{self, publisher};
use crate::app::App;
use crate::auth::{self, Caller, Right};
use crate::conn::answer::Answer;
use crate::http::conditional::position_headers;
use crate::http::headers::{IDEMPOTENCY_KEY, SOCKEYE_EVENT};
use crate::http::media::{self, Media};
use crate::http::problem::{Code, Problem};
use crate::limits::pace::Publisher;
use crate::limits::peer::Peer;
use crate::metrics::connections::PublishedBy;
use crate::option_names::OptionNames;
use crate::trace::TraceParent;
use crate::transports::publication::{MAX_DEPTH, WrittenPublication, max_json};
use crate::transports::v1;

/// The most messages of one request.
pub(crate) const MAX_MESSAGES: usize = 1000;
/// Publications of one request whose outcome is not known yet: beyond them no line is read.
const IN_FLIGHT: usize = 64;

/// The methods of `/publish`.
const METHODS: &str = "POST, OPTIONS";

/// Answers any request for `/publish`.
pub(crate) async fn answer(app: &App, request: Request) -> Result<Answer, Problem> {
    match *request.method() {
        Method::POST => {}
        Method::OPTIONS => return Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into()),
        _ => return Err(Problem::method_not_allowed(METHODS)),
    }
    // Before the body is read: a caller that may not publish anywhere sends it in vain.
    if Caller::of(&request).is_anonymous() {
        return Err(auth::no_token().and_close());
    }
    if is_lines(request.headers()) {
        return lines(app, None, request).await;
    }
    match Media::of(request.headers()).map_err(|charset| publish::other_charset(&charset))? {
        Media::Json => list(app, request).await,
        _ => {
            let detail = "Send application/json, a list, or application/x-ndjson, lines.";
            Err(Problem::new(Code::UnsupportedType, detail).and_close())
        }
    }
}

/// Whether the body is lines of JSON.
pub(crate) fn is_lines(headers: &HeaderMap) -> bool {
    media::is_of_type(headers, "application/x-ndjson")
}

/// Publishes each line as it comes: to `home`, or to the channel that it names.
pub(crate) async fn lines(
    app: &App,
    home: Option<&ChannelName>,
    request: Request,
) -> Result<Answer, Problem> {
    let mut bulk = Bulk::new(app, home, &request)?;
    let mut lines = Lines::new(request.into_body(), max_json(app.max_message), app.body_timeout);
    lines.names = app.names;
    loop {
        let line = tokio::select! {
            biased;
            // What is known is put down while the client sends.
            () = bulk.go_on(), if bulk.has_begun() => continue,
            line = lines.next() => line,
        };
        match line {
            Ok(Some(line)) if bulk.is_full() => {
                drop(line);
                bulk.stop(too_many());
                break;
            }
            Ok(Some(line)) => bulk.add(&line).await,
            Ok(None) => break,
            Err(problem) if bulk.is_empty() => return Err(problem),
            Err(problem) => {
                bulk.stop(problem);
                break;
            }
        }
    }
    Ok(bulk.answer().await)
}

/// Publishes each message of a list.
async fn list(app: &App, request: Request) -> Result<Answer, Problem> {
    let mut bulk = Bulk::new(app, None, &request)?;
    let max = max_json(app.max_message);
    let body = timeout(app.body_timeout, publish::collect(app, request.into_body(), max)).await;
    let body =
        body.map_err(|_| publish::took_too_long())?.map_err(|problem| match problem.code() {
            Code::TooLarge => too_long("A list", max, app.names),
            _ => problem,
        })?;
    let text = str::from_utf8(&body).map_err(publish::bad_json)?;
    Json::parse_within(text, MAX_DEPTH + 1).map_err(publish::bad_json)?;
    let no_list = |_| bad_request("The body is a list: `[{\"ch\":…,\"data\":…}, …]`.");
    let Messages(messages) = serde_json::from_str(text).map_err(no_list)?;
    for message in messages.ok_or_else(too_many)? {
        bulk.add(message.get().as_bytes()).await;
    }
    Ok(bulk.answer().await)
}

/// The messages of a list. Of one with too many, none: a list of many small values would take several times its
/// bytes.
struct Messages<'a>(Option<Vec<&'a RawValue>>);

impl<'de> Deserialize<'de> for Messages<'de> {
    fn deserialize<D: Deserializer<'de>>(list: D) -> Result<Self, D::Error> {
        list.deserialize_seq(MessagesVisitor)
    }
}

struct MessagesVisitor;

impl<'de> Visitor<'de> for MessagesVisitor {
    type Value = Messages<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Messages<'de>, A::Error> {
        let mut messages = Vec::new();
        while let Some(message) = list.next_element()? {
            if messages.len() == MAX_MESSAGES {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Messages(None));
            }
            messages.push(message);
        }
        Ok(Messages(Some(messages)))
    }
}

/// A publication whose outcome is not known yet.
type Publishing = Pin<Box<dyn Future<Output = Result<Position, Problem>> + Send>>;

/// The messages of one request, and what became of them.
struct Bulk<'a> {
    app: &'a App,
    caller: Caller,
    peer: Peer,
    /// The span that the request names.
    parent: TraceParent,
    publisher: Publisher,
    /// The channel of those that name none.
    home: Option<&'a ChannelName>,
    source: Source,
    /// Those that are not published yet, where an authoriser is asked.
    deciding: Deciding,
    in_flight: FuturesOrdered<Publishing>,
    count: usize,
    /// As JSON, in the order of the messages.
    results: Vec<String>,
    refused: usize,
    /// The position of the last that was taken.
    last: Option<Position>,
    /// Why not all of the body was looked at.
    cut: Option<Problem>,
}

impl<'a> Bulk<'a> {
    fn new(
        app: &'a App,
        home: Option<&'a ChannelName>,
        request: &Request,
    ) -> Result<Self, Problem> {
        let (caller, peer, headers) = (Caller::of(request), Peer::of(request), request.headers());
        if let Some(home) = home {
            caller.may(Right::Write, home).map_err(Problem::and_close)?;
        }
        publish::refuse_what_is_encoded(headers)?;
        Media::of(headers).map_err(|charset| publish::other_charset(&charset).and_close())?;
        if headers.contains_key(IDEMPOTENCY_KEY) || headers.contains_key(SOCKEYE_EVENT) {
            let detail =
                "Give each message its own `key` and `event`: the headers are of one message.";
            return Err(Problem::new(Code::BadRequest, detail).and_close());
        }
        Ok(Self {
            app,
            publisher: publisher(&caller, &peer),
            deciding: Deciding::new(caller.clone()),
            caller,
            peer,
            parent: app.traces.parent(headers),
            home,
            source: Source::new(),
            in_flight: FuturesOrdered::new(),
            count: 0,
            results: Vec::new(),
            refused: 0,
            last: None,
            cut: None,
        })
    }

    fn is_full(&self) -> bool {
        self.count >= MAX_MESSAGES
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn has_begun(&self) -> bool {
        !self.deciding.is_empty() || !self.in_flight.is_empty()
    }

    /// Publishes one, or refuses it.
    async fn add(&mut self, json: &[u8]) {
        self.count += 1;
        if let Some(paces) = &self.app.paces {
            paces.wait(self.publisher.clone()).await;
        }
        if let Some(turn) = self.app.publication_turn(&self.caller) {
            turn.await;
        }
        match self.caller.is_asked() {
            true => self.deciding.add(json, channel(self.home, json)),
            false => self.begin(json),
        }
        while self.in_flight.len() >= IN_FLIGHT || !self.deciding.has_room() {
            self.go_on().await;
        }
    }

    /// Begins to publish one, with what the others have before it.
    fn begin(&mut self, json: &[u8]) {
        self.in_flight.push_back(
            match begin(
                self.app,
                (&self.caller, &self.peer, &self.parent),
                (self.home, self.source),
                json,
            ) {
                Ok(publishing) => Box::pin(publishing),
                Err(problem) => Box::pin(std::future::ready(Err(problem))),
            },
        );
    }

    /// Waits for what is known next: that a message may be published, or what became of one, both in the order of the
    /// messages. A future that is dropped loses nothing.
    async fn go_on(&mut self) {
        let has_room = self.in_flight.len() < IN_FLIGHT;
        tokio::select! {
            Some(decided) = self.deciding.next(), if has_room && !self.deciding.is_empty() => match decided {
                Ok(line) => self.begin(&line),
                Err(problem) => {
                    self.in_flight.push_back(Box::pin(std::future::ready(Err(problem))));
                }
            },
            Some(outcome) = self.in_flight.next(), if !self.in_flight.is_empty() => match outcome {
                Ok(position) => {
                    self.last = Some(position);
                    self.results.push(format!("{{\"at\":\"{position}\"}}"));
                }
                Err(problem) => self.refuse(&problem),
            },
            else => {}
        }
    }

    fn refuse(&mut self, problem: &Problem) {
        self.refused += 1;
        self.results.push(format!("{{\"err\":{}}}", v1::refusal_json(problem)));
    }

    /// Nothing more is looked at, for that reason, which is the last result.
    fn stop(&mut self, problem: Problem) {
        self.cut = Some(problem);
    }

    /// `201` if all were taken, and else `207`; what became of each.
    async fn answer(mut self) -> Answer {
        while self.has_begun() {
            self.go_on().await;
        }
        let cut = self.cut.take();
        if let Some(problem) = &cut {
            self.refuse(problem);
        }
        let status = match self.refused {
            0 => StatusCode::CREATED,
            _ => StatusCode::MULTI_STATUS,
        };
        let last = self.last.filter(|_| self.home.is_some());
        let at = last.map_or_else(String::new, |at| format!("\"at\":\"{at}\","));
        let json = format!(
            "{{{at}\"refused\":{},\"results\":[{}]}}",
            self.refused,
            self.results.join(",")
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        if cut.is_some() {
            // The rest of the body would have to be read in vain.
            headers.insert(CONNECTION, http::HeaderValue::from_static("close"));
        }
        match last {
            Some(at) => (status, position_headers(at), headers, json).into(),
            None => (status, headers, json).into(),
        }
    }
}

/// Begins to publish one for a caller that is not asked for, or has been.
fn begin(
    app: &App,
    (caller, peer, parent): (&Caller, &Peer, &TraceParent),
    (home, source): (Option<&ChannelName>, Source),
    json: &[u8],
) -> Result<impl Future<Output = Result<Position, Problem>> + Send + use<>, Problem> {
    let written = WrittenPublication::parse(json)?;
    let channel = channel_of(home, &written)?;
    let key = written.key.as_ref().map(|key| IdempotencyKey::new(caller.publisher(), key));
    let mut publication = Publication::of(written.payload.as_ref()).source(source);
    publication.event = written.event.clone();
    publication.key = key.transpose().map_err(bad_request)?;
    // Who may not publish does not choose what is traced either.
    let parent = caller.may(Right::Write, channel).is_ok().then_some(parent);
    let span = app.traces.begin(parent, channel, "http");
    // It was asked for, where that has to be.
    span.authorized();
    Ok(app.publish((caller, PublishedBy::Request(peer), span), channel, publication))
}

/// The channel of a message.
fn channel(home: Option<&ChannelName>, json: &[u8]) -> Result<ChannelName, Problem> {
    channel_of(home, &WrittenPublication::parse(json)?).cloned()
}

fn channel_of<'a>(
    home: Option<&'a ChannelName>,
    written: &'a WrittenPublication<'_>,
) -> Result<&'a ChannelName, Problem> {
    match (home, &written.channel) {
        (None, None) => Err(bad_request("Say which channel: `ch`.")),
        (Some(home), Some(named)) if home != named => {
            Err(bad_request("`ch` is another channel than that of the URL."))
        }
        (Some(home), _) => Ok(home),
        (None, Some(named)) => Ok(named),
    }
}

/// The lines of a body, as it comes.
struct Lines {
    body: Body,
    /// What has come and was not given yet.
    buffer: BytesMut,
    /// How much of it has no end of a line.
    searched: usize,
    /// The longest line, in bytes.
    max: usize,
    names: OptionNames,
    /// How many bytes may still come.
    bytes_left: u64,
    /// For how long the client may still be waited for, and since when it is.
    left: Duration,
    since: Option<Instant>,
    is_over: bool,
}

impl Lines {
    fn new(body: Body, max: usize, left: Duration) -> Self {
        let bytes_left = (max as u64).saturating_mul(MAX_MESSAGES as u64);
        let buffer = BytesMut::new();
        Self {
            body,
            buffer,
            searched: 0,
            max,
            names: OptionNames::default(),
            bytes_left,
            left,
            since: None,
            is_over: false,
        }
    }

    /// The next line that is not empty. A future that is dropped loses nothing.
    async fn next(&mut self) -> Result<Option<BytesMut>, Problem> {
        loop {
            if let Some(line) = self.whole_line()? {
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
            } else if self.is_over {
                let rest = std::mem::take(&mut self.buffer);
                self.searched = 0;
                return Ok((!rest.trim_ascii().is_empty()).then_some(rest));
            } else {
                self.read().await?;
            }
        }
    }

    fn whole_line(&mut self) -> Result<Option<BytesMut>, Problem> {
        let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let length = end.map_or(self.buffer.len(), |end| self.searched + end);
        if length > self.max {
            return Err(too_long("A line", self.max, self.names));
        }
        let Some(_) = end else {
            self.searched = length;
            return Ok(None);
        };
        self.searched = 0;
        Ok(Some(self.buffer.split_to(length + 1)))
    }

    async fn read(&mut self) -> Result<(), Problem> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let frame = timeout_at(since + self.left, self.body.frame()).await;
        self.since = None;
        self.left = self.left.saturating_sub(since.elapsed());
        match frame.map_err(|_| publish::took_too_long())? {
            None => self.is_over = true,
            Some(Err(_)) => return Err(publish::broke_off()),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { return Ok(()) };
                let left = self.bytes_left.checked_sub(data.len() as u64);
                self.bytes_left = left.ok_or_else(too_many)?;
                self.buffer.extend_from_slice(&data);
            }
        }
        Ok(())
    }
}

fn too_many() -> Problem {
    let detail =
        format_args!("A request has at most {MAX_MESSAGES} messages: send the rest by another.");
    Problem::new(Code::TooLarge, detail).and_close()
}

fn too_long(what: &str, max: usize, names: OptionNames) -> Problem {
    let option = names.of("max_message");
    let detail = format_args!("{what} has at most {max} bytes: see {option}.");
    Problem::new(Code::TooLarge, detail).and_close()
}

fn bad_request(detail: impl fmt::Display) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use bytes::Bytes;
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;

    /// The lines of a body that comes in these pieces.
    fn read(pieces: Vec<Vec<u8>>, max: usize) -> Result<Vec<Vec<u8>>, Problem> {
        let pieces = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        let body = Body::from_stream(stream::iter(pieces));
        let mut lines = Lines::new(body, max, Duration::from_secs(60));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut all = Vec::new();
            while let Some(line) = lines.next().await? {
                all.push(line.trim_ascii().to_vec());
            }
            Ok(all)
        })
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_come(
            body in prop::collection::vec(prop::sample::select(b"ab \r\n\n".to_vec()), 0..60),
            size in 1..20_usize,
        ) {
            let expected: Vec<_> = body
                .split(|byte| *byte == b'\n')
                .map(|line| line.trim_ascii().to_vec())
                .filter(|line| !line.is_empty())
                .collect();
            let pieces = body.chunks(size).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(read(pieces, 100).unwrap(), expected);
        }

        #[test]
        fn a_line_beyond_the_limit_is_refused_whether_it_ends_or_not(
            size in 1..20_usize, ends in any::<bool>(),
        ) {
            let body = [&[b'x'; 101][..], if ends { b"\n" } else { b"" }].concat();
            let pieces = body.chunks(size).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(read(pieces, 100).unwrap_err().code(), Code::TooLarge);
        }
    }
}
