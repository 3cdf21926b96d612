//! Carrying on what was set aside: an answer of HTTP/1.1 written without hyper and its buffers,
//! while somebody looks whether the client is still there (RFC 9112).

use std::io;
use std::time::SystemTime;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderValue, StatusCode, Version};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::aside::{Ending, SetAside, Work};
use crate::impatient::Impatient;
use crate::segments::Segments;

/// How much of a body is collected for one write, in bytes.
const AT_ONCE: usize = 64 << 10;

/// Waits for the answer and writes it. Says whether another request may come on the connection.
///
/// What waits here waits for long and with many others, so nothing is held in it that is over: the
/// answer is taken apart at once, and only its body is kept.
pub(crate) async fn carry<S>(io: &mut Impatient<S>, set_aside: SetAside) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let SetAside { work, ending, left } = set_aside;
    let opened = match work {
        Work::Answer(answer) => Opened::of(*answer, ending),
        Work::Waiting(mut answering) => tokio::select! {
            biased;
            Ok(answer) = &mut answering => Opened::of(answer, ending),
            () = io.left() => {
                // It may only have shut its end down: it gets what there is.
                left.tell();
                match answering.now_or_never() {
                    Some(Ok(answer)) => Opened::of(answer, ending),
                    None => return Ok(false),
                }
            }
        },
    };
    let is_last = opened.is_last;
    write(io, opened).await?;
    if is_last {
        io.shared().linger(true);
        io.shutdown().await?;
    }
    Ok(!is_last)
}

/// An answer whose head is ready to be written.
struct Opened {
    head: Bytes,
    body: Body,
    framing: Framing,
    /// Whether the connection ends with it.
    is_last: bool,
}

impl Opened {
    fn of(answer: Response, ending: Ending) -> Self {
        let (mut head, body) = answer.into_parts();
        if ending != Ending::KeepAlive {
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let is_last = head.headers.contains_key(CONNECTION);
        head.version = match ending {
            Ending::Http10 => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        let framing = Framing::of(&mut head, &body);
        Self { head: encode(&head).into(), body, framing, is_last }
    }
}

/// Writes the answer: what is there of it in one write, and then what comes as it comes.
async fn write<S>(io: &mut Impatient<S>, opened: Opened) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Opened { head, mut body, framing, .. } = opened;
    let mut out = Segments::default();
    out.push(head);
    let mut next = body.frame().now_or_never();
    loop {
        while out.length() < AT_ONCE
            && let Some(Some(frame)) = next
        {
            framing.put(&mut out, frame)?;
            next = body.frame().now_or_never();
        }
        let has_ended = matches!(next, Some(None));
        if has_ended {
            out.push(framing.end());
        }
        io.write_all_buf(&mut out).await?;
        io.flush().await?;
        if has_ended {
            return Ok(());
        }
        // Nothing is held while nothing comes.
        out = Segments::default();
        if next.is_none() {
            next = tokio::select! {
                biased;
                frame = body.frame() => Some(frame),
                () = io.left() => return Err(io::ErrorKind::ConnectionAborted.into()),
            };
        }
    }
}

/// How the client knows where the body ends (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// By its length, or by there being none.
    Length,
    Chunked,
    /// By the end of the connection, to a client that knows no chunks.
    Close,
}

impl Framing {
    /// Chooses, and says so in the head.
    fn of(head: &mut Parts, body: &Body) -> Self {
        let has_body = !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match body.size_hint().exact() {
            Some(length) if has_body => {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
                Self::Length
            }
            None if has_body && head.version == Version::HTTP_10 => Self::Close,
            None if has_body => {
                head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                Self::Chunked
            }
            _ => Self::Length,
        }
    }

    /// Adds a part of the body. One that breaks off is broken off here, too: its end is not
    /// written.
    fn put(self, out: &mut Segments, frame: Result<Frame<Bytes>, axum::Error>) -> io::Result<()> {
        let frame = frame.map_err(io::Error::other)?;
        let Ok(data) = frame.into_data() else { return Ok(()) };
        match self {
            Self::Length | Self::Close => out.push(data),
            // A chunk of no length would be the end.
            Self::Chunked if data.is_empty() => {}
            Self::Chunked => {
                out.push(format!("{:x}\r\n", data.len()));
                out.push(data);
                out.push("\r\n");
            }
        }
        Ok(())
    }

    /// What follows the body.
    fn end(self) -> &'static str {
        match self {
            Self::Length | Self::Close => "",
            Self::Chunked => "0\r\n\r\n",
        }
    }
}

/// The status line and the headers. Neither names nor values can hold a line break, by their types.
fn encode(head: &Parts) -> Vec<u8> {
    let (code, reason) = (head.status.as_str(), head.status.canonical_reason());
    let (version, reason) = (head.version, reason.unwrap_or_default());
    let mut bytes = format!("{version:?} {code} {reason}\r\n").into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    if !head.headers.contains_key(DATE) {
        let date = httpdate::fmt_http_date(SystemTime::now());
        bytes.extend_from_slice(format!("date: {date}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}
