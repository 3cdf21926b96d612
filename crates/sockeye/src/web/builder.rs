//! What a page gives a socket without being asked: its address, its origin, its cookies.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, ORIGIN},
};
use sockeye_proto::{Config, DeflateConfig};
use url::Url;

use super::{
    CookieJar, DomException, Protocols, WebSocket,
    cookies::Cookies,
    mixed,
    opening::{Opening, check_protocols, parse_url},
};
use crate::{Address, ConnectQueue, Proxy, client::route::Route};

/// How long opening may take: browsers are patient.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// How many bytes may wait to be sent.
const MAX_BUFFERED: u64 = 256 << 20;

/// Settings for sockets, as a page has them; see [`WebSocket::builder`]. It may open any number.
///
/// ```no_run
/// # async fn example() -> Result<(), sockeye::web::DomException> {
/// use sockeye::web::WebSocket;
///
/// let page = WebSocket::builder().base_url("https://example.org/chat/")?;
/// let socket = page.open("live", "chat")?;
/// assert_eq!(socket.url(), "wss://example.org/chat/live");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    base: Option<Url>,
    headers: HeaderMap,
    cookies: Cookies,
    config: Config,
    timeout: Duration,
    connect_queue: Option<ConnectQueue>,
    deflate: Option<DeflateConfig>,
    max_buffered: u64,
    route: Route,
    #[cfg(feature = "http2")]
    http2: Vec<crate::http2::Connection>,
    #[cfg(feature = "tls")]
    tls: crate::tls::ClientTls,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            base: None,
            headers: HeaderMap::new(),
            cookies: Cookies::default(),
            config: Config::default(),
            timeout: OPEN_TIMEOUT,
            connect_queue: Some(ConnectQueue::process_wide()),
            deflate: Some(page_offer()),
            max_buffered: MAX_BUFFERED,
            route: Route::Environment,
            #[cfg(feature = "http2")]
            http2: Vec::new(),
            #[cfg(feature = "tls")]
            tls: crate::tls::ClientTls::new(),
        }
    }
}

impl Builder {
    /// Sets the address of the page: relative URLs are relative to it, and its origin is sent, unless
    /// another one [is set](Self::origin). A page of `https:` opens no WebSocket of `ws:` (that is an
    /// `error` and a `close` with 1006), save to the loopback of this machine (Mixed Content §4.3).
    /// Default none.
    ///
    /// # Errors
    ///
    /// `SyntaxError` when it is not an absolute URL.
    pub fn base_url(mut self, url: &str) -> Result<Self, DomException> {
        let base = Url::parse(url)
            .map_err(|error| DomException::Syntax(format!("{url:?} is not a URL: {error}")))?;
        self.base = Some(base);
        Ok(self)
    }

    /// Sets the `Origin` that is sent (RFC 6454). Default that of [`base_url`](Self::base_url), or
    /// none.
    pub fn origin(mut self, origin: HeaderValue) -> Self {
        self.headers.insert(ORIGIN, origin);
        self
    }

    /// Takes the cookies of each request from this jar, and puts those in that servers set. Default none.
    ///
    /// ```
    /// use std::{
    ///     collections::BTreeSet,
    ///     sync::{Arc, Mutex},
    /// };
    ///
    /// use http::HeaderValue;
    /// use sockeye::web::{CookieJar, WebSocket};
    ///
    /// /// Keeps the cookies of one server, for ever.
    /// #[derive(Default)]
    /// struct Jar(Mutex<BTreeSet<String>>);
    ///
    /// impl CookieJar for Jar {
    ///     fn cookies(&self, _url: &str) -> Option<HeaderValue> {
    ///         let pairs: Vec<_> = self.0.lock().ok()?.iter().cloned().collect();
    ///         HeaderValue::try_from(pairs.join("; ")).ok().filter(|cookies| !cookies.is_empty())
    ///     }
    ///
    ///     fn set_cookie(&self, _url: &str, header: &HeaderValue) {
    ///         let pair = header.to_str().ok().and_then(|text| text.split(';').next());
    ///         if let (Some(pair), Ok(mut pairs)) = (pair, self.0.lock()) {
    ///             pairs.insert(pair.to_owned());
    ///         }
    ///     }
    /// }
    ///
    /// let page = WebSocket::builder().cookie_jar(Arc::new(Jar::default()));
    /// ```
    pub fn cookie_jar(mut self, jar: Arc<dyn CookieJar>) -> Self {
        self.cookies = Cookies::new(jar);
        self
    }

    /// Sets the `Cookie` header; what a [jar](Self::cookie_jar) has comes behind it. Default none.
    pub fn cookie(mut self, cookie: HeaderValue) -> Self {
        self.headers.insert(COOKIE, cookie);
        self
    }

    /// Adds any other header, which a page could not. Those of the handshake itself cannot be set:
    /// then opening fails.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets limits and deadlines of the connection. Default: those of [`Config`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets how long opening may take, once it is the socket's turn. Default 60 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the queue that limits sockets to one connection attempt at a time per server; `None` for no
    /// limit (against RFC 6455 §4.1). Default [`ConnectQueue::process_wide`].
    pub fn connect_queue(mut self, queue: impl Into<Option<ConnectQueue>>) -> Self {
        self.connect_queue = queue.into();
        self
    }

    /// Sets how permessage-deflate (RFC 7692) is offered; `None` not to. Default as browsers do:
    /// `permessage-deflate; client_max_window_bits`, which leaves everything to the server.
    pub fn deflate(mut self, deflate: impl Into<Option<DeflateConfig>>) -> Self {
        self.deflate = deflate.into();
        self
    }

    /// Sets the certificate authorities to trust for `wss:` URLs, and the client certificate; as
    /// [`Client::tls`](crate::Client::tls).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::ClientTls) -> Self {
        self.tls = tls;
        self
    }

    /// Goes through this proxy. Default: the one that the environment asks for; see
    /// [`Client::proxy`](crate::Client::proxy).
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.route = Route::Proxy(Box::new(proxy));
        self
    }

    /// Connects directly to the server, whatever the environment says.
    pub fn no_proxy(mut self) -> Self {
        self.route = Route::Direct;
        self
    }

    /// Opens sockets on this HTTP/2 connection (RFC 8441), as a browser does with one that it has to the
    /// origin: those to the scheme, host and port that it was connected to, as long as it lasts. All
    /// others have connections of their own, with HTTP/1.1. May be called for several connections; one
    /// [over](crate::http2::Connection::over) an existing transport serves every address. Default none.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockeye::{Client, http2::Connection, web::WebSocket};
    ///
    /// // With HTTP/1.1 where the server, or TLS, has no HTTP/2.
    /// let client = Client::new("wss://example.org/")?;
    /// let page = WebSocket::builder().http2(Connection::negotiate(&client).await?);
    /// let sockets = [page.open("wss://example.org/a", ())?, page.open("wss://example.org/b", ())?];
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "http2")]
    pub fn http2(mut self, connection: crate::http2::Connection) -> Self {
        self.http2.push(connection);
        self
    }

    /// Sets how many bytes may wait to be sent; a `send` that goes beyond fails the connection, as
    /// the standard wants it. Default 256 MiB.
    pub fn max_buffered_amount(mut self, bytes: u64) -> Self {
        self.max_buffered = bytes;
        self
    }

    /// Opens a socket with these settings; as [`WebSocket::new`].
    ///
    /// # Errors
    ///
    /// `SyntaxError` when the URL or a subprotocol is invalid.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(&self, url: &str, protocols: impl Protocols) -> Result<WebSocket, DomException> {
        self.open_with(url, protocols, |_| {})
    }

    /// Opens a socket with these settings, with listeners that hear everything; as
    /// [`WebSocket::new_with`].
    ///
    /// # Errors
    ///
    /// `SyntaxError` when the URL or a subprotocol is invalid.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open_with(
        &self,
        url: &str,
        protocols: impl Protocols,
        listen: impl FnOnce(&WebSocket),
    ) -> Result<WebSocket, DomException> {
        let opening = self.opening(parse_url(url, self.base.as_ref())?, protocols)?;
        Ok(WebSocket::start(opening, self.max_buffered, listen))
    }

    pub(super) fn base(&self) -> Option<&Url> {
        self.base.as_ref()
    }

    pub(super) fn opening(
        &self,
        address: Address,
        protocols: impl Protocols,
    ) -> Result<Opening, DomException> {
        let protocols = protocols.into_list();
        check_protocols(&protocols)?;
        let mut headers = self.headers.clone();
        if !headers.contains_key(ORIGIN)
            && let Some(origin) = self.base.as_ref().and_then(page_origin)
        {
            headers.insert(ORIGIN, origin);
        }
        Ok(Opening {
            is_allowed: mixed::is_allowed(self.base.as_ref(), &address),
            address,
            protocols,
            headers,
            cookies: self.cookies.clone(),
            config: self.config.clone(),
            timeout: self.timeout,
            connect_queue: self.connect_queue.clone(),
            deflate: self.deflate.clone(),
            route: self.route.clone(),
            #[cfg(feature = "http2")]
            http2: self.http2.clone(),
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
        })
    }
}

/// What browsers offer: all is left to the server.
fn page_offer() -> DeflateConfig {
    DeflateConfig::default().server_takeover(true).client_takeover(true)
}

/// The origin of a page at this address; pages are fetched over HTTP.
fn page_origin(base: &Url) -> Option<HeaderValue> {
    let mut base = base.clone();
    match base.scheme() {
        "ws" => base.set_scheme("http").ok()?,
        "wss" => base.set_scheme("https").ok()?,
        _ => {}
    }
    HeaderValue::from_str(&base.origin().ascii_serialization()).ok()
}
