//! `POST /c/{channel}`: publish one message.

use std::borrow::Cow;
use std::fmt::Display;
use std::mem;

use axum::body::Body;
use axum::extract::Request;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use sockeye_hub::{
    BadIdempotencyKey, ChannelName, EventName, IdempotencyKey, Json, PayloadRef, Position,
    Publication,
};
use tokio::time::timeout;

use crate::app::App;
use crate::auth::{Caller, Right};
use crate::conn::answer::Answer;
use crate::http::conditional::position_headers;
use crate::http::headers::{IDEMPOTENCY_KEY, SOCKEYE_EVENT};
use crate::http::media::{Media, OtherCharset};
use crate::http::problem::{Code, Problem};
use crate::http::query;
use crate::limits::pace::Publisher;
use crate::limits::peer::Peer;
use crate::metrics::connections::PublishedBy;
use crate::routes::bulk;
use crate::trace::PublicationSpan;
use crate::transports::encode;

/// Publishes the body and answers `201` with the position of the message.
pub(crate) async fn post(
    app: &App,
    channel: &ChannelName,
    request: Box<Request>,
) -> Result<Answer, Problem> {
    let (caller, peer) = (Caller::of(&request), Peer::of(&request));
    if query::has_close(request.uri())? {
        return Box::pin(close(app, channel, (&caller, &peer), *request)).await;
    }
    if bulk::is_lines(request.headers()) {
        return Box::pin(bulk::lines(app, Some(channel), *request)).await;
    }
    // Who may not publish does not choose what is traced either.
    let may_publish = caller.may(Right::Write, channel).is_ok();
    let parent = may_publish.then(|| app.traces.parent(request.headers()));
    let span = app.traces.begin(parent.as_ref(), channel, "http");
    let mut span = Some(span);
    let announced = announced_length(request.headers()).unwrap_or(0);
    let published = publish(app, channel, (&caller, &peer), request, &mut span).await;
    if let (Err(problem), Some(span)) = (&published, span) {
        let by = (PublishedBy::Request(&peer), caller.id());
        app.register.refused(channel, (problem.code(), announced), by);
        span.ends(Err(problem.code()));
    }
    let position = published?;
    let headers = position_headers(position);
    // The entity tag is the position in quotes.
    let json = ["{\"at\":", &headers[0].1, "}"].concat();
    Ok((StatusCode::CREATED, headers, [(CONTENT_TYPE, "application/json")], json).into())
}

/// Publishes the body. The span ends with the publication; until there is one it is left.
async fn publish(
    app: &App,
    channel: &ChannelName,
    (caller, peer): (&Caller, &Peer),
    mut request: Box<Request>,
    span: &mut Option<PublicationSpan>,
) -> Result<Position, Problem> {
    // Before the body is read: a caller that may not publish sends it in vain.
    caller.may(Right::Write, channel).map_err(Problem::and_close)?;
    let body = mem::take(request.body_mut());
    let event = event(request.headers())?;
    let key = key(request.headers(), caller)?;
    refuse_what_is_encoded(request.headers())?;
    let max = app.max_message_of(channel);
    if announced_length(request.headers()).is_some_and(|length| length > max as u64) {
        return Err(app.too_large(max));
    }
    let body = receive(app, (caller, peer), body, max).await?;
    let payload = payload(request.headers(), &body)?;

    let mut publication = Publication::of(payload);
    (publication.event, publication.key) = (event, key);
    // The body may have taken its time.
    caller.ask(Right::Write, channel).await?;
    let span = span.take().unwrap_or_else(|| app.traces.begin(None, channel, "http"));
    span.authorized();
    app.publish((caller, PublishedBy::Request(peer), span), channel, publication).await
}

/// `?close=1`: ends the channel, and answers with the position of its end.
async fn close(
    app: &App,
    channel: &ChannelName,
    (caller, peer): (&Caller, &Peer),
    request: Request,
) -> Result<Answer, Problem> {
    caller.may(Right::Write, channel).map_err(Problem::and_close)?;
    let max = app.max_message_of(channel);
    if !receive(app, (caller, peer), request.into_body(), max).await?.is_empty() {
        let detail = "Publish the last message first: the end of a channel has no body.";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    caller.ask(Right::Write, channel).await?;
    let position = app.end(caller, channel).await?;
    let headers = [(CONTENT_TYPE, "application/json")];
    Ok((position_headers(position), headers, encode::end_json("", position)).into())
}

/// The body, at the pace of the publisher.
async fn receive(
    app: &App,
    (caller, peer): (&Caller, &Peer),
    body: Body,
    max: usize,
) -> Result<Vec<u8>, Problem> {
    if let Some(paces) = &app.paces {
        // Before the body is read: a publisher above its rate waits on the client's side.
        paces.wait(publisher(caller, peer)).await;
    }
    if let Some(turn) = app.publication_turn(caller) {
        turn.await;
    }
    let body = timeout(app.body_timeout, collect(app, body, max)).await;
    body.map_err(|_| took_too_long())?
}

/// The publisher that the rate counts.
pub(super) fn publisher(caller: &Caller, peer: &Peer) -> Publisher {
    match (caller.id(), peer.network()) {
        (Some(subject), _) => Publisher::Subject(subject.to_owned()),
        (None, Some(network)) => Publisher::Network(network),
        (None, None) => Publisher::Unknown,
    }
}

/// `Sockeye-Event`: the name of the event, if it has one.
fn event(headers: &HeaderMap) -> Result<Option<EventName>, Problem> {
    let Some(value) = headers.get(SOCKEYE_EVENT) else { return Ok(None) };
    // A value that is not ASCII becomes a text that is not a name, and gets the same error.
    let name = value.to_str().unwrap_or(" ");
    name.parse().map(Some).map_err(|wrong| Problem::new(Code::BadEvent, wrong))
}

/// `Idempotency-Key`: identifies repetitions of a publication.
fn key(headers: &HeaderMap, caller: &Caller) -> Result<Option<IdempotencyKey>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let text = line.to_str().ok().filter(|_| lines.next().is_none()).and_then(unquoted);
    let key = text.ok_or(BadIdempotencyKey);
    let key = key.and_then(|key| IdempotencyKey::new(caller.publisher(), &key));
    key.map(Some).map_err(|wrong| Problem::new(Code::BadRequest, wrong).and_close())
}

/// A string of a structured field (RFC 8941 §3.3.3), as the header's draft has it, or the bare key, as
/// many clients send it.
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

/// A compressed text published as it came would not be text.
pub(super) fn refuse_what_is_encoded(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => {
            let detail = "Send the body without a Content-Encoding.";
            Err(Problem::new(Code::UnsupportedType, detail).and_close())
        }
        _ => Ok(()),
    }
}

/// The length in the head. A chunked body has none.
fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole body in one piece. Memory grows with what arrived, not with what was announced.
pub(super) async fn collect(app: &App, mut body: Body, max: usize) -> Result<Vec<u8>, Problem> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| broke_off())?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > max - whole.len() {
            return Err(app.too_large(max));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// The payload: by the `Content-Type`, and without one by its bytes.
fn payload<'b>(headers: &HeaderMap, body: &'b [u8]) -> Result<PayloadRef<'b>, Problem> {
    match Media::of(headers).map_err(|charset| other_charset(&charset))? {
        Media::Json => json(body),
        // Text that is not UTF-8 is kept as bytes.
        Media::Text | Media::Unknown => {
            Ok(str::from_utf8(body).map_or(PayloadRef::Bytes(body), PayloadRef::Text))
        }
        Media::Bytes => Ok(PayloadRef::Bytes(body)),
    }
}

pub(super) fn other_charset(OtherCharset(charset): &OtherCharset) -> Problem {
    let detail = format_args!(
        "The charset {charset:?} is not UTF-8: send UTF-8, or application/octet-stream for bytes."
    );
    Problem::new(Code::UnsupportedType, detail)
}

/// JSON is checked and then kept byte for byte: numbers keep their digits, members their order.
fn json(body: &[u8]) -> Result<PayloadRef<'_>, Problem> {
    let text = str::from_utf8(body).map_err(bad_json)?;
    Json::parse(text).map(PayloadRef::Json).map_err(bad_json)
}

pub(super) fn bad_json(wrong: impl Display) -> Problem {
    Problem::new(Code::BadJson, format_args!("The body is not acceptable JSON: {wrong}."))
}

pub(super) fn broke_off() -> Problem {
    Problem::new(Code::BadRequest, "The body broke off or is malformed.").and_close()
}

pub(super) fn took_too_long() -> Problem {
    Problem::new(Code::BadRequest, "The body took too long to arrive: send it faster.")
        .with_status(StatusCode::REQUEST_TIMEOUT)
        .and_close()
}
