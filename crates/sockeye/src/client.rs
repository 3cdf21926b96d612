//! The client: from a URL to an open WebSocket.

use std::{io, path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{AUTHORIZATION, COOKIE, Entry, HOST, PROXY_AUTHORIZATION},
};
use sockeye_proto::{
    Config, Connection, DeflateConfig,
    handshake::{Accepted, ClientHandshake, ClientRequest, ResponseError},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::OwnedMutexGuard,
    time::timeout,
};

use crate::{
    Address, AddressError, ConnectError, PeerAddr, Proxy, Turns, WebSocket, random,
    reach::Way,
    redirect::redirect,
    refused::read_body,
    socket::{Agreed, Io, Shared},
    target::{Target, bearer},
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
pub async fn connect<T>(target: T) -> Result<WebSocket, ConnectError>
where
    T: TryInto<Target, Error = AddressError>,
{
    Client::new(target)?.connect().await
}

/// A client with settings of one's own.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let socket = sockeye::Client::new("ws://127.0.0.1:8080/c/chat")?
///     .subprotocols(["sockeye.v1"])
///     .bearer("eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfG_HACGpVUMN_a9IV7pAx_Zmeo")
///     .header("origin", "http://127.0.0.1:8080")
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) address: Address,
    headers: HeaderMap,
    /// Why a header that was to be added is none.
    wrong_header: Option<String>,
    subprotocols: Vec<String>,
    pub(crate) config: Config,
    deflate: Option<DeflateConfig>,
    pub(crate) timeout: Duration,
    #[cfg(feature = "http2")]
    pub(crate) http2_write_timeout: Duration,
    way: Way,
    redirects: usize,
    turns: Option<Turns>,
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

/// A connection that leads to the server.
pub(crate) struct Reached {
    pub(crate) stream: Io,
    /// The protocol that the server has chosen, if TLS is spoken and it knows how to choose (ALPN).
    #[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "there is only HTTP/1.1"))]
    pub(crate) protocol: Option<Vec<u8>>,
    /// Where it leads to first: the proxy, if there is one.
    pub(crate) peer: Option<PeerAddr>,
}

impl Client {
    /// A client for this URL, `ws://…` or `wss://…`, as text or as an [`http::Uri`]; or for a request,
    /// with its headers:
    ///
    /// ```
    /// use http::Request;
    /// use sockeye::Client;
    ///
    /// let request = Request::get("wss://example.org/chat").header("cookie", "session=1").body(())?;
    /// let client = Client::new(request)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When it is no URL of a WebSocket.
    pub fn new<T>(target: T) -> Result<Self, AddressError>
    where
        T: TryInto<Target, Error = AddressError>,
    {
        let Target { address, headers, subprotocols } = target.try_into()?;
        Ok(Self {
            address,
            headers,
            wrong_header: None,
            subprotocols,
            config: Config::default(),
            deflate: None,
            timeout: Duration::from_secs(10),
            #[cfg(feature = "http2")]
            http2_write_timeout: crate::http2::WRITE_TIMEOUT,
            way: Way::Environment,
            redirects: 0,
            turns: None,
            #[cfg(feature = "tls")]
            tls: crate::tls::ClientTls::new(),
        })
    }

    /// Adds a header to the request, such as `Authorization`, `Cookie` or `Origin`. `Host` replaces
    /// the URL's, over HTTP/2 as `:authority`; the name that TLS asks for stays the URL's. The other
    /// headers of the handshake itself cannot be set.
    ///
    /// An invalid one (with a line break in its value, say) is an error when connecting:
    /// [`ConnectError::Header`].
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        let parsed = || {
            let name = name.try_into().map_err(|wrong| wrong.into().to_string())?;
            let value = value.try_into().map_err(|wrong| format!("{name}: {}", wrong.into()))?;
            Ok((name, value))
        };
        match parsed() {
            Ok((name, value)) => _ = self.headers.append(name, value),
            Err(wrong) => _ = self.wrong_header.get_or_insert(wrong),
        }
        self
    }

    /// Authenticates with a bearer token (RFC 6750 §2.1), in place of any other `Authorization`.
    pub fn bearer(mut self, token: impl AsRef<str>) -> Self {
        self.headers.remove(AUTHORIZATION);
        match bearer(token.as_ref()) {
            Ok(value) => self.header(AUTHORIZATION, value),
            Err(wrong) => {
                self.wrong_header.get_or_insert(format!("the bearer token: {wrong}"));
                self
            }
        }
    }

    /// Offers a subprotocol; the first one offered is the preferred one.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Offers these subprotocols, behind those that were offered before; the preferred one first.
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols.extend(names.into_iter().map(Into::into));
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

    /// Sets how long the server may take nothing of what is written to it over HTTP/2 before the stream
    /// is reset. Default 2 minutes. Over HTTP/1.1 this changes nothing.
    #[cfg(feature = "http2")]
    pub fn http2_write_timeout(mut self, timeout: Duration) -> Self {
        self.http2_write_timeout = timeout;
        self
    }

    /// Goes through this proxy. Default: the one that the environment asks for.
    ///
    /// That is for `wss://` URLs the first of `wss_proxy`, `https_proxy` and `all_proxy` that is set,
    /// for `ws://` URLs of `ws_proxy`, `http_proxy` and `all_proxy`; each also in capitals, except
    /// `HTTP_PROXY`, which the clients of a CGI program could set. Set but empty means none.
    /// `no_proxy` or `NO_PROXY` lists exceptions, separated by commas: hosts, which stand for their
    /// subdomains too; IP addresses and blocks of them (`10.0.0.0/8`); each with a port or without;
    /// or `*`. The loopback of this machine is always one.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.way = Way::Proxy(Box::new(proxy));
        self
    }

    /// Goes straight to the server, whatever the environment says.
    pub fn no_proxy(mut self) -> Self {
        self.way = Way::Straight;
        self
    }

    /// Connects to the Unix socket at this path, instead of the URL's host and port, which are only
    /// told to the server.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = sockeye::Client::new("ws://localhost/c/chat")?.unix_socket("/run/sockeye.sock");
    /// let socket = client.connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.way = Way::Unix(path.into());
        self
    }

    /// Follows up to this many redirects (RFC 9110 §15.4). Default: none, as browsers do.
    ///
    /// To another scheme, host or port go neither `Authorization`, `Cookie`, `Host`, the URL's user name nor
    /// the client certificate that [`tls`](Self::tls) names; other headers do. From `wss://` to
    /// `ws://` no redirect is followed.
    pub fn follow_redirects(mut self, limit: usize) -> Self {
        self.redirects = limit;
        self
    }

    /// Waits for its turn before it connects: one attempt at a time to each host and port among those
    /// that share the [`Turns`], until it is open or has failed (RFC 6455 §4.1). The time for opening
    /// begins then. Default: waits for nobody. It means nothing where the transport is there already,
    /// or shared.
    pub fn turns(mut self, turns: impl Into<Option<Turns>>) -> Self {
        self.turns = turns.into();
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
    pub async fn open(mut self) -> Result<Opened, ConnectError> {
        let limit = self.timeout;
        let mut turn = self.take_turn().await;
        let opening = async {
            loop {
                let Reached { stream, peer, .. } = self.reach(&[HTTP_11]).await?;
                match self.handshake(stream, peer).await {
                    Err(ConnectError::Response(ResponseError::Status(response)))
                        if self.redirects > 0 =>
                    {
                        self.redirect(response)?;
                        drop(turn.take());
                        turn = self.take_turn().await;
                    }
                    opened => return opened,
                }
            }
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
        let opening = self.handshake(Io::boxed(transport), None);
        timeout(limit, opening).await.map_err(|_| ConnectError::Timeout(limit))?
    }

    /// Connects to the server as the WebSocket would be, by the same proxy and with the same TLS, and
    /// says nothing yet: for requests of HTTP/1.1 that go beside a WebSocket, or in its place.
    ///
    /// # Errors
    ///
    /// When the server is not reached, or takes too long.
    pub async fn transport(
        &self,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, ConnectError> {
        let limit = self.timeout;
        let reaching = timeout(limit, self.reach(&[HTTP_11])).await;
        reaching.map_err(|_| ConnectError::Timeout(limit))?.map(|reached| reached.stream)
    }

    /// Waits until nobody else connects to the server, as far as it takes turns.
    pub(crate) async fn take_turn(&self) -> Option<OwnedMutexGuard<()>> {
        match &self.turns {
            Some(turns) => Some(turns.take(&self.address.host(), self.address.port()).await),
            None => None,
        }
    }

    /// Sets the way to the server.
    pub(crate) fn way(mut self, way: Way) -> Self {
        self.way = way;
        self
    }

    /// Connects to the server, to speak one of these protocols.
    pub(crate) async fn reach(&self, protocols: &[&[u8]]) -> Result<Reached, ConnectError> {
        let stream = self.way.reach(&self.address).await?;
        let peer = match &self.way {
            Way::Unix(_) => Some(PeerAddr::Unix),
            _ => stream.peer_addr(),
        };
        let (stream, protocol) = match self.address.is_secure() {
            true => self.secure(protocols, stream).await?,
            false => (stream, None),
        };
        Ok(Reached { stream, protocol, peer })
    }

    /// Makes TLS of a connection that leads to the server.
    async fn secure(
        &self,
        protocols: &[&[u8]],
        stream: Io,
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
            let without = "this program was built without TLS";
            Err(io::Error::new(io::ErrorKind::Unsupported, without))
        };
        secured.map_err(|error| ConnectError::Tls { host, error })
    }

    /// Turns to where the response points; an error if that is nowhere.
    fn redirect(&mut self, response: Box<Response<Bytes>>) -> Result<(), ConnectError> {
        let Some(redirect) = redirect(&self.address, &response)? else {
            return Err(ResponseError::Status(response).into());
        };
        self.redirects -= 1;
        self.address = redirect.address;
        if !redirect.same_origin {
            for own in [AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION] {
                self.headers.remove(own);
            }
            #[cfg(feature = "tls")]
            self.tls.forget_identity();
        }
        Ok(())
    }

    async fn handshake(
        &self,
        mut stream: Io,
        peer: Option<PeerAddr>,
    ) -> Result<Opened, ConnectError> {
        let mut handshake = ClientHandshake::new(self.request()?, random::nonce())?;
        stream.write_all(handshake.request()).await?;
        stream.flush().await?;
        let mut input = BytesMut::new();
        let Accepted { response, subprotocol, deflate, .. } = loop {
            if stream.read_buf(&mut input).await? == 0 {
                return Err(ConnectError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            match handshake.poll_response(&mut input) {
                Ok(None) => {}
                Ok(Some(accepted)) => break accepted,
                Err(ResponseError::Status(response)) => {
                    return Err(self.refused(stream, input, response).await);
                }
                Err(error) => return Err(error.into()),
            }
        };
        let masks = Box::new(random::mask_key);
        let connection = Connection::client(self.config.clone(), masks, Duration::ZERO);
        let agreed = Agreed { subprotocol, deflate, peer };
        let shared = Shared::new(stream, connection, input, agreed);
        let request = handshake.request().clone();
        Ok(Opened { socket: WebSocket::new(shared), request, response })
    }

    /// The error of an answer that refuses, with what the server says to it.
    async fn refused(
        &self,
        mut stream: Io,
        input: BytesMut,
        mut response: Box<Response<Bytes>>,
    ) -> ConnectError {
        if self.redirects == 0 || !response.status().is_redirection() {
            *response.body_mut() = read_body(&mut stream, input, &response).await;
        }
        ResponseError::Status(response).into()
    }

    pub(crate) fn request(&self) -> Result<ClientRequest, ConnectError> {
        if let Some(wrong) = &self.wrong_header {
            return Err(ConnectError::Header(wrong.clone()));
        }
        let address = &self.address;
        let mut request = ClientRequest::new(address.authority().clone(), address.target().clone());
        request.headers = self.headers.clone();
        request.subprotocols = self.subprotocols.clone();
        request.deflate = self.deflate.clone();
        if let Some(host) = self.headers.get(HOST)
            && let Ok(host) = host.as_bytes().try_into()
        {
            request.host = host;
            request.headers.remove(HOST);
        }
        // What was set by hand wins over the user name in the URL.
        if let (Entry::Vacant(empty), Some(value)) =
            (request.headers.entry(AUTHORIZATION), address.authorization())
        {
            empty.insert(value);
        }
        Ok(request)
    }
}
