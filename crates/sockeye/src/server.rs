//! A WebSocket server for a program of its own: bind, accept, handle.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use sockeye_proto::{
    Config, Connection, DeflateConfig,
    handshake::{HeadLimits, Offer, Refusal, ServerHandshake, encode_response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time::{sleep, timeout, timeout_at},
};

use crate::{
    AcceptError, WebSocket,
    origin::Origins,
    socket::{Agreed, Io, Shared},
};

/// How long a refused client may take to read its answer.
const REFUSAL_LINGER: Duration = Duration::from_secs(2);
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    settings: Settings,
}

#[derive(Debug, Clone)]
struct Settings {
    config: Arc<Config>,
    deflate: Option<DeflateConfig>,
    limits: HeadLimits,
    origins: Origins,
    handshake_timeout: Duration,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::ServerTls>,
}

impl Server {
    /// Listens on an address; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// When the address is not one of this machine, or taken.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self::from_listener(TcpListener::bind(address).await?))
    }

    /// Serves what a listener of one's own accepts.
    pub fn from_listener(listener: TcpListener) -> Self {
        let settings = Settings {
            config: Arc::default(),
            deflate: None,
            limits: HeadLimits::default(),
            origins: Origins::default(),
            handshake_timeout: Duration::from_secs(10),
            #[cfg(feature = "tls")]
            tls: None,
        };
        Self { listener, settings }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
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
        self.settings.limits = limits;
        self
    }

    /// Sets which pages may connect. Default: those of the server's own origin.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.settings.origins = origins;
        self
    }

    /// Serves `wss://` with this certificate, instead of `ws://`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::ServerTls) -> Self {
        self.settings.tls = Some(tls);
        self
    }

    /// Sets how long a client may take to send its request: from the connection's beginning, with
    /// TLS, whatever it sends. Default 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
        self
    }

    /// Accepts connections for ever, each handled in a task of its own. What the handler returns as
    /// an error is logged (`tracing`, level debug).
    ///
    /// Dropping this future stops accepting; connections that are open go on.
    pub async fn run<H, F, E>(self, handler: H)
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send,
    {
        let handler = Arc::new(handler);
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // A client that is gone already, or no more file descriptors: wait, go on.
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Without it small messages wait for acknowledgements; nothing breaks if it fails.
            let _ = stream.set_nodelay(true);
            let (handler, settings) = (handler.clone(), self.settings.clone());
            tokio::spawn(async move {
                // Boxed, so that the task shrinks to its handler when the handshake is done.
                let Some(incoming) = Box::pin(receive(stream, peer, settings)).await else {
                    return;
                };
                if let Err(error) = handler(incoming).await {
                    tracing::debug!(%peer, "{error}");
                }
            });
        }
    }
}

/// Reads and checks the request. `None` if it was refused, or never came.
async fn receive(stream: TcpStream, peer: SocketAddr, settings: Settings) -> Option<Incoming> {
    let deadline = tokio::time::Instant::now() + settings.handshake_timeout;
    let mut stream = match timeout_at(deadline, secure(stream, &settings)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, "the TLS handshake failed: {error}");
            return None;
        }
        Err(_) => return None,
    };
    let mut handshake = ServerHandshake::new(settings.limits);
    let mut input = BytesMut::new();
    let reading = async {
        loop {
            if let Some(request) = handshake.poll_request(&mut input)? {
                return Ok(Some(request));
            }
            if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
                return Ok(None);
            }
        }
    };
    let request = match timeout_at(deadline, reading).await {
        Ok(request) => request,
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long")),
    };
    let checked = request.and_then(|request| {
        let Some(request) = request else { return Ok(None) };
        let offer = Offer::from_request(&request)?;
        settings.origins.check(&request)?;
        Ok(Some((request, offer)))
    });
    match checked {
        Ok(None) => None,
        Ok(Some((request, offer))) => Some(Incoming(Box::new(Waiting {
            stream,
            input,
            request,
            offer,
            peer,
            config: settings.config,
            deflate: settings.deflate,
            subprotocol: None,
            headers: HeaderMap::new(),
        }))),
        Err(refusal) => {
            tracing::debug!(%peer, "refused with {}: {}", refusal.status(), refusal.text());
            refuse(stream, &refusal).await;
            None
        }
    }
}

/// Makes TLS of a connection, if that is what is served here.
async fn secure(stream: TcpStream, settings: &Settings) -> io::Result<Io> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &settings.tls {
        return Ok(Io::boxed(tls.accept(stream).await?));
    }
    Ok(Io::Tcp(stream))
}

/// Sends the answer and ends the connection. What still comes is read and thrown away for a while: to
/// close at once would reset the connection, and the answer might never be seen.
async fn refuse(mut stream: Io, refusal: &Refusal) {
    let answer = async {
        stream.write_all(&refusal.encode()).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // A client that does not wait for its answer does not need it.
    let _ = timeout(REFUSAL_LINGER, answer).await;
}

/// A client that asks for a WebSocket: look at the request, then accept or refuse.
///
/// Dropped without an answer, the connection is closed.
#[derive(Debug)]
pub struct Incoming(Box<Waiting>);

#[derive(Debug)]
struct Waiting {
    stream: Io,
    input: BytesMut,
    request: Request<()>,
    offer: Offer,
    peer: SocketAddr,
    config: Arc<Config>,
    deflate: Option<DeflateConfig>,
    subprotocol: Option<String>,
    headers: HeaderMap,
}

impl Incoming {
    /// The request as it came.
    pub fn request(&self) -> &Request<()> {
        &self.0.request
    }

    /// The path that it asks for, without the query.
    pub fn path(&self) -> &str {
        self.0.request.uri().path()
    }

    /// Its header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.0.request.headers()
    }

    /// The subprotocols that it offers, the preferred one first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.0.offer.subprotocols()
    }

    /// Where the connection comes from.
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer
    }

    /// Chooses a subprotocol, one of those offered.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.0.subprotocol = Some(name.into());
        self
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// Sets limits and deadlines of this connection.
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.0.config = config.into();
        self
    }

    /// Sets whether permessage-deflate is agreed to on this connection, and how; `None` declines it.
    pub fn deflate(mut self, deflate: impl Into<Option<DeflateConfig>>) -> Self {
        self.0.deflate = deflate.into();
        self
    }

    /// Opens the WebSocket.
    ///
    /// # Errors
    ///
    /// When the client went away, the subprotocol chosen was not offered, or a header is one of the
    /// handshake's own.
    pub async fn accept(self) -> Result<WebSocket, AcceptError> {
        let Waiting { mut stream, input, mut offer, config, subprotocol, headers, .. } = *self.0;
        let deflate = self.0.deflate.and_then(|deflate| offer.agree_deflate(&deflate));
        let response = offer.accept(subprotocol.as_deref(), headers)?;
        stream.write_all(&encode_response(&response.map(|()| ""))).await?;
        stream.flush().await?;
        let connection = Connection::server(config, Instant::now());
        let agreed = Agreed { subprotocol, deflate };
        Ok(WebSocket::new(Shared::new(stream, connection, input, agreed)))
    }

    /// Answers with an HTTP error and a line of text, and closes the connection.
    pub async fn refuse(self, status: StatusCode, text: &str) {
        self.refuse_with(Refusal::new(status, text)).await;
    }

    /// Answers with a refusal of one's own, and closes the connection.
    pub async fn refuse_with(self, refusal: Refusal) {
        refuse(self.0.stream, &refusal).await;
    }
}
