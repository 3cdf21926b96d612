//! The server: listeners, the connections they bring, and the end of both.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::service::TowerToHyperService;
use sockeye::tls::ServerTls;
use sockeye_hub::Hub;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::admin;
use crate::http2::Timeouts;
use crate::impatient::Impatient;
use crate::limits::Limits;
use crate::listener::{BindError, Connection, Listener, LocalAddress, limit_backlog};
use crate::log;
use crate::options::{Listen, ServerOptions};
use crate::peer::{Addressed, Peer, Routes};
use crate::router::Channels;

/// The head of a request with its line and headers, in bytes. Of headers there may be 100, which
/// is hyper's own limit.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// How often old messages are dropped from channels that nobody uses.
const SWEEP: Duration = Duration::from_secs(5);

/// A channel server on addresses of its own.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye_server::{Server, ServerOptions};
///
/// let server = Server::bind(ServerOptions::default()).await?;
/// println!("{}", server.local_addrs()[0]); // http://127.0.0.1:8080
/// server.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    channels: Channels,
    listeners: Vec<Listener>,
    local_addrs: Vec<LocalAddress>,
    admin: Option<(Listener, LocalAddress)>,
    drain: Duration,
    head_timeout: Duration,
    write_timeout: Duration,
    max_handshakes: usize,
    tls: Option<ServerTls>,
}

impl Server {
    /// Listens on every address of the options; connections wait until [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// [`BindError::Exposed`] for an address that is not loopback, unless the options
    /// have an `auth_key` or say `open`; [`BindError::Io`] when the operating system refuses;
    /// [`BindError::Data`] when the directory for the channels can not be used.
    pub async fn bind(options: ServerOptions) -> Result<Self, BindError> {
        let mut listeners = Vec::with_capacity(options.listen.len());
        let mut local_addrs = Vec::with_capacity(options.listen.len());
        for address in &options.listen {
            let listener = Listener::bind(address, options.is_exposed()).await?;
            let local = listener
                .local_address()
                .map_err(|source| BindError::Io { address: address.clone(), source })?;
            local_addrs.push(match local {
                LocalAddress::Tcp(address) if options.tls.is_some() => LocalAddress::Tls(address),
                local => local,
            });
            listeners.push(listener);
        }
        let admin = match &options.admin {
            Some(address) => Some(Self::bind_admin(address).await?),
            None => None,
        };
        let (channels, options) = open(options).await?;
        Ok(Self {
            channels,
            listeners,
            local_addrs,
            admin,
            drain: options.drain,
            head_timeout: options.head_timeout,
            write_timeout: options.write_timeout,
            max_handshakes: options.max_handshakes,
            tls: options.tls,
        })
    }

    /// An address for operators may be any: who gives one that others reach has meant it.
    async fn bind_admin(address: &Listen) -> Result<(Listener, LocalAddress), BindError> {
        let failed = |source| BindError::Admin { address: address.clone(), source };
        let listener = Listener::bind(address, true).await.map_err(|error| match error {
            BindError::Io { source, .. } => failed(source),
            other => other,
        })?;
        let local = listener.local_address().map_err(failed)?;
        Ok((listener, local))
    }

    /// The addresses it listens on, in the order of the options, with the ports it really has.
    pub fn local_addrs(&self) -> &[LocalAddress] {
        &self.local_addrs
    }

    /// The address for operators, if there is one, with the port it really has.
    pub fn admin_addr(&self) -> Option<&LocalAddress> {
        self.admin.as_ref().map(|(_, address)| address)
    }

    /// The channels, to publish and subscribe inside the program.
    pub fn hub(&self) -> &Hub {
        self.channels.hub()
    }

    /// The routes the server answers by.
    pub fn router(&self) -> Router {
        self.channels.router()
    }

    /// Serves until `shutdown` is ready, then lets everybody finish and returns: see
    /// [`Channels::drain`]. With nobody connected it returns at once. Connections that are still
    /// there at the end of the drain end with the runtime.
    ///
    /// # Errors
    ///
    /// When a listening socket breaks. Connections that break concern nobody else.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let service = Service::new(&self);
        let mut tasks = JoinSet::new();
        for (listener, address) in self.listeners.into_iter().zip(&self.local_addrs) {
            tracing::info!(%address, "listening");
            tasks.spawn(accept(listener, service.clone()));
        }
        let mut operators = JoinSet::new();
        if let Some((listener, address)) = self.admin {
            tracing::info!(%address, "listening for operators");
            let any_host = address.tcp().is_some_and(|address| !address.ip().is_loopback());
            let router = admin::router(self.channels.shared(), any_host);
            operators.spawn(admin::serve(
                listener,
                crate::http1::builder(self.head_timeout),
                router,
            ));
        }
        tasks.spawn(sweep(self.channels.hub().clone()));
        tasks.spawn(tell_rest_of_log());
        tokio::select! {
            () = shutdown => {}
            Some(broken) = tasks.join_next() => return broken?,
            Some(broken) = operators.join_next() => return broken?,
        }
        tracing::info!("stopping");
        // First whoever asks is told that no clients should be sent here any more, then none come.
        let drain = self.channels.begin_to_drain(self.drain);
        tasks.shutdown().await;
        let left = drain.await;
        log::tell_last();
        match left {
            0 => tracing::info!("everybody has left"),
            cut_off => tracing::warn!(connections = cut_off, "cut off at the end of the drain"),
        }
        Ok(())
    }
}

/// Opens the channels, on a thread that may wait for a disk.
async fn open(options: ServerOptions) -> Result<(Channels, ServerOptions), BindError> {
    let open = move || Channels::open(&options).map(|channels| (channels, options));
    match spawn_blocking(open).await {
        Ok(opened) => Ok(opened?),
        Err(ended) => resume_unwind(ended.into_panic()),
    }
}

/// Drops old messages, for ever. Channels in use do it themselves as they are used.
async fn sweep(hub: Hub) -> io::Result<()> {
    loop {
        sleep(SWEEP).await;
        hub.sweep();
    }
}

/// Tells each second what the log left out, for ever.
async fn tell_rest_of_log() -> io::Result<()> {
    loop {
        sleep(Duration::from_secs(1)).await;
        log::tell_rest();
    }
}

/// Takes connections for ever, each into a task of its own. Aborted when the server stops.
async fn accept(listener: Listener, service: Service) -> io::Result<()> {
    loop {
        match listener.accept().await? {
            Connection::Tcp(stream, peer) => {
                if let Some(peer) = service.limits().receive(Peer::tcp(peer)) {
                    service.spawn_tcp(stream, peer).await;
                }
            }
            #[cfg(unix)]
            Connection::Unix(stream) => {
                if let Some(peer) = service.limits().receive(Peer::unknown()) {
                    service.spawn(stream, peer, false);
                }
            }
        }
    }
}

/// What makes HTTP of a connection.
#[derive(Clone)]
struct Service {
    http1: Arc<http1::Builder>,
    http2: http2::Builder<crate::http2::Streams>,
    channels: Channels,
    router: TowerToHyperService<Router>,
    head_timeout: Duration,
    write_timeout: Duration,
    /// Places for TLS handshakes, for all listeners together.
    handshakes: Arc<Semaphore>,
    tls: Option<ServerTls>,
}

impl Service {
    fn new(server: &Server) -> Self {
        let handshakes = server.max_handshakes.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            http1: Arc::new(crate::http1::builder(server.head_timeout)),
            http2: crate::http2::builder(server.write_timeout, server.channels.metrics()),
            channels: server.channels.clone(),
            router: TowerToHyperService::new(server.channels.routes()),
            head_timeout: server.head_timeout,
            write_timeout: server.write_timeout,
            handshakes: Arc::new(Semaphore::new(handshakes)),
            tls: server.tls.clone().map(ServerTls::http2),
        }
    }

    /// Finds out what is spoken on the connection, then speaks it: what TLS has agreed on (ALPN), or
    /// without TLS what the client begins with.
    ///
    /// Waits while there are too many others of which TLS is being made: that costs more than any
    /// request, and nobody is known yet.
    async fn spawn_tcp(&self, stream: TcpStream, peer: Peer) {
        if let Err(error) = limit_backlog(&stream, self.write_timeout) {
            tracing::debug!(%error, "a connection goes without limits to its backlog");
        }
        let turn = match &self.tls {
            Some(_) => Arc::clone(&self.handshakes).acquire_owned().await.ok(),
            None => None,
        };
        let service = self.clone();
        tokio::spawn(async move {
            let opening = async {
                if let Some(tls) = &service.tls {
                    let stream = tls.accept(stream).await?;
                    drop(turn);
                    let is_http2 = ServerTls::negotiated_http2(&stream);
                    service.spawn(stream, peer, is_http2);
                } else {
                    let is_http2 = begins_http2(&stream).await?;
                    service.spawn(stream, peer, is_http2);
                }
                io::Result::Ok(())
            };
            if let Ok(Err(error)) = timeout(service.head_timeout, opening).await {
                tracing::debug!(%error, "a connection did not begin");
            }
        });
    }

    fn limits(&self) -> &Limits {
        &self.channels.app().limits
    }

    fn routes(&self, peer: Peer) -> Routes {
        Addressed { peer, service: self.router.clone() }
    }

    fn spawn(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        is_http2: bool,
    ) {
        let guest = self.channels.app().drain.admit();
        let (io, routes) = (Impatient::new(io, self.write_timeout), self.routes(peer));
        if is_http2 {
            let http2 = self.http2.clone();
            let timeouts = Timeouts { idle: self.head_timeout, write: self.write_timeout };
            tokio::spawn(crate::http2::serve(http2, io, routes, timeouts, guest));
        } else {
            let http = Arc::clone(&self.http1);
            tokio::spawn(crate::http1::Connection { http, routes, guest }.serve(io));
        }
    }
}

/// Whether the client speaks HTTP/2 without having asked (prior knowledge, RFC 9113 §3.3). What it
/// has sent is looked at and not taken; the preface comes in one piece.
async fn begins_http2(stream: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut beginning = [0; PREFACE.len()];
    let length = stream.peek(&mut beginning).await?;
    Ok(beginning[..length] == *PREFACE)
}
