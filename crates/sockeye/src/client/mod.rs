//! The client: from a URL to an open WebSocket.

mod address;
mod connect;
mod connect_queue;
mod error;
#[cfg(feature = "http2")]
pub mod http2;
mod inspect;
mod proxy;
mod redirect;
mod refusal_body;
pub(crate) mod route;
mod target;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::AUTHORIZATION};
use sockeye_proto::{Config, DeflateConfig};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedMutexGuard,
    time::timeout,
};

pub use self::{
    address::Address,
    connect_queue::ConnectQueue,
    error::{AddressError, ConnectError},
    proxy::{Proxy, ProxyError},
    target::Target,
};
use self::{inspect::Inspector, route::Route, target::bearer};
use crate::{
    header::parse_header,
    net::{Direction, alpn::HTTP_11},
    socket::{ByteStream, WebSocket},
};

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
/// When the target is not a WebSocket URL, the server is not reached, or it does not accept.
pub async fn connect<T>(target: T) -> Result<WebSocket, ConnectError>
where
    T: TryInto<Target, Error = AddressError>,
{
    Client::new(target)?.connect().await
}

/// A client with its settings.
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
    /// Why a header cannot be sent.
    wrong_header: Option<String>,
    subprotocols: Vec<String>,
    pub(crate) config: Config,
    deflate: Option<DeflateConfig>,
    pub(crate) timeout: Duration,
    #[cfg(feature = "http2")]
    pub(crate) http2_write_timeout: Duration,
    route: Route,
    redirects: usize,
    connect_queue: Option<ConnectQueue>,
    inspector: Option<Inspector>,
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
    /// When it is not a WebSocket URL.
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
            http2_write_timeout: crate::net::defaults::WRITE_TIMEOUT,
            route: Route::Environment,
            redirects: 0,
            connect_queue: None,
            inspector: None,
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
        match parse_header(name, value) {
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
        self.route = Route::Proxy(Box::new(proxy));
        self
    }

    /// Connects directly to the server, whatever the environment says.
    pub fn no_proxy(mut self) -> Self {
        self.route = Route::Direct;
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
        self.route = Route::Unix(path.into());
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

    /// Makes one connection attempt at a time to each host and port among the clients that share this
    /// [`ConnectQueue`]: the next one begins when this one is open or has failed (RFC 6455 §4.1). The time
    /// in the queue does not count for [`timeout`](Self::timeout). Default: no queue. It has no effect on a
    /// transport that exists already, or is shared.
    pub fn connect_queue(mut self, queue: impl Into<Option<ConnectQueue>>) -> Self {
        self.connect_queue = queue.into();
        self
    }

    /// Calls this with all bytes of the open WebSocket as they are received and as the transport takes
    /// them: frames as they are on the wire, masked and compressed, inside TLS and HTTP/2, without the
    /// handshake. A call holds a part of a frame, or several. For tools and for debugging; it must
    /// not block. Default: nothing is called.
    ///
    /// ```
    /// use sockeye::{Client, Direction};
    ///
    /// let client = Client::new("ws://127.0.0.1:9001/")?.inspect(|direction, bytes| match direction {
    ///     Direction::Sent => println!("> {bytes:02x?}"),
    ///     Direction::Received => println!("< {bytes:02x?}"),
    /// });
    /// # Ok::<(), sockeye::AddressError>(())
    /// ```
    pub fn inspect(mut self, inspect: impl Fn(Direction, &[u8]) + Send + Sync + 'static) -> Self {
        self.inspector = Some(Inspector::new(inspect));
        self
    }

    /// Sets the certificate authorities to trust for `wss://` URLs, and the client certificate. Default: the
    /// authorities that the system trusts, and no certificate.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::ClientTls) -> Self {
        self.tls = tls;
        self
    }

    /// Opens the WebSocket.
    ///
    /// # Errors
    ///
    /// When the server is not reached, does not accept, or takes too long.
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
        let permit = self.wait_in_queue().await;
        timeout(limit, self.attempt(permit)).await.map_err(|_| ConnectError::Timeout(limit))?
    }

    /// Opens the WebSocket over an existing transport to the server. For a `wss://` URL, TLS is already
    /// done on it.
    ///
    /// # Errors
    ///
    /// When the server does not accept, or takes too long.
    pub async fn open_over<T>(self, transport: T) -> Result<Opened, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limit = self.timeout;
        let opening = self.handshake(ByteStream::boxed(transport), None);
        timeout(limit, opening).await.map_err(|_| ConnectError::Timeout(limit))?
    }

    /// Connects to the server as for the WebSocket, through the same proxy and with the same TLS, and sends
    /// nothing: for HTTP/1.1 requests beside a WebSocket, or in its place.
    ///
    /// # Errors
    ///
    /// When the server is not reached, or takes too long.
    pub async fn transport(
        &self,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, ConnectError> {
        let limit = self.timeout;
        let connecting = timeout(limit, self.connect_transport(&[HTTP_11])).await;
        connecting.map_err(|_| ConnectError::Timeout(limit))?.map(|established| established.stream)
    }

    /// As [`transport`](Self::transport), before TLS also for a `wss://` URL: what a program needs that does
    /// the TLS handshake itself, to look at it.
    ///
    /// # Errors
    ///
    /// When the server is not reached, or takes too long.
    pub async fn raw_transport(
        &self,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, ConnectError> {
        let limit = self.timeout;
        let connecting = timeout(limit, self.route.connect(&self.address)).await;
        connecting.map_err(|_| ConnectError::Timeout(limit))?
    }

    /// As [`transport`](Self::transport), to speak HTTP/2 on: for `wss://` as TLS negotiates it (ALPN), for
    /// `ws://` with prior knowledge (RFC 9113 §3.3).
    ///
    /// # Errors
    ///
    /// When the server is not reached, takes too long, or has no HTTP/2
    /// ([`ConnectError::NoExtendedConnect`]).
    #[cfg(feature = "http2")]
    pub async fn http2_transport(
        &self,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, ConnectError> {
        use crate::net::alpn::HTTP_2;

        let limit = self.timeout;
        let connecting = timeout(limit, self.connect_transport(&[HTTP_2])).await;
        let established = connecting.map_err(|_| ConnectError::Timeout(limit))??;
        let is_http2 = established.protocol.as_deref() == Some(HTTP_2);
        match self.address.is_secure() && !is_http2 {
            true => Err(ConnectError::NoExtendedConnect),
            false => Ok(established.stream),
        }
    }

    /// Waits until no other client of the queue connects to the server.
    pub(crate) async fn wait_in_queue(&self) -> Option<OwnedMutexGuard<()>> {
        match &self.connect_queue {
            Some(queue) => Some(queue.enter(&self.address.host(), self.address.port()).await),
            None => None,
        }
    }

    /// The stream of an open WebSocket, shown to what inspects it; `read` is what was read of it already.
    pub(crate) fn inspected(&self, stream: ByteStream, read: &[u8]) -> ByteStream {
        match &self.inspector {
            Some(inspector) => inspector.watch(stream, read),
            None => stream,
        }
    }

    /// Sets the route to the server.
    pub(crate) fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }
}
