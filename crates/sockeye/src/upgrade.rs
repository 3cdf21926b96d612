//! WebSockets inside a program that already speaks HTTP: any server made with hyper, so axum too.

use std::time::Instant;

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use hyper_util::rt::TokioIo;
use sockeye_proto::{
    Config, Connection, DeflateConfig,
    handshake::{Offer, Refusal},
};
use tokio::net::TcpStream;

use crate::{
    AcceptError, WebSocket,
    socket::{Agreed, Io, Shared},
};

/// A request that asks for a WebSocket and may be granted one.
///
/// ```no_run
/// use http::{Request, Response};
/// use hyper::body::Incoming;
///
/// async fn handle(mut request: Request<Incoming>) -> Response<String> {
///     let upgrade = match sockeye::Upgrade::new(&mut request) {
///         Ok(upgrade) => upgrade,
///         Err(refusal) => return refusal.into(),
///     };
///     let Ok((response, opening)) = upgrade.accept() else { unreachable!("nothing was chosen") };
///     tokio::spawn(async move {
///         let mut socket = opening.open().await?;
///         while let Some(message) = socket.recv().await {
///             socket.send(message?).await?;
///         }
///         Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
///     });
///     response.map(|()| String::new())
/// }
/// ```
#[derive(Debug)]
pub struct Upgrade {
    offer: Offer,
    on_upgrade: hyper::upgrade::OnUpgrade,
    subprotocol: Option<String>,
    headers: HeaderMap,
    config: Config,
    deflate: Option<DeflateConfig>,
}

impl Upgrade {
    /// Checks the request (RFC 6455 §4.2.1). Its origin is the caller's to check: a browser sends
    /// cookies with requests of any page.
    ///
    /// # Errors
    ///
    /// The answer to give, with its status and headers, when the request is not one for a WebSocket.
    pub fn new<B>(request: &mut Request<B>) -> Result<Self, Refusal> {
        Ok(Self {
            offer: Offer::from_request(request)?,
            on_upgrade: hyper::upgrade::on(request),
            subprotocol: None,
            headers: HeaderMap::new(),
            config: Config::default(),
            deflate: None,
        })
    }

    /// The subprotocols that the client offers, the preferred one first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.offer.subprotocols()
    }

    /// Chooses a subprotocol, one of those offered.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets limits and deadlines of the connection.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Agrees to permessage-deflate (RFC 7692) if the client offers it in a way that fits: messages are
    /// compressed both ways. Default: declined.
    pub fn deflate(mut self, deflate: impl Into<Option<DeflateConfig>>) -> Self {
        self.deflate = deflate.into();
        self
    }

    /// The answer to give, and what becomes the WebSocket once it is given: await that in a task of
    /// its own, not before the answer is returned.
    ///
    /// # Errors
    ///
    /// When the subprotocol chosen was not offered, or a header is one of the handshake's own.
    pub fn accept(mut self) -> Result<(Response<()>, Opening), AcceptError> {
        let deflate = self.deflate.and_then(|deflate| self.offer.agree_deflate(&deflate));
        let response = self.offer.accept(self.subprotocol.as_deref(), self.headers)?;
        let Self { on_upgrade, subprotocol, config, .. } = self;
        let agreed = Agreed { subprotocol, deflate };
        Ok((response, Opening { on_upgrade, agreed, config }))
    }
}

/// A WebSocket whose handshake is being answered.
#[derive(Debug)]
pub struct Opening {
    on_upgrade: hyper::upgrade::OnUpgrade,
    agreed: Agreed,
    config: Config,
}

impl Opening {
    /// The WebSocket, once the answer is written.
    ///
    /// The socket is taken out of the HTTP server, so that nothing of that stays in memory.
    ///
    /// # Errors
    ///
    /// When the client went away, or the answer was not given.
    pub async fn open(self) -> Result<WebSocket, AcceptError> {
        let upgraded = self.on_upgrade.await?;
        let (io, input) = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Io::Tcp(parts.io.into_inner()), BytesMut::from(parts.read_buf)),
            Err(upgraded) => (Io::boxed(TokioIo::new(upgraded)), BytesMut::new()),
        };
        let connection = Connection::server(self.config, Instant::now());
        Ok(WebSocket::new(Shared::new(io, connection, input, self.agreed)))
    }
}
