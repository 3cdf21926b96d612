//! An accepted connection until its first request: the handshake of TLS, and which HTTP is spoken.
//!
//! Nobody is known yet, so a connection costs little here: no buffer before a byte has arrived, no
//! place for a handshake before there is a handshake to work on. It is [`Pending`] meanwhile: the
//! oldest such connection ends when there is no place for a new one.

use std::io;
use std::sync::Arc;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::service::TowerToHyperService;
use sockeye::internals::{Handshakes, Pending};
use sockeye::tls::{ServerTls, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{Duration, Instant, timeout_at};

use crate::beginning::{Beginning, Protocol};
use crate::early;
use crate::http1::Patience;
use crate::http2::{StreamLimits, Streams};
use crate::impatient::Impatient;
#[cfg(unix)]
use crate::listener::evict_unix;
use crate::listener::{Connection, evict_tcp, limit_backlog};
use crate::options::ServerOptions;
use crate::peer::{Addressed, Peer, Routes};
use crate::proxy_protocol;
use crate::router::Channels;

/// What makes HTTP of a connection.
pub(crate) struct Service {
    http1: Arc<http1::Builder>,
    http2: http2::Builder<Streams>,
    channels: Channels,
    router: TowerToHyperService<Router>,
    patience: Patience,
    write_timeout: Duration,
    proxy_protocol: bool,
    /// For all listeners together.
    handshakes: Handshakes,
    tls: Option<ServerTls>,
}

impl Service {
    pub(crate) fn new(channels: &Channels, options: &ServerOptions) -> Self {
        Self {
            http1: Arc::new(crate::http1::builder(options.head_timeout)),
            http2: crate::http2::builder(options.write_timeout, channels.metrics()),
            channels: channels.clone(),
            router: TowerToHyperService::new(channels.routes()),
            patience: Patience { idle: options.keep_alive, head: options.head_timeout },
            write_timeout: options.write_timeout,
            proxy_protocol: options.proxy_protocol,
            handshakes: Handshakes::new(options.max_handshakes),
            tls: options.tls.clone().map(ServerTls::http2),
        }
    }

    /// Whether TCP connections begin with a handshake of TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The connections that are in their opening.
    pub(crate) fn pending(&self) -> &sockeye::internals::PendingConnections {
        self.channels.app().limits.pending()
    }

    /// Serves a connection, in a task of its own.
    pub(crate) fn receive(self: &Arc<Self>, connection: Connection) {
        let limits = &self.channels.app().limits;
        match connection {
            Connection::Tcp(stream, peer) => {
                let Some((peer, pending)) = limits.receive(Peer::tcp(peer)) else {
                    return match self.tls {
                        // Without a handshake there is no way to answer.
                        Some(_) => {}
                        None => evict_tcp(stream, true),
                    };
                };
                if let Err(error) = limit_backlog(&stream, self.write_timeout) {
                    tracing::debug!(%error, "a connection goes without limits to its backlog");
                }
                self.receive_by(stream, peer, pending, Self::receive_tcp);
            }
            #[cfg(unix)]
            Connection::Unix(stream) => {
                let Some((peer, pending)) = limits.receive(Peer::unix()) else {
                    return evict_unix(stream, true);
                };
                self.receive_by(stream, peer, pending, Self::receive_unix);
            }
        }
    }

    /// Goes on by `receive`: behind a header of the PROXY protocol, if the connection begins with one.
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
        match self.proxy_protocol && self.channels.app().limits.is_proxy(&peer) {
            true => drop(tokio::spawn(service.receive_announced(stream, peer, pending, receive))),
            false => receive(service, stream, peer, pending),
        }
    }

    fn receive_tcp(self: Arc<Self>, stream: TcpStream, peer: Peer, pending: Pending) {
        match self.tls.is_some() {
            true => drop(tokio::spawn(self.secure(stream, peer, pending))),
            false => drop(tokio::spawn(self.open(stream, peer, pending, evict_tcp))),
        }
    }

    #[cfg(unix)]
    fn receive_unix(self: Arc<Self>, stream: UnixStream, peer: Peer, pending: Pending) {
        tokio::spawn(self.open(stream, peer, pending, evict_unix));
    }

    /// Reads the header of the PROXY protocol, and hands the connection on.
    async fn receive_announced<S: AsyncRead + Unpin>(
        self: Arc<Self>,
        mut stream: S,
        peer: Peer,
        pending: Pending,
        receive: fn(Arc<Self>, S, Peer, Pending),
    ) {
        let deadline = Instant::now() + self.patience.head;
        let reads = timeout_at(deadline, proxy_protocol::read(&mut stream));
        let limits = &self.channels.app().limits;
        match pending.or_evicted(reads).await {
            Some(Ok(Ok(announced))) => {
                let peer = limits.announced(peer, announced);
                receive(self, stream, peer, pending);
            }
            Some(Ok(Err(error))) if error.kind() == io::ErrorKind::InvalidData => {
                limits.unannounced(&error);
            }
            // It left, or was too slow.
            _ => {}
        }
    }

    /// Waits for the first byte, then makes TLS of the connection. ALPN says what is spoken on it.
    async fn secure(self: Arc<Self>, stream: TcpStream, peer: Peer, pending: Pending) {
        let deadline = Instant::now() + self.patience.head;
        let mut first = [0];
        let arrives = pending.or_evicted(timeout_at(deadline, stream.peek(&mut first)));
        if !matches!(arrives.await, Some(Ok(Ok(1..)))) {
            return;
        }
        pending.begin();
        // Boxed, so that a silent connection has no room for it.
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
                let io = Impatient::new(*stream, self.write_timeout);
                self.serve_http2(io, peer, pending);
            }
            Ok(stream) => Box::pin(self.open(*stream, peer, pending, |_, _| {})).await,
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        }
    }

    /// Each step has its own deadline, so that none goes on for ever: the client's first message, a
    /// place to work on it, the rest. Each is boxed, so that none has room for those after it.
    async fn handshake(
        &self,
        stream: TcpStream,
        pending: &Pending,
        deadline: Instant,
    ) -> io::Result<Box<TlsStream<TcpStream>>> {
        let Some(tls) = &self.tls else { return Err(io::ErrorKind::Unsupported.into()) };
        let evicted = || io::Error::new(io::ErrorKind::TimedOut, "another needs the place");
        let begins = Box::pin(async move { tls.begin(stream).await.map(Box::new) });
        let begun = pending.or_evicted(timeout_at(deadline, begins)).await;
        let begun = begun.ok_or_else(evicted)???;
        let deadline = Instant::now() + self.patience.head;
        let place = pending.safe(timeout_at(deadline, self.handshakes.place())).await?;
        let deadline = Instant::now() + self.patience.head;
        let finishes = Box::pin(async move { begun.finish().await.map(Box::new) });
        let finished = place.run(finishes);
        pending.or_evicted(timeout_at(deadline, finished)).await.ok_or_else(evicted)??
    }

    /// Waits for the first request, then serves the connection. One that has to make room for another
    /// ends by `evict`, which is told whether something has arrived.
    async fn open<S>(self: Arc<Self>, stream: S, peer: Peer, pending: Pending, evict: fn(S, bool))
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut io = Impatient::new(stream, self.write_timeout);
        match first_request(&mut io, &pending, self.patience.head).await {
            // One that is told that there is no place gives up what it has to the next one.
            Ok(Protocol::Http1) if peer.full().is_some() => {
                pending.or_evicted(self.http1(peer).serve(io)).await;
            }
            // One that was evicted meanwhile has no place any more.
            Ok(Protocol::Http1) if pending.settle() => match early::refusal(io.ahead()) {
                None => {
                    let peer = peer.on(io.shared().given_up());
                    tokio::spawn(self.http1(peer).serve(io));
                }
                Some((status, answer)) => {
                    self.channels.metrics().answered(status);
                    Box::pin(early::tell(io, answer)).await;
                }
            },
            Ok(Protocol::Http2) => self.serve_http2(io, peer, pending),
            Ok(Protocol::Http1) | Err(Ended::Evicted) => {
                let has_begun = !io.ahead().is_empty();
                evict(io.into_inner(), has_begun);
            }
            Err(Ended::Left) => {}
        }
    }

    fn http1(&self, peer: Peer) -> crate::http1::Connection {
        let (http, routes) = (Arc::clone(&self.http1), self.routes(peer));
        let guest = self.channels.app().drain.admit();
        crate::http1::Connection { http, patience: self.patience, routes, guest }
    }

    fn serve_http2(
        &self,
        io: Impatient<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
        peer: Peer,
        pending: Pending,
    ) {
        let peer = peer.on(io.shared().given_up());
        let (http, routes) = (self.http2.clone(), self.routes(peer));
        let limits = StreamLimits {
            idle: self.patience.head,
            write: self.write_timeout,
            buffer: self.channels.app().max_http2_buffer,
            metrics: self.channels.metrics(),
        };
        let guest = self.channels.app().drain.admit();
        tokio::spawn(crate::http2::serve(http, io, routes, limits, guest, pending));
    }

    fn routes(&self, peer: Peer) -> Routes {
        Addressed { peer, service: self.router.clone() }
    }
}

/// Why a connection ends before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It has to make room for another.
    Evicted,
    /// It is too slow, or broken.
    Left,
}

/// Waits until the head of the first request has arrived, and says how to go on.
pub(crate) async fn first_request(
    io: &mut Impatient<impl AsyncRead + Unpin>,
    pending: &Pending,
    timeout: Duration,
) -> Result<Protocol, Ended> {
    let (mut beginning, mut protocol) = (Beginning::default(), None);
    let arrives = io.read_ahead(|arrived| {
        pending.begin();
        protocol = beginning.look(arrived);
        protocol.is_some()
    });
    let deadline = Instant::now() + timeout;
    let arrived = pending.or_evicted(timeout_at(deadline, arrives)).await;
    let Ok(Ok(())) = arrived.ok_or(Ended::Evicted)? else { return Err(Ended::Left) };
    // A client that sends no more may have sent something that there is an answer to.
    let protocol = protocol.or_else(|| (!io.ahead().is_empty()).then_some(Protocol::Http1));
    protocol.ok_or(Ended::Left)
}
