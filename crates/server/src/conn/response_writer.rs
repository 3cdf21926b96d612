//! Writes a detached HTTP/1.1 response without hyper and its buffers, and watches whether the client is
//! still there (RFC 9112).
//!
//! The bytes are those that hyper would write; the tests compare them. One difference is meant: hyper tells a
//! client of HTTP/1.0 that asks for it `Connection: keep-alive` also where the connection ends with the
//! response, and this says `close`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, DATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::conn::detach::{Detached, Persistence, Work, has_connection_option};
use crate::http::body::Segments;
use crate::http::chunk;
use crate::net::shared_io::{self, BodyIo, SharedIo, TryWrite};
use crate::net::write_deadline::WriteDeadline;

/// How much of a body is collected for one write, in bytes.
const AT_ONCE: usize = 64 << 10;

/// The connection that a response is written to.
pub(crate) trait Connection: AsyncWrite + Unpin {
    /// Ready when the client has left; as [`WriteDeadline::poll_left`].
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Ready when nothing is kept that others have written.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says that the client may still be sending when the connection is shut down.
    fn linger(&self);

    /// The connection for others, if they can write to it.
    fn writer(&self) -> Option<Arc<dyn TryWrite>>;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection for WriteDeadline<S> {
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_left(cx)
    }

    fn poll_sent(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn linger(&self) {
        self.shared().linger(true);
    }

    fn writer(&self) -> Option<Arc<dyn TryWrite>> {
        None
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for SharedIo<S> {
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|io| io.poll_left(cx)).unwrap_or(Poll::Ready(()))
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_sent(self, cx)
    }

    fn linger(&self) {
        self.with(|io| io.shared().linger(true));
    }

    fn writer(&self) -> Option<Arc<dyn TryWrite>> {
        Some(Self::writer(self))
    }
}

/// Waits for the response and writes it. Returns whether another request may follow on the connection.
///
/// Many tasks wait here for long, so none holds what is no longer needed: the response is taken apart
/// at once, and only its body is kept.
pub(crate) async fn write_response(
    io: &mut impl Connection,
    detached: Detached,
) -> io::Result<bool> {
    let Detached { work, persistence } = detached;
    let prepared = match work {
        Work::Streaming(response) => PreparedResponse::of(*response, persistence),
        Work::Deferred(mut deferred) => tokio::select! {
            biased;
            response = &mut deferred => PreparedResponse::of(response, persistence),
            () = poll_fn(|cx| io.poll_left(cx)) => {
                // It may only have shut down its sending side: it gets what there is.
                deferred.tell_client_left();
                match deferred.now_or_never() {
                    Some(response) => PreparedResponse::of(response, persistence),
                    None => return Ok(false),
                }
            }
        },
    };
    let is_last = prepared.is_last;
    write(io, prepared).await?;
    if is_last {
        io.linger();
        io.shutdown().await?;
    }
    Ok(!is_last)
}

/// A response whose head is ready to be written.
struct PreparedResponse {
    head: Bytes,
    body: Body,
    framing: Framing,
    /// Whether the connection ends with it.
    is_last: bool,
    /// What the body knows the connection by, if it asks for that.
    body_io: Option<Arc<BodyIo>>,
}

impl PreparedResponse {
    fn of(response: Response, persistence: Persistence) -> Self {
        let (mut head, body) = response.into_parts();
        let framing = Framing::of(head.status, &body, persistence);
        let body_io = head.extensions.remove();
        let says_close = has_connection_option(&head.headers, "close");
        let is_last = says_close || framing == Framing::Close || !persistence.is_kept();
        let option = match persistence {
            Persistence::Close | Persistence::Http10KeepAlive if is_last => Some("close"),
            Persistence::Http10KeepAlive => Some("keep-alive"),
            _ => None,
        };
        if let Some(option) = option
            && !has_connection_option(&head.headers, option)
        {
            head.headers.append(CONNECTION, HeaderValue::from_static(option));
        }
        let head = encode(persistence, head.status, &head.headers, framing);
        Self { head: head.into(), body, framing, is_last, body_io }
    }
}

/// Writes the response: what there is of it in one write, then the rest as it comes.
async fn write(io: &mut impl Connection, prepared: PreparedResponse) -> io::Result<()> {
    let PreparedResponse { head, mut body, mut framing, body_io, .. } = prepared;
    let body_io = body_io.and_then(|body_io| framing.show(io, body_io));
    let mut out = Segments::default();
    out.push(head);
    let mut next = if framing.has_body() { body.frame().now_or_never() } else { Some(None) };
    loop {
        while out.length() < AT_ONCE
            && let Some(Some(frame)) = next
        {
            framing.put(&mut out, frame)?;
            next = body.frame().now_or_never();
        }
        let has_ended = matches!(next, Some(None));
        if has_ended {
            out.push(framing.end()?);
        }
        io.write_all_buf(&mut out).await?;
        io.flush().await?;
        if has_ended {
            return Ok(());
        }
        // Nothing is held while nothing comes.
        out = Segments::default();
        if next.is_none() {
            let set_idle = |is_idle| body_io.iter().for_each(|body_io| body_io.set_idle(is_idle));
            set_idle(true);
            next = Some(poll_fn(|cx| poll_next(io, &mut body, cx)).await?);
            set_idle(false);
        }
    }
}

/// A part of a body, or its end.
type NextFrame = Option<Result<Frame<Bytes>, axum::Error>>;

/// Waits for the next part of the body. Fails when the client leaves.
fn poll_next(
    io: &mut impl Connection,
    body: &mut Body,
    cx: &mut Context<'_>,
) -> Poll<io::Result<NextFrame>> {
    // The body goes on when what was written on its behalf has left: nothing more is made for a client that is slow.
    ready!(io.poll_sent(cx))?;
    if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
        return Poll::Ready(Ok(frame));
    }
    io.poll_left(cx).map(|()| Err(io::ErrorKind::ConnectionAborted.into()))
}

/// How the client knows where the body ends (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// The status has no body.
    NoBody,
    /// By its length, of which this much is still to come.
    Length(u64),
    Chunked,
    /// By the end of the connection, for a client without chunks.
    Close,
}

impl Framing {
    fn of(status: StatusCode, body: &Body, persistence: Persistence) -> Self {
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Self::NoBody;
        }
        match body.size_hint().exact() {
            _ if body.is_end_stream() => Self::Length(0),
            Some(length) => Self::Length(length),
            None if persistence.has_chunks() => Self::Chunked,
            None => Self::Close,
        }
    }

    fn has_body(self) -> bool {
        self != Self::NoBody
    }

    /// Shows the connection to the body, if others can write to it.
    fn show(self, io: &impl Connection, body_io: Arc<BodyIo>) -> Option<Arc<BodyIo>> {
        let framing = match self {
            Self::Chunked => shared_io::Framing::Chunked,
            Self::Close => shared_io::Framing::Bare,
            Self::NoBody | Self::Length(_) => return None,
        };
        body_io.show(io.writer()?, framing);
        Some(body_io)
    }

    /// The header that says it.
    fn header(self) -> String {
        match self {
            Self::NoBody | Self::Close => String::new(),
            Self::Length(length) => format!("content-length: {length}\r\n"),
            Self::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
        }
    }

    /// Adds a part of the body. When the body fails, its end is not written.
    fn put(
        &mut self,
        out: &mut Segments,
        frame: Result<Frame<Bytes>, axum::Error>,
    ) -> io::Result<()> {
        let frame = frame.map_err(io::Error::other)?;
        let Ok(data) = frame.into_data() else { return Ok(()) };
        match self {
            Self::NoBody => {}
            Self::Length(missing) => {
                *missing = missing.checked_sub(data.len() as u64).ok_or_else(wrong_length)?;
                out.push(data);
            }
            Self::Close => out.push(data),
            // An empty chunk would be the end.
            Self::Chunked if data.is_empty() => {}
            Self::Chunked => {
                out.push(chunk::before(data.len()));
                out.push(data);
                out.push(chunk::AFTER);
            }
        }
        Ok(())
    }

    /// What follows the body.
    fn end(self) -> io::Result<&'static str> {
        match self {
            Self::NoBody | Self::Length(0) | Self::Close => Ok(""),
            Self::Length(_) => Err(wrong_length()),
            Self::Chunked => Ok(chunk::END),
        }
    }
}

/// The client would take what follows for a part of the body, or the other way round.
fn wrong_length() -> io::Error {
    io::Error::other("the body is not as long as it says")
}

/// The status line and the headers. Names and values cannot contain line breaks, by their types.
fn encode(
    persistence: Persistence,
    status: StatusCode,
    headers: &HeaderMap,
    framing: Framing,
) -> Vec<u8> {
    let version = if persistence.has_chunks() { "HTTP/1.1" } else { "HTTP/1.0" };
    let (code, reason) = (status.as_str(), status.canonical_reason().unwrap_or("<none>"));
    let mut bytes = format!("{version} {code} {reason}\r\n").into_bytes();
    let mut put = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    };
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        if name == CONNECTION {
            put(name.as_str(), &values.collect::<Vec<_>>().join(&b", "[..]));
        } else {
            values.for_each(|value| put(name.as_str(), value));
        }
    }
    bytes.extend_from_slice(framing.header().as_bytes());
    if !headers.contains_key(DATE) {
        let date = httpdate::fmt_http_date(SystemTime::now());
        bytes.extend_from_slice(format!("date: {date}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests;
