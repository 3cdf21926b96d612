//! A request by HTTP/1.1 on a connection of its own, and the head of its answer.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1, ext::on_informational};
use hyper_util::rt::TokioIo;
use sockeye::ConnectError;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Activity, watched};
use crate::{span::span, target::Target};

/// The most bytes of an answer that are read.
const MAX_BODY: usize = 64 << 10;
/// The most bytes of a head, and the most fields.
const MAX_HEAD: usize = 16 << 10;
const MAX_FIELDS: usize = 100;
/// The most interim answers (RFC 9110 §15.2).
const MAX_INTERIM: usize = 16;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question<'q> {
    pub(crate) method: Method,
    pub(crate) parameters: &'q [(&'q str, &'q str)],
    pub(crate) headers: HeaderMap,
    /// How long the head of the answer may take, connecting apart.
    pub(crate) within: Duration,
}

impl<'q> Question<'q> {
    pub(crate) fn get(within: Duration) -> Self {
        Self { method: Method::GET, parameters: &[], headers: HeaderMap::new(), within }
    }

    pub(crate) fn header(mut self, name: http::HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }
}

/// The head of an answer; the rest is still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    /// From the request to the head.
    pub(crate) took: Duration,
    pub(crate) activity: Activity,
    _driver: AbortOnDropHandle<Result<(), hyper::Error>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There is no connection.
    Connect(String),
    /// The connection ended before an answer had come, after this long.
    Ended(Duration),
    /// Nothing came in this time, or only a part of a head.
    Silent(Duration),
    /// What came is not HTTP, and begins like this.
    NotHttp(Vec<u8>),
    /// The head has no end, or the interim answers have none.
    TooLarge,
    /// The request cannot be made.
    Request(String),
}

impl Trouble {
    /// What to do about it, if that is known.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NotHttp(bytes) if is_tls(bytes) => {
                Some("write wss:// or https://: TLS is spoken on this port")
            }
            Self::NotHttp(_) => Some("look whether the port is right"),
            Self::Silent(_) => {
                Some("look whether the port is right and whether the server is overloaded")
            }
            Self::Ended(_) => Some(
                "if the server's log does not know the request, something in between ends it: a \
                 firewall, a proxy, a port that expects TLS",
            ),
            Self::TooLarge | Self::Connect(_) | Self::Request(_) => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) | Self::Request(why) => f.write_str(why),
            Self::Ended(after) => {
                write!(f, "the connection ended without an answer, after {}", span(*after))
            }
            Self::Silent(time) => write!(f, "no answer came in {}", span(*time)),
            Self::NotHttp(bytes) if is_tls(bytes) => f.write_str("the server speaks TLS here"),
            Self::NotHttp(bytes) if bytes.starts_with(b"HTTP/") => {
                f.write_str("the head of the answer is not valid HTTP")
            }
            Self::NotHttp(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                let line = text.lines().next().unwrap_or_default();
                write!(f, "what answers does not speak HTTP: it begins with {line:?}")
            }
            Self::TooLarge => f.write_str("the head of the answer does not end"),
        }
    }
}

/// An alert or a handshake record (RFC 8446 §5.1).
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, ..])
}

/// Asks on a new connection.
pub(crate) async fn ask(target: &Target, question: &Question<'_>) -> Result<Answer, Trouble> {
    let stream = target.client.transport().await.map_err(|error| connect(target, error))?;
    let (stream, activity) = watched(stream);
    let begun = Instant::now();
    let asking = send(target, question, stream, &activity, begun);
    timeout(question.within, asking).await.map_err(|_| Trouble::Silent(question.within))?
}

fn connect(target: &Target, error: ConnectError) -> Trouble {
    Trouble::Connect((target.explain)(error))
}

async fn send<T>(
    target: &Target,
    question: &Question<'_>,
    stream: T,
    activity: &Activity,
    begun: Instant,
) -> Result<Answer, Trouble>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let classify = |error: &hyper::Error| match error {
        _ if error.is_parse_too_large() => Trouble::TooLarge,
        // Also an end in the middle of a head.
        _ if error.is_parse() => Trouble::NotHttp(activity.beginning()),
        _ if !activity.beginning().is_empty() && !activity.beginning().starts_with(b"HTTP/") => {
            Trouble::NotHttp(activity.beginning())
        }
        _ => Trouble::Ended(begun.elapsed()),
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| classify(&error))?;
    let driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = request(target, question)?;
    let excess = Arc::new(Notify::new());
    let interim = AtomicUsize::new(0);
    let exceeded = excess.clone();
    on_informational(&mut request, move |_| {
        if interim.fetch_add(1, Relaxed) >= MAX_INTERIM {
            exceeded.notify_one();
        }
    });
    let response = tokio::select! {
        biased;
        () = excess.notified() => return Err(Trouble::TooLarge),
        response = sender.send_request(request) => response.map_err(|error| classify(&error))?,
    };
    let activity = activity.clone();
    Ok(Answer { response, took: begun.elapsed(), activity, _driver: driver })
}

fn request(target: &Target, question: &Question<'_>) -> Result<Request<Full<Bytes>>, Trouble> {
    let wrong = |error: &dyn fmt::Display| Trouble::Request(error.to_string());
    let path = target.path(question.parameters).map_err(|error| wrong(&error))?;
    let mut request = Request::builder()
        .method(&question.method)
        .uri(path)
        .header(HOST, target.authority())
        .body(Full::default())
        .map_err(|error| wrong(&error))?;
    let headers = request.headers_mut();
    for (name, value) in &target.headers {
        headers.insert(name, value.clone());
    }
    if let (false, Some(value)) =
        (headers.contains_key(AUTHORIZATION), target.address.authorization())
    {
        headers.insert(AUTHORIZATION, value);
    }
    headers.extend(question.headers.clone());
    Ok(request)
}

impl Answer {
    /// A field of the head, if it is text.
    pub(crate) fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Whether the answer is of this media type.
    pub(crate) fn is(&self, media_type: &str) -> bool {
        let of = self.header(http::header::CONTENT_TYPE).unwrap_or_default();
        let of = of.split(';').next().unwrap_or_default().trim();
        of.eq_ignore_ascii_case(media_type)
    }

    /// The whole body, if it is not longer than 64 KiB and comes in time.
    pub(crate) async fn body(self, within: Duration) -> Option<Bytes> {
        let body = Limited::new(self.response.into_body(), MAX_BODY).collect();
        Some(timeout(within, body).await.ok()?.ok()?.to_bytes())
    }

    /// The next piece of the body: `Ok(None)` at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        while let Some(frame) = self.response.body_mut().frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}
