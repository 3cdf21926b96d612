//! An accepted connection until its first request: PROXY header, TLS handshake, and which HTTP the
//! client speaks.
//!
//! The client is unknown yet, so a connection costs little here: no buffer before a byte has arrived,
//! no slot for a handshake before there is one to work on. It is [`Pending`] meanwhile: the oldest such
//! connection is evicted when a new one finds no permit.

use std::io;
use std::sync::Arc;

use hyper::server::conn::{http1, http2};
use sockeye::internals::{Accepted, Handshakes, Pending};
use sockeye::tls::{ServerTls, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{Duration, Instant, timeout_at};

use crate::conn::answer::Handler;
use crate::conn::early::{self, NO_DESCRIPTORS};
use crate::conn::evict::Evict;
use crate::conn::http1::RequestTimeouts;
use crate::conn::http2::{StreamLimits, Streams};
use crate::conn::protocol::{Protocol, ProtocolDetector};
use crate::conn::service::Routes;
use crate::lifecycle::drain::Drain;
use crate::limits::Limits;
use crate::limits::peer::Peer;
use crate::metrics::Metrics;
use crate::net::listener::limit_backlog;
use crate::net::proxy_protocol;
use crate::net::write_deadline::WriteDeadline;
use crate::options::ServerOptions;

/// What the connections of a server share.
pub(crate) struct ConnectionContext {
    pub(crate) limits: Arc<Limits>,
    pub(crate) drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) handler: Arc<dyn Handler>,
}

/// Serves accepted connections.
pub(crate) struct ConnectionService {
    http1: Arc<http1::Builder>,
    http2: http2::Builder<Streams>,
    limits: Arc<Limits>,
    drain: Drain,
    metrics: Arc<Metrics>,
    handler: Arc<dyn Handler>,
    timeouts: RequestTimeouts,
    write_timeout: Duration,
    max_http2_buffer: usize,
    proxy_protocol: bool,
    /// Shared by all listeners.
    handshakes: Handshakes,
    tls: Option<ServerTls>,
}

impl ConnectionService {
    pub(crate) fn new(context: ConnectionContext, options: &ServerOptions) -> Self {
        let ConnectionContext { limits, drain, metrics, handler } = context;
        Self {
            http1: Arc::new(crate::conn::http1::builder(options.head_timeout)),
            http2: crate::conn::http2::builder(
                options.channels.write_timeout,
                Arc::clone(&metrics),
            ),
            limits,
            drain,
            metrics,
            handler,
            timeouts: RequestTimeouts { idle: options.keep_alive, head: options.head_timeout },
            write_timeout: options.channels.write_timeout,
            max_http2_buffer: options.max_http2_buffer,
            proxy_protocol: options.proxy_protocol,
            handshakes: Handshakes::new(options.max_handshakes),
            tls: options.tls.clone().map(ServerTls::http2),
        }
    }

    /// The response to a connection for which there is no file descriptor. Without a TLS handshake
    /// there is no way to respond.
    pub(crate) fn refusal(&self) -> &'static [u8] {
        if self.tls.is_some() { b"" } else { NO_DESCRIPTORS }
    }

    /// The connections that can be evicted.
    pub(crate) fn pending(&self) -> &sockeye::internals::PendingConnections {
        self.limits.pending()
    }

    /// Whether there are as many connections as there may be.
    pub(crate) fn is_full(&self) -> bool {
        self.limits.connections().is_full()
    }

    /// Serves a connection, in a task of its own.
    pub(crate) fn serve(self: &Arc<Self>, connection: Accepted) {
        let limits = &self.limits;
        match connection {
            Accepted::Tcp(stream, peer) => {
                let Some((peer, pending)) = limits.receive(Peer::tcp(peer)) else {
                    return match self.tls {
                        // Without a TLS handshake there is no way to respond.
                        Some(_) => {}
                        None => stream.evict(true),
                    };
                };
                if let Err(error) = limit_backlog(&stream, self.write_timeout) {
                    tracing::debug!(%error, "the backlog of a connection cannot be limited");
                }
                self.receive_by(stream, peer, pending, Self::receive_tcp);
            }
            #[cfg(unix)]
            Accepted::Unix(stream) => {
                let Some((peer, pending)) = limits.receive(Peer::unix()) else {
                    return stream.evict(true);
                };
                self.receive_by(stream, peer, pending, Self::receive_unix);
            }
        }
    }

    /// Continues with `receive`: after the PROXY header, if the connection begins with one.
    fn receive_by<S>(
        self: &Arc<Self>,
        stream: S,
        peer: Peer,
        pending: Pending,
        receive: fn(Arc<Self>, S, Peer, Pending),
    ) where
        S: AsyncRead + Unpin + Send + 'static,
    {
        let service = Arc::clone(self);
        match self.proxy_protocol && self.limits.is_proxy(&peer) {
            true => drop(tokio::spawn(service.receive_announced(stream, peer, pending, receive))),
            false => receive(service, stream, peer, pending),
        }
    }

    fn receive_tcp(self: Arc<Self>, stream: TcpStream, peer: Peer, pending: Pending) {
        match self.tls.is_some() {
            true => drop(tokio::spawn(self.secure(stream, peer, pending))),
            false => drop(tokio::spawn(self.open(stream, peer, pending))),
        }
    }

    #[cfg(unix)]
    fn receive_unix(self: Arc<Self>, stream: UnixStream, peer: Peer, pending: Pending) {
        tokio::spawn(self.open(stream, peer, pending));
    }

    /// Reads the PROXY header, and passes the connection on.
    async fn receive_announced<S: AsyncRead + Unpin>(
        self: Arc<Self>,
        mut stream: S,
        peer: Peer,
        pending: Pending,
        receive: fn(Arc<Self>, S, Peer, Pending),
    ) {
        let deadline = Instant::now() + self.timeouts.head;
        let reads = timeout_at(deadline, proxy_protocol::read(&mut stream));
        let limits = &self.limits;
        match pending.or_evicted(reads).await {
            Some(Ok(Ok(announced))) => {
                let peer = limits.announced(peer, announced);
                receive(self, stream, peer, pending);
            }
            Some(Ok(Err(error))) if error.kind() == io::ErrorKind::InvalidData => {
                limits.unannounced(&error);
            }
            // The client left, or was too slow.
            _ => {}
        }
    }

    /// Waits for the first byte, then does the TLS handshake. ALPN says which HTTP is spoken.
    async fn secure(self: Arc<Self>, stream: TcpStream, peer: Peer, pending: Pending) {
        let deadline = Instant::now() + self.timeouts.head;
        let mut first = [0];
        let arrives = pending.or_evicted(timeout_at(deadline, stream.peek(&mut first)));
        if !matches!(arrives.await, Some(Ok(Ok(1..)))) {
            return;
        }
        pending.begin();
        // Boxed, so that a silent connection has no memory for it.
        Box::pin(self.make_secure(stream, peer, pending, deadline)).await;
    }

    async fn make_secure(
        self: Arc<Self>,
        stream: TcpStream,
        peer: Peer,
        pending: Pending,
        deadline: Instant,
    ) {
        match self.handshake(stream, &pending, deadline).await {
            Ok(stream) if ServerTls::negotiated_http2(&stream) => {
                let io = WriteDeadline::new(*stream, self.write_timeout, pending);
                self.serve_http2(io.noting(peer.marks()), peer);
            }
            Ok(stream) => Box::pin(self.open(*stream, peer, pending)).await,
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        }
    }

    /// Each step has its own deadline: the client's first message, a slot to work on it, the rest. Each
    /// is boxed, so that none has memory for those after it.
    async fn handshake(
        &self,
        stream: TcpStream,
        pending: &Pending,
        deadline: Instant,
    ) -> io::Result<Box<TlsStream<TcpStream>>> {
        let Some(tls) = &self.tls else { return Err(io::ErrorKind::Unsupported.into()) };
        let evicted = || io::Error::new(io::ErrorKind::TimedOut, "evicted for another connection");
        let begins = Box::pin(async move { tls.begin(stream).await.map(Box::new) });
        let begun = pending.or_evicted(timeout_at(deadline, begins)).await;
        let begun = begun.ok_or_else(evicted)???;
        let deadline = Instant::now() + self.timeouts.head;
        let permit = pending.safe(timeout_at(deadline, self.handshakes.acquire())).await?;
        let deadline = Instant::now() + self.timeouts.head;
        let finishes = Box::pin(async move { begun.finish().await.map(Box::new) });
        let finished = permit.run(finishes);
        pending.or_evicted(timeout_at(deadline, finished)).await.ok_or_else(evicted)??
    }

    /// Waits for the first request, then serves the connection.
    async fn open(self: Arc<Self>, stream: impl Evict, peer: Peer, pending: Pending) {
        let io = WriteDeadline::new(stream, self.write_timeout, pending);
        let mut io = io.noting(peer.marks());
        match first_request(&mut io, self.timeouts.head).await {
            // A connection over the limit gives up its refusal permit to the next one.
            Ok(Protocol::Http1) if peer.limit_reached().is_some() => {
                tokio::spawn(self.http1(peer).serve(io));
            }
            // A connection that was evicted meanwhile has no permit any more.
            Ok(Protocol::Http1) if io.shared().settle() => match early::refusal(io.ahead()) {
                None => {
                    let peer = self.note(peer, io.shared());
                    tokio::spawn(self.http1(peer).serve(io));
                }
                Some((status, answer)) => {
                    self.metrics.answered(status);
                    Box::pin(early::send(io, answer)).await;
                }
            },
            Ok(Protocol::Http2) => self.serve_http2(io, peer),
            Ok(Protocol::Http1) | Err(Ended::Evicted) => {
                let has_begun = !io.ahead().is_empty();
                io.into_parts().0.evict(has_begun);
            }
            Err(Ended::Left) => {}
        }
    }

    fn http1(&self, peer: Peer) -> crate::conn::http1::Http1Connection {
        let (http, routes) = (Arc::clone(&self.http1), self.routes(peer));
        let guard = self.drain.guard();
        crate::conn::http1::Http1Connection { http, timeouts: self.timeouts, routes, guard }
    }

    fn serve_http2(
        &self,
        io: WriteDeadline<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
        peer: Peer,
    ) {
        let peer = self.note(peer, io.shared());
        let (http, routes) = (self.http2.clone(), self.routes(peer));
        let limits = StreamLimits {
            idle: self.timeouts.head,
            write: self.write_timeout,
            buffer: self.max_http2_buffer,
            metrics: Arc::clone(&self.metrics),
        };
        let guard = self.drain.guard();
        tokio::spawn(crate::conn::http2::serve(http, io, routes, limits, guard));
    }

    /// The peer, which is told apart by what is noted of the connection.
    fn note(&self, peer: Peer, connection: &crate::net::write_deadline::IoState) -> Peer {
        if self.limits.is_proxy(&peer) {
            connection.marks().trust();
        }
        peer.on(connection.marks())
    }

    fn routes(&self, peer: Peer) -> Routes {
        Routes { peer, handler: Arc::clone(&self.handler) }
    }
}

/// Why a connection ends before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was evicted for another.
    Evicted,
    /// It was too slow, or failed.
    Left,
}

/// Waits until the head of the first request has arrived; returns which HTTP it is.
pub(crate) async fn first_request(
    io: &mut WriteDeadline<impl AsyncRead + Unpin>,
    timeout: Duration,
) -> Result<Protocol, Ended> {
    let shared = Arc::clone(io.shared());
    let pending = shared.pending();
    let (mut detector, mut protocol) = (ProtocolDetector::default(), None);
    let arrives = io.read_ahead(|arrived| {
        pending.begin();
        protocol = detector.detect(arrived);
        protocol.is_some()
    });
    let deadline = Instant::now() + timeout;
    let arrived = pending.or_evicted(timeout_at(deadline, arrives)).await;
    let Ok(Ok(())) = arrived.ok_or(Ended::Evicted)? else { return Err(Ended::Left) };
    // A client that sends no more may have sent something that has a response.
    let protocol = protocol.or_else(|| (!io.ahead().is_empty()).then_some(Protocol::Http1));
    protocol.ok_or(Ended::Left)
}
