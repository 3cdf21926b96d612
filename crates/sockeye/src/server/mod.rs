//! A WebSocket server for a program of its own: bind, accept, handle, and stop in order.

mod accepting;
mod asked;
mod handshake;
#[cfg(all(feature = "http2", feature = "tls"))]
mod http2;
mod incoming;
mod limits;
mod pending;
mod run;
mod stream;
mod tasks;

#[cfg(unix)]
use std::path::Path;
use std::{
    future::{Future, pending},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use sockeye_proto::{CloseCode, CloseFrame, Config, DeflateConfig, handshake::HeadLimits};
use tokio::net::ToSocketAddrs;

pub use self::{incoming::Incoming, stream::accept};
use self::{limits::Limits, run::run_until};
use crate::{
    Connections, Listener, Origins, PeerAddr,
    net::{PendingConnections, defaults},
};

/// A server that speaks nothing but WebSocket.
///
/// ```no_run
/// use sockeye::{Incoming, Server};
///
/// # async fn example() -> std::io::Result<()> {
/// let server = Server::bind("127.0.0.1:9001").await?;
/// server
///     .run(|incoming: Incoming| async move {
///         let mut socket = incoming.accept().await?;
///         while let Some(message) = socket.recv().await {
///             socket.send(message?).await?;
///         }
///         Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
///     })
///     .await;
/// # Ok(())
/// # }
/// ```
///
/// Clients are refused as HTTP has it, with a line of text and `Connection: close`: a request that is
/// not a WebSocket handshake with 400, 405, 426 or 505; one that is too large with 414 or 431; one that
/// takes too long with 408; a foreign page with 403; beyond the [limits](Self::max_connections) with
/// 429 or 503, and 503 too while the server stops.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    settings: Settings,
    shutdown_close: CloseFrame,
    shutdown_timeout: Duration,
}

/// What holds for every connection.
#[derive(Debug)]
struct Settings {
    config: Arc<Config>,
    deflate: Option<DeflateConfig>,
    head_limits: HeadLimits,
    origins: Origins,
    handshake_timeout: Duration,
    max_handshakes: usize,
    #[cfg(all(feature = "http2", feature = "tls"))]
    http2_write_timeout: Duration,
    limits: Limits,
    connections: Connections,
    /// The connections that end when their descriptors are needed.
    pending: PendingConnections,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::ServerTls>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config: Arc::default(),
            deflate: None,
            head_limits: HeadLimits::default(),
            origins: Origins::default(),
            handshake_timeout: defaults::HANDSHAKE_TIMEOUT,
            max_handshakes: defaults::MAX_HANDSHAKES,
            #[cfg(all(feature = "http2", feature = "tls"))]
            http2_write_timeout: defaults::WRITE_TIMEOUT,
            limits: Limits::default(),
            connections: Connections::new(),
            pending: PendingConnections::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Settings {
    /// Whether a handshake of TLS comes before any answer.
    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self, reason = "there is no TLS"))]
    fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }
}

impl Server {
    /// Listens on an address; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// When the address is not one of this machine, or taken.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self::from_listener(Listener::bind(address).await?))
    }

    /// Listens on a Unix socket; as [`Listener::bind_unix`].
    ///
    /// # Errors
    ///
    /// When the path cannot be written, or another process listens there.
    #[cfg(unix)]
    pub async fn bind_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::from_listener(Listener::bind_unix(path).await?))
    }

    /// Serves the connections of an existing listener.
    pub fn from_listener(listener: impl Into<Listener>) -> Self {
        Self {
            listeners: vec![listener.into()],
            settings: Settings::default(),
            shutdown_close: CloseCode::GOING_AWAY.into(),
            shutdown_timeout: Duration::from_secs(10),
        }
    }

    /// Serves what one more listener accepts, too.
    pub fn listener(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// The address that it listens on: that of the first listener with an address and a port.
    ///
    /// # Errors
    ///
    /// When there is none, or the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let listener = self.listeners.iter().find_map(Listener::tcp);
        listener.ok_or(io::ErrorKind::Unsupported)?.local_addr()
    }

    /// The set of the connections that it has accepted, here and while it runs.
    pub fn connections(&self) -> Connections {
        self.settings.connections.clone()
    }

    /// Sets limits and deadlines of the connections.
    pub fn config(mut self, config: Config) -> Self {
        self.settings.config = Arc::new(config);
        self
    }

    /// Agrees to permessage-deflate (RFC 7692) where clients offer it in a way that fits: messages are
    /// compressed both ways. Default: declined.
    ///
    /// With the settings' own defaults, compression costs a connection nothing while it is idle: see
    /// [`DeflateConfig`].
    pub fn deflate(mut self, deflate: impl Into<Option<DeflateConfig>>) -> Self {
        self.settings.deflate = deflate.into();
        self
    }

    /// Sets how large the head of a request may be.
    pub fn head_limits(mut self, limits: HeadLimits) -> Self {
        self.settings.head_limits = limits;
        self
    }

    /// Sets which pages may connect. Default: those of the server's own origin.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.settings.origins = origins;
        self
    }

    /// Serves `wss://` with this certificate, instead of `ws://`. With it (and the feature `http2`) comes
    /// HTTP/2, for clients that want it: their WebSockets share a connection (RFC 8441), and each is an
    /// [`Incoming`] of its own.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::ServerTls) -> Self {
        #[cfg(feature = "http2")]
        let tls = tls.http2();
        self.settings.tls = Some(tls);
        self
    }

    /// Sets how long a client may take to send its request: from the connection's beginning, TLS
    /// included, whatever it sends. Default 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
        self
    }

    /// Sets how many clients may be in their handshake at once, those that are being refused included;
    /// at least one. Default 1024. A client takes such a place when it has sent something (over TLS: its
    /// first message); further ones wait, and while one does, a handshake that has taken a second may
    /// be cut off for it. Connections are accepted whether there is a place or not; when there is
    /// no file descriptor for one, the oldest that is silent ends; if none is, the one that has waited
    /// longest without an open stream (HTTP/2), or since its refusal.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.settings.max_handshakes = handshakes.max(1);
        self
    }

    /// Sets how long a client may take nothing of what is written to it over HTTP/2 before its stream is
    /// reset. Default 2 minutes. Reading slowly is no reason; over HTTP/1.1 this changes nothing.
    #[cfg(all(feature = "http2", feature = "tls"))]
    pub fn http2_write_timeout(mut self, timeout: Duration) -> Self {
        self.settings.http2_write_timeout = timeout;
        self
    }

    /// Sets how many clients there may be whose request was passed to the handler, which has not refused
    /// it; those that still come are refused with 503 and `Retry-After`. Default: as many as the system
    /// has descriptors for.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.limits.set_max(connections);
        self
    }

    /// The same for each IP address, or /64 network of IPv6, with 429. Default: no limit. Behind a
    /// proxy all clients have the proxy's address.
    pub fn max_connections_per_ip(mut self, connections: usize) -> Self {
        self.settings.limits.set_max_per_ip(connections);
        self
    }

    /// Sets when clients that are refused for a limit should try again, in whole seconds. Default 5 s.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.settings.limits.retry_after = delay;
        self
    }

    /// Sets how connections are closed when the server stops. Default 1001, going away; 1012 says that
    /// the service restarts (RFC 6455 §7.4.1).
    pub fn shutdown_close(mut self, frame: impl Into<CloseFrame>) -> Self {
        self.shutdown_close = frame.into();
        self
    }

    /// Sets how long connections and their handlers have to end when the server stops. Default 10 s.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Accepts connections for ever, each handled in a task of its own.
    ///
    /// Where the handler returns an error or panics, a connection that it still holds is closed with 1011,
    /// a request that it has not answered is refused with 500, and the log has a warning with the
    /// peer; at the level of debug, if the peer had ended the connection before.
    ///
    /// Dropping this future stops accepting; connections that are open go on.
    pub async fn run<H, F, E>(self, handler: H)
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        self.run_until(pending::<()>(), handler).await;
    }

    /// Accepts connections as [`run`](Self::run) does, until `shutdown` is ready. Then it stops in
    /// order:
    ///
    /// 1. It closes its listeners. Clients in their handshake are refused with 503 and `Retry-After`.
    /// 2. It closes every connection as [`shutdown_close`](Self::shutdown_close) says, after what was
    ///    sent on it before.
    /// 3. It waits until all connections and handlers have ended: at once if there are none, and at
    ///    most for [`shutdown_timeout`](Self::shutdown_timeout).
    /// 4. It cuts the connections that are left and cancels the handlers that still run.
    ///
    /// ```no_run
    /// # async fn echo(_: sockeye::Incoming) -> Result<(), std::io::Error> { Ok(()) }
    /// # async fn example() -> std::io::Result<()> {
    /// let server = sockeye::Server::bind("127.0.0.1:9001").await?;
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// server.run_until(stopped, echo).await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_until<S, H, F, E>(self, shutdown: S, handler: H)
    where
        S: Future,
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        run_until(self, shutdown, Arc::new(handler)).await;
    }
}
