//! The client: from a URL to an open WebSocket.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{AUTHORIZATION, Entry},
};
use sockeye_proto::{
    Config, Connection, DeflateConfig,
    handshake::{Accepted, ClientHandshake, ClientRequest},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Address, AddressError, ConnectError, WebSocket, random,
    socket::{Agreed, Io, Shared},
};

/// The name of HTTP/1.1 in ALPN (RFC 7301 §6): what a WebSocket handshake of RFC 6455 is.
pub(crate) const HTTP_11: &[u8] = b"http/1.1";

/// Opens a WebSocket with the default settings.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut socket = sockeye::connect("ws://127.0.0.1:9001/").await?;
/// socket.send("hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When the URL is none of a WebSocket, the server is not reached, or it does not agree.
pub async fn connect(url: &str) -> Result<WebSocket, ConnectError> {
    Client::new(url)?.connect().await
}

/// A client with settings of one's own.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use http::{HeaderValue, header::ORIGIN};
///
/// let socket = sockeye::Client::new("ws://127.0.0.1:8080/c/chat")?
///     .subprotocol("sockeye.v1")
///     .header(ORIGIN, HeaderValue::from_static("http://127.0.0.1:8080"))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) address: Address,
    headers: HeaderMap,
    subprotocols: Vec<String>,
    pub(crate) config: Config,
    deflate: Option<DeflateConfig>,
    pub(crate) timeout: Duration,
    #[cfg(feature = "tls")]
    tls: crate::tls::ClientTls,
}

/// An open WebSocket with the handshake that opened it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The WebSocket.
    pub socket: WebSocket,
    /// The request as it was sent.
    pub request: Bytes,
    /// The response as it was received.
    pub response: Response<()>,
}

impl Client {
    /// A client for this URL: `ws://…` or `wss://…`.
    ///
    /// # Errors
    ///
    /// When it is no URL of a WebSocket.
    pub fn new(url: &str) -> Result<Self, AddressError> {
        Ok(Self {
            address: url.parse()?,
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            config: Config::default(),
            deflate: None,
            timeout: Duration::from_secs(10),
            #[cfg(feature = "tls")]
            tls: crate::tls::ClientTls::new(),
        })
    }

    /// Adds a header to the request, such as `Authorization`, `Cookie` or `Origin`. The headers of
    /// the handshake itself cannot be set.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Offers a subprotocol; the first one offered is the preferred one.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Sets limits and deadlines of the connection.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Offers permessage-deflate (RFC 7692): messages are compressed if the server agrees, which
    /// [`WebSocket::deflate`] tells. Default: not offered.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockeye::{Client, DeflateConfig};
    ///
    /// let client = Client::new("ws://127.0.0.1:9001/")?.deflate(DeflateConfig::default());
    /// let socket = client.connect().await?;
    /// assert!(socket.extensions().starts_with("permessage-deflate"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn deflate(mut self, deflate: impl Into<Option<DeflateConfig>>) -> Self {
        self.deflate = deflate.into();
        self
    }

    /// Sets how long opening may take, from the name's resolution to the server's answer. Default
    /// 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets whom to trust with `wss://` URLs, and who to be. Default: the authorities that the system
    /// trusts, and nobody.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::ClientTls) -> Self {
        self.tls = tls;
        self
    }

    /// Opens the WebSocket.
    ///
    /// # Errors
    ///
    /// When the server is not reached, does not agree, or takes too long.
    pub async fn connect(self) -> Result<WebSocket, ConnectError> {
        Ok(self.open().await?.socket)
    }

    /// Opens the WebSocket, and shows the handshake too.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn open(self) -> Result<Opened, ConnectError> {
        let limit = self.timeout;
        let opening = async {
            let (stream, _) = self.reach(&[HTTP_11]).await?;
            self.handshake(stream).await
        };
        timeout(limit, opening).await.map_err(|_| ConnectError::Timeout(limit))?
    }

    /// Opens the WebSocket over a transport of one's own, which already leads to the server. For a
    /// `wss://` URL it is one that TLS has been made of already.
    ///
    /// # Errors
    ///
    /// When the server does not agree, or takes too long.
    pub async fn open_over<T>(self, transport: T) -> Result<Opened, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limit = self.timeout;
        let opening = self.handshake(Io::boxed(transport));
        timeout(limit, opening).await.map_err(|_| ConnectError::Timeout(limit))?
    }

    /// Connects to the server, to speak one of these protocols; gives which one the server has chosen,
    /// if TLS is spoken and it knows how to choose (ALPN).
    pub(crate) async fn reach(
        &self,
        protocols: &[&[u8]],
    ) -> Result<(Io, Option<Vec<u8>>), ConnectError> {
        let host = (self.address.host(), self.address.port());
        let stream = TcpStream::connect((host.0.as_str(), host.1)).await;
        let stream = stream.map_err(|error| ConnectError::Connect {
            host: format!("{}:{}", host.0, host.1),
            error,
        })?;
        stream.set_nodelay(true)?;
        if self.address.is_secure() {
            self.secure(protocols, stream).await
        } else {
            Ok((Io::Tcp(stream), None))
        }
    }

    /// Makes TLS of a connection that leads to the server.
    async fn secure(
        &self,
        protocols: &[&[u8]],
        stream: TcpStream,
    ) -> Result<(Io, Option<Vec<u8>>), ConnectError> {
        let host = self.address.host();
        #[cfg(feature = "tls")]
        let secured = self.tls.connect(&host, protocols, stream).await.map(|stream| {
            let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            (Io::boxed(stream), protocol)
        });
        #[cfg(not(feature = "tls"))]
        let secured = {
            drop((protocols, stream));
            Err(io::Error::other("this program was built without TLS"))
        };
        secured.map_err(|error| ConnectError::Tls { host, error })
    }

    async fn handshake(&self, mut stream: Io) -> Result<Opened, ConnectError> {
        let mut handshake = ClientHandshake::new(self.request(), random::nonce())?;
        stream.write_all(handshake.request()).await?;
        stream.flush().await?;
        let mut input = BytesMut::new();
        let Accepted { response, subprotocol, deflate, .. } = loop {
            if stream.read_buf(&mut input).await? == 0 {
                return Err(ConnectError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            if let Some(accepted) = handshake.poll_response(&mut input)? {
                break accepted;
            }
        };
        let masks = Box::new(random::mask_key);
        let connection = Connection::client(self.config.clone(), masks, Instant::now());
        let agreed = Agreed { subprotocol, deflate };
        let shared = Shared::new(stream, connection, input, agreed);
        let request = handshake.request().clone();
        Ok(Opened { socket: WebSocket::new(shared), request, response })
    }

    pub(crate) fn request(&self) -> ClientRequest {
        let address = &self.address;
        let mut request = ClientRequest::new(address.authority().clone(), address.target().clone());
        request.headers = self.headers.clone();
        request.subprotocols = self.subprotocols.clone();
        request.deflate = self.deflate.clone();
        // What was set by hand wins over the user name in the URL.
        if let (Entry::Vacant(empty), Some(value)) =
            (request.headers.entry(AUTHORIZATION), address.authorization())
        {
            empty.insert(value);
        }
        request
    }
}
