//! `POST /c/{channel}`: publish one message.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use sockeye_hub::{
    BadIdempotencyKey, ChannelName, EventName, Hub, IdempotencyKey, Json, PayloadRef, Position,
    Publication, PublishError, Room, Share,
};
use tokio::time::{sleep_until, timeout};

use crate::auth::{Caller, Right};
use crate::headers::{IDEMPOTENCY_KEY, SOCKEYE_EVENT};
use crate::media::{Media, OtherCharset};
use crate::pace::Publisher;
use crate::peer::Peer;
use crate::poll::etag;
use crate::problem::{Code, Problem};
use crate::router::App;

/// Publishes the body and answers `201` with the position it got.
pub(crate) async fn publish(
    app: &App,
    channel: &ChannelName,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, peer) = (Caller::of(&request), Peer::of(&request));
    // Before the body is read: who may not publish sends it for nothing.
    caller.may(Right::Write, channel).map_err(Problem::and_close)?;
    let (head, body) = request.into_parts();
    let event = event(&head.headers)?;
    let key = key(&head.headers, &caller)?;
    refuse_what_is_encoded(&head.headers)?;
    if announced_length(&head.headers).is_some_and(|length| length > app.max_message as u64) {
        return Err(too_large(app.max_message));
    }
    if let Some(paces) = &app.paces {
        // Before the body is read: what comes too fast waits on the client's side.
        sleep_until(paces.turn(publisher(&caller, &peer))).await;
    }
    let body = timeout(app.body_timeout, collect(body, app.max_message))
        .await
        .map_err(|_| took_too_long())??;
    let payload = payload(&head.headers, &body)?;

    let publication = Publication { event, key, ..Publication::of(payload) };
    let position = app.publish(&caller, channel, publication).await?;
    let json = format!("{{\"at\":\"{position}\"}}");
    let headers = [(CONTENT_TYPE, "application/json".to_owned()), (ETAG, etag(position))];
    Ok((StatusCode::CREATED, headers, json).into_response())
}

/// Who publishes, for the pace.
fn publisher(caller: &Caller, peer: &Peer) -> Publisher {
    match (caller.id(), peer.network()) {
        (Some(subject), _) => Publisher::Subject(subject.to_owned()),
        (None, Some(network)) => Publisher::Network(network),
        (None, None) => Publisher::Unknown,
    }
}

impl App {
    /// Publishes for the caller: the one way in, whatever the transport.
    ///
    /// The order of the calls is the order of the positions: one may publish again before the
    /// first position is known.
    pub(crate) fn publish(
        &self,
        caller: &Caller,
        channel: &ChannelName,
        publication: Publication<'_>,
    ) -> impl Future<Output = Result<Position, Problem>> + Send + use<> {
        let publishing = self
            .admit(caller, channel, &publication)
            .map(|()| self.hub.publish(channel, publication.account(&caller.account())));
        let metrics = Arc::clone(&self.metrics);
        let (hub, caller) = (self.hub.clone(), caller.clone());
        async move {
            let published = match publishing {
                Ok(publishing) => publishing.await.map_err(|error| match error {
                    PublishError::Full { room, share } => no_room(&hub, &caller, room, share),
                    error => refused(error),
                }),
                Err(problem) => Err(problem),
            };
            metrics.published(published.as_ref().map(|_| ()).map_err(Problem::code));
            published
        }
    }

    fn admit(
        &self,
        caller: &Caller,
        channel: &ChannelName,
        publication: &Publication<'_>,
    ) -> Result<(), Problem> {
        caller.may(Right::Write, channel)?;
        match publication.payload.as_bytes().len() > self.max_message {
            true => Err(too_large(self.max_message)),
            false => Ok(()),
        }
    }
}

/// `Sockeye-Event`: the event's name, if it has one.
fn event(headers: &HeaderMap) -> Result<Option<EventName>, Problem> {
    let Some(value) = headers.get(SOCKEYE_EVENT) else { return Ok(None) };
    // What is not even ASCII becomes a text that is no name, for the same reason.
    let name = value.to_str().unwrap_or(" ");
    name.parse().map(Some).map_err(|wrong| Problem::new(Code::BadEvent, wrong))
}

/// `Idempotency-Key`: with what a repetition of this request is known, if it may be repeated.
fn key(headers: &HeaderMap, caller: &Caller) -> Result<Option<IdempotencyKey>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let text = line.to_str().ok().filter(|_| lines.next().is_none()).and_then(unquoted);
    let key = text.ok_or(BadIdempotencyKey);
    let key = key.and_then(|key| IdempotencyKey::new(caller.publisher(), &key));
    key.map(Some).map_err(|wrong| Problem::new(Code::BadRequest, wrong).and_close())
}

/// A string of a structured field (RFC 8941 §3.3.3), which is what the header's draft asks for, or,
/// as many clients send it, the key as it is.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let text = text.trim();
    let Some(quoted) = text.strip_prefix('"') else { return Some(text.into()) };
    let (mut key, mut letters) = (String::new(), quoted.chars());
    loop {
        match letters.next()? {
            '"' => return letters.as_str().is_empty().then_some(key.into()),
            '\\' => key.push(letters.next().filter(|letter| matches!(letter, '"' | '\\'))?),
            letter => key.push(letter),
        }
    }
}

/// A compressed text published as it came would be no text.
fn refuse_what_is_encoded(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => {
            let detail = "Send the body without a Content-Encoding.";
            Err(Problem::new(Code::UnsupportedType, detail).and_close())
        }
        _ => Ok(()),
    }
}

/// The length the head promises. A chunked body promises none.
fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole body in one piece. It grows with what arrived, not with what was announced.
async fn collect(mut body: Body, max: usize) -> Result<Vec<u8>, Problem> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new(Code::BadRequest, "The body broke off or is malformed.").and_close()
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > max - whole.len() {
            return Err(too_large(max));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// What the body is: as its `Content-Type` says, and without one as it looks.
fn payload<'b>(headers: &HeaderMap, body: &'b [u8]) -> Result<PayloadRef<'b>, Problem> {
    match Media::of(headers).map_err(|charset| other_charset(&charset))? {
        Media::Json => json(body),
        // Text that is not UTF-8 is kept as it came.
        Media::Text | Media::Unknown => {
            Ok(str::from_utf8(body).map_or(PayloadRef::Bytes(body), PayloadRef::Text))
        }
        Media::Bytes => Ok(PayloadRef::Bytes(body)),
    }
}

fn other_charset(OtherCharset(charset): &OtherCharset) -> Problem {
    let detail = format_args!(
        "The charset {charset:?} is not UTF-8: send UTF-8, or application/octet-stream for bytes."
    );
    Problem::new(Code::UnsupportedType, detail)
}

/// JSON is checked and then kept byte for byte: no number loses its digits, no key its place.
fn json(body: &[u8]) -> Result<PayloadRef<'_>, Problem> {
    let text = str::from_utf8(body).map_err(bad_json)?;
    Json::parse(text).map(PayloadRef::Json).map_err(bad_json)
}

fn bad_json(wrong: impl Display) -> Problem {
    Problem::new(Code::BadJson, format_args!("The body is not acceptable JSON: {wrong}."))
}

/// `507`: says whose share of what is used up, and what to do.
fn no_room(hub: &Hub, caller: &Caller, room: Room, share: Share) -> Problem {
    let account = caller.account();
    let held = hub.holdings(&account);
    let held = match room {
        Room::Channels => held.channels,
        _ => held.bytes,
    };
    let detail = match (room, share) {
        (Room::Channels, Share::Own) => format!(
            "All places for channels are taken, and {account} has {held} of them, which is its \
             share: DELETE channels, whose places are free some seconds later, or wait until their \
             messages expire."
        ),
        (_, Share::Own) => format!(
            "All room for messages is taken, and {account}, which has {held} bytes of it, would \
             have more than its share: DELETE channels, or wait until messages expire, and \
             idempotency keys after 5 minutes."
        ),
        (Room::Channels, _) => format!(
            "All places for channels are taken, {held} of them by {account}; publishers that have \
             more have readers on all of them: try again later, or raise --max-channels."
        ),
        _ => format!(
            "All room for messages is taken, {held} bytes of it by {account}; publishers that have \
             more can make no room: try again later, or raise --max-bytes."
        ),
    };
    Problem::new(Code::InsufficientStorage, detail)
}

/// The hub's refusal as a client sees it.
pub(crate) fn refused(error: PublishError) -> Problem {
    match error {
        PublishError::TooLarge { .. } => {
            let detail = format_args!("{error}: see --history-bytes");
            Problem::new(Code::TooLarge, detail)
        }
        PublishError::Full { .. } => Problem::new(Code::InsufficientStorage, error),
        PublishError::NoSpace => {
            let detail = format_args!(
                "{error}: make room on the one that --data is on; publishing then goes on by itself"
            );
            Problem::new(Code::InsufficientStorage, detail)
        }
        PublishError::Busy => {
            Problem::new(Code::Unavailable, format_args!("{error}: try again in a moment"))
        }
        PublishError::Unknown => {
            let detail = format_args!("{error}: repeat it with the same Idempotency-Key");
            Problem::new(Code::Unavailable, detail)
        }
        PublishError::Disk => {
            Problem::new(Code::Internal, format_args!("{error}: see the server's log"))
        }
        _ => Problem::new(Code::Internal, error),
    }
}

fn too_large(max: usize) -> Problem {
    let detail = format_args!("A message has at most {max} bytes: see --max-message.");
    Problem::new(Code::TooLarge, detail).and_close()
}

fn took_too_long() -> Problem {
    Problem::new(Code::BadRequest, "The body took too long to arrive: send it faster.")
        .with_status(StatusCode::REQUEST_TIMEOUT)
        .and_close()
}
