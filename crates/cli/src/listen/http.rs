//! Connections of HTTP, in both versions: accepted, given to hyper, and bounded while no request is complete.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use sockeye::{
    Listener, Refusal,
    internals::{
        Accepted, Acceptor, Handshakes, Incomings, Pending, PendingConnections, defaults,
        limit_http2,
    },
    tls::ServerTls,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    cgi::Link,
    unread::{Streams, watched},
};

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The head of a request, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// How long to wait when a listener is broken.
const PAUSE: Duration = Duration::from_millis(50);

/// The answer while there are no file descriptors.
const NO_DESCRIPTORS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n\
    content-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n\
    the server has no file descriptors left\n";

/// Answers requests.
pub(super) trait Handler: Send + Sync + 'static {
    /// The answer to a request. `in_use` is held until the last byte of the answer, or of the WebSocket.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        link: Link,
        in_use: InUse,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// An answer of one line.
pub(super) fn text(status: StatusCode, line: &str) -> Response<Body> {
    refusal(Refusal::new(status, line))
}

/// The answer that a refusal is.
pub(super) fn refusal(refusal: Refusal) -> Response<Body> {
    Response::<String>::from(refusal).map(|text| full(text.into()))
}

pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Holds something until the body has been sent.
pub(super) fn holding(held: impl Send + 'static, response: Response<Body>) -> Response<Body> {
    response.map(|body| {
        body.map_frame(move |frame| {
            let _held = &held;
            frame
        })
        .boxed_unsync()
    })
}

/// What all connections share.
pub(super) struct Http<H> {
    pub(super) handler: Arc<H>,
    tls: Option<ServerTls>,
    pending: PendingConnections,
    handshakes: Handshakes,
    /// How long a client may take nothing of an answer.
    write_timeout: Duration,
}

impl<H: Handler> Http<H> {
    pub(super) fn new(handler: Arc<H>, tls: Option<ServerTls>, write_timeout: Duration) -> Self {
        Self {
            write_timeout,
            handler,
            tls: tls.map(ServerTls::http2),
            pending: PendingConnections::default(),
            handshakes: Handshakes::new(defaults::MAX_HANDSHAKES),
        }
    }

    /// Accepts connections until it is told to stop; then nothing listens any more.
    pub(super) async fn accept(self: Arc<Self>, listeners: Vec<Listener>, stop: CancellationToken) {
        let mut acceptor = Acceptor::new(self.pending.clone());
        let accepting = Accepting { listeners, is_secure: self.tls.is_some() };
        loop {
            let accepted = tokio::select! {
                accepted = acceptor.accept(&accepting) => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok(Accepted::Tcp(stream, peer)) => {
                    tokio::spawn(Arc::clone(&self).serve(stream, peer, stop.clone()));
                }
                Ok(Accepted::Unix(_)) => {}
                Err(error) => {
                    accepting.cannot_accept(&error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
        let Ok(local) = stream.local_addr() else { return };
        // A client that takes nothing at all is cut off by the system.
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_user_timeout(
            &stream,
            u32::try_from(defaults::WRITE_TIMEOUT.as_millis()).unwrap_or(u32::MAX),
        );
        let link = Link { peer, local, is_secure: self.tls.is_some() };
        let deadline = Instant::now() + defaults::HANDSHAKE_TIMEOUT;
        let pending = self.pending.register();
        match &self.tls {
            None => self.drive(stream, link, pending, deadline, stop).await,
            Some(tls) => {
                let begun = pending.or_evicted(timeout_at(deadline, tls.begin(stream))).await;
                let Some(Ok(Ok(begun))) = begun else { return };
                pending.begin();
                let place = timeout_at(deadline, self.handshakes.acquire());
                let Ok(place) = pending.safe(place).await else { return };
                let secured = place.run(begun.finish());
                let secured = pending.or_evicted(timeout_at(deadline, secured)).await;
                let Some(Ok(Ok(stream))) = secured else { return };
                self.drive(stream, link, pending, deadline, stop).await;
            }
        }
    }

    /// Lets hyper serve the connection, until it ends, is needed for another, or its first request does not come.
    async fn drive<S>(
        &self,
        stream: S,
        link: Link,
        pending: Pending,
        deadline: Instant,
        stop: CancellationToken,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(ConnectionUse {
            pending,
            requests: AtomicUsize::new(0),
            first: Notify::new(),
        });
        let (handler, in_connection) = (Arc::clone(&self.handler), Arc::clone(&shared));
        let service = service_fn(move |request: Request<Incoming>| {
            let (handler, in_use) = (Arc::clone(&handler), InUse::new(&in_connection));
            async move {
                Ok::<_, Infallible>(match in_use {
                    Some(in_use) => handler.answer(request, link, in_use).await,
                    None => text(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "the connection is needed for another",
                    ),
                })
            }
        });
        let builder = builder(self.write_timeout);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let too_late = async {
            if timeout_at(deadline, shared.first.notified()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = poll_fn(|cx| shared.poll_or_evicted(connection.as_mut(), cx)) => {}
            () = too_late => {}
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                // WebSockets have their own time to close; a file is not waited for longer.
                let _ = timeout(defaults::HANDSHAKE_TIMEOUT, connection).await;
            }
        }
    }
}

/// hyper with the limits of the library's own server.
fn builder(write_timeout: Duration) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams(write_timeout));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(defaults::HANDSHAKE_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .half_close(true);
    limit_http2!(builder.http2().timer(TokioTimer::new()), MAX_HEAD as u32);
    builder
}

/// What is known of a connection.
#[derive(Debug)]
struct ConnectionUse {
    pending: Pending,
    /// How many requests are being answered, WebSockets among them.
    requests: AtomicUsize,
    first: Notify,
}

impl ConnectionUse {
    /// Drives the connection; ready too when it is to end for another.
    fn poll_or_evicted<C: Future>(
        &self,
        connection: std::pin::Pin<&mut C>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        match connection.poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            // After it: what it has just answered may have made it idle.
            Poll::Pending => self.pending.poll_evicted(cx),
        }
    }
}

/// A request that is being answered: the connection is not ended for another one meanwhile.
#[derive(Debug)]
pub(super) struct InUse(Arc<ConnectionUse>);

impl InUse {
    /// `None` if the connection is about to end.
    fn new(connection: &Arc<ConnectionUse>) -> Option<Self> {
        connection.first.notify_one();
        connection.requests.fetch_add(1, Relaxed);
        let in_use = Self(Arc::clone(connection));
        connection.pending.settle().then_some(in_use)
    }

    /// Holds it until the body has been sent, or is taken no more.
    pub(super) fn until_sent(self, response: Response<Body>) -> Response<Body> {
        watched(holding(self, response))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Relaxed) == 1 {
            self.0.pending.linger();
        }
    }
}

/// Accepting from all listeners.
struct Accepting {
    listeners: Vec<Listener>,
    is_secure: bool,
}

impl Incomings for Accepting {
    type Connection = Accepted;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let mut polled = self.listeners.iter().map(|listener| listener.poll_accept(cx));
        polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
    }

    fn cannot_accept(&self, error: &io::Error) {
        tracing::warn!("cannot accept connections, trying again: {error}");
    }

    fn refuse(&self, connection: Accepted) {
        connection.refuse(if self.is_secure { b"" } else { NO_DESCRIPTORS });
    }
}
