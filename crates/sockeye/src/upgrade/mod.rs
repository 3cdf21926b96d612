//! WebSockets inside a program that already speaks HTTP: any server made with hyper, so axum too.

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "tower")]
mod tower;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{HOST, ORIGIN},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sockeye_proto::{
    Config, Connection, DeflateConfig,
    handshake::{Offer, Refusal},
};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

#[cfg(feature = "tower")]
pub use self::tower::UpgradeService;
use crate::{
    AcceptError, Connections, Origins, PeerAddr, WebSocket,
    connections::Joining,
    request::{Headers, first_offered, log_refusal, origin::Page, retry_later},
    socket::{Agreed, ByteStream, Shared, poll_handler},
};

/// The `Retry-After` while the server stops.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A request for a WebSocket that can be accepted.
///
/// ```no_run
/// use http::{Request, Response};
/// use hyper::body::Incoming;
/// use sockeye::{Upgrade, WebSocket};
///
/// async fn handle(mut request: Request<Incoming>) -> Response<String> {
///     match Upgrade::new(&mut request) {
///         Ok(upgrade) => upgrade.on_upgrade(echo),
///         Err(refusal) => refusal.into(),
///     }
/// }
///
/// async fn echo(mut socket: WebSocket) {
///     while let Some(Ok(message)) = socket.recv().await {
///         if socket.send(message).await.is_err() {
///             return;
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Upgrade {
    offer: Offer,
    page: Option<Page>,
    /// The page and the host, for the log.
    asked: Request<()>,
    origins: Origins,
    on_upgrade: hyper::upgrade::OnUpgrade,
    #[cfg(feature = "http2")]
    is_http2: bool,
    #[cfg(feature = "http2")]
    write_timeout: Duration,
    subprotocol: Option<String>,
    headers: Headers,
    config: Arc<Config>,
    deflate: Option<DeflateConfig>,
    joining: Option<Joining>,
    /// To join the set in the request's extensions.
    tracked: Option<Joining>,
}

impl Upgrade {
    /// Checks the request (RFC 6455 §4.2.1; over HTTP/2, RFC 8441 §5), whatever its body's type. Whether
    /// its page may connect is checked by [`accept`](Self::accept), as [`origins`](Self::origins) says.
    ///
    /// # Handlers at shutdown
    ///
    /// Where the request's extensions hold a [`Connections`], the WebSocket joins that set when it is open, as
    /// by [`join`](Self::join), and the set's [shutdown](Connections::shutdown) waits for the handler of
    /// [`on_upgrade`](Self::on_upgrade). So a server tracks the handlers of all its routes in one place; in axum:
    ///
    #[cfg_attr(feature = "axum", doc = "```")]
    #[cfg_attr(not(feature = "axum"), doc = "```ignore")]
    /// use axum::{Extension, Router, response::Response, routing::any};
    /// use sockeye::{Connections, Upgrade, WebSocket};
    ///
    /// async fn chat(socket: WebSocket) { /* … */ }
    ///
    /// async fn enter(upgrade: Upgrade) -> Response {
    ///     upgrade.on_upgrade(chat)
    /// }
    ///
    /// let open: Connections = Connections::new();
    /// let app: Router = Router::new().route("/chat", any(enter)).layer(Extension(open.clone()));
    /// // When the server stops: open.shutdown(CloseCode::GOING_AWAY, within).await
    /// ```
    ///
    /// # Errors
    ///
    /// The answer to give, with its status and headers, when the request is not one for a WebSocket.
    /// It says `Connection: close`: what follows the request must not be taken for another one.
    pub fn new<B>(request: &mut Request<B>) -> Result<Self, Refusal> {
        Ok(Self {
            offer: offer(request).inspect_err(|refusal| log_refusal(request, None, refusal))?,
            page: Page::of(request),
            asked: asked(request),
            origins: Origins::default(),
            #[cfg(feature = "http2")]
            is_http2: request.version() == http::Version::HTTP_2,
            #[cfg(feature = "http2")]
            write_timeout: crate::net::defaults::WRITE_TIMEOUT,
            on_upgrade: hyper::upgrade::on(&mut *request),
            subprotocol: None,
            headers: Headers::default(),
            config: Arc::default(),
            deflate: None,
            joining: None,
            tracked: request.extensions().get::<Connections>().map(|set| set.joining(())),
        })
    }

    /// Sets which pages may connect. Default: those of the host and port that the request goes to.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
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

    /// Chooses the first of these subprotocols that the client offers; none if it offers none of
    /// them.
    pub fn subprotocol_of<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.subprotocol = first_offered(&self.offer, names);
        self
    }

    /// The subprotocol chosen so far.
    pub fn chosen_subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Adds a header to the answer. With an invalid one the answer is 500.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.headers.append(name, value);
        self
    }

    /// Sets limits and deadlines of the connection.
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
        self
    }

    /// Agrees to permessage-deflate (RFC 7692) if the client offers it in a way that fits: messages are
    /// compressed both ways. Default: declined.
    pub fn deflate(mut self, deflate: impl Into<Option<DeflateConfig>>) -> Self {
        self.deflate = deflate.into();
        self
    }

    /// Has the WebSocket join this set when it is open, with what is to be known of it. The set's
    /// [shutdown](Connections::shutdown) then waits for the handler of [`on_upgrade`](Self::on_upgrade) too,
    /// and ends it where it does not end; once that has begun, requests are refused with 503.
    ///
    /// ```no_run
    /// use sockeye::{Connections, Upgrade, WebSocket};
    ///
    /// async fn chat(socket: WebSocket) { /* … */ }
    ///
    /// fn enter(upgrade: Upgrade, members: &Connections<String>, name: String) -> http::Response<String> {
    ///     upgrade.join(members, name).on_upgrade(chat)
    /// }
    /// ```
    pub fn join<T: Send + 'static>(mut self, set: &Connections<T>, data: T) -> Self {
        self.joining = Some(set.joining(data));
        self
    }

    /// Sets how long a client may take nothing of what is written to it over HTTP/2 before the stream is
    /// given up. Default 2 minutes. Reading slowly is no reason; over HTTP/1.1 this changes nothing.
    ///
    /// What hyper has taken by then, 32 KiB at most, it keeps until the connection ends.
    #[cfg(feature = "http2")]
    pub fn http2_write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// The answer to give, and what becomes the WebSocket once it is given: await that in a task of
    /// its own, not before the answer is returned.
    ///
    /// # Errors
    ///
    /// The answer to give instead: 403 if the request's page may not connect; 500 if the subprotocol
    /// chosen was not offered, or a header is invalid or one of the handshake's own.
    pub fn accept(mut self) -> Result<(Response<()>, Opening), Refusal> {
        let checked = self.origins.check(self.page.as_ref());
        let is_closing = self.joining.iter().chain(&self.tracked).any(Joining::is_closing);
        let checked = checked.and_then(|()| match is_closing {
            true => {
                let text = "the server is stopping";
                Err(retry_later(StatusCode::SERVICE_UNAVAILABLE, text, RETRY_AFTER))
            }
            false => Ok(()),
        });
        checked.inspect_err(|refusal| log_refusal(&self.asked, None, refusal))?;
        let deflate = self.deflate.and_then(|deflate| self.offer.agree_deflate(&deflate));
        let response = self.headers.accept(&self.offer, self.subprotocol.as_deref());
        let response = response.map_err(|wrong| {
            let text = format!("cannot accept: {wrong}");
            let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text);
            log_refusal(&self.asked, None, &refusal);
            refusal
        })?;
        let opening = Opening {
            on_upgrade: self.on_upgrade,
            agreed: Agreed { subprotocol: self.subprotocol, deflate, peer: None },
            #[cfg(feature = "http2")]
            is_http2: self.is_http2,
            #[cfg(feature = "http2")]
            write_timeout: self.write_timeout,
            config: self.config,
            joining: self.joining,
            tracked: self.tracked,
        };
        Ok((response, opening))
    }

    /// The answer to give; once it is given, `handler` has the WebSocket in a task of its own. If the
    /// WebSocket may not be opened, the answer says so, as the error of [`accept`](Self::accept).
    ///
    /// No HTTP server knows of that task. Where the WebSocket joins a set, by [`join`](Self::join) or by the
    /// request's [extensions](Self::new), the set's shutdown waits for it.
    ///
    /// The body's type is the server's: `String`, `Full<Bytes>`, or that of axum.
    pub fn on_upgrade<B, H, F>(self, handler: H) -> Response<B>
    where
        B: From<String>,
        H: FnOnce(WebSocket) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (response, opening) = match self.accept() {
            Ok(accepted) => accepted,
            Err(refusal) => return Response::from(refusal).map(B::from),
        };
        let handlers = opening.joining.as_ref().map(Joining::handlers);
        let tracked = opening.tracked.as_ref().map(Joining::handlers);
        let work = async move {
            match opening.open().await {
                Ok(socket) => {
                    let peer = socket.peer_addr();
                    let mut work = pin!(Some(handler(socket)));
                    let unknown = || "a client of another server".to_owned();
                    let peer = peer.map_or_else(unknown, |peer| peer.to_string());
                    poll_fn(|cx| poll_handler(work.as_mut(), cx, &peer, Ok)).await;
                }
                Err(error) => tracing::debug!("{error}"),
            }
        };
        match (handlers, tracked) {
            (None, None) => drop(tokio::spawn(work)),
            (Some(set), None) | (None, Some(set)) => drop(tokio::spawn(set.track(work))),
            (Some(one), Some(other)) => drop(tokio::spawn(one.track(other.track(work)))),
        }
        response.map(|()| B::from(String::new()))
    }
}

/// The parts of a request that the log names if it is refused later.
fn asked<B>(request: &Request<B>) -> Request<()> {
    let mut asked = Request::new(());
    *asked.uri_mut() = request.uri().clone();
    for name in [ORIGIN, HOST] {
        if let Some(value) = request.headers().get(&name) {
            asked.headers_mut().insert(name, value.clone());
        }
    }
    asked
}

/// Checks a request of HTTP/1.1 or, if the server lets clients ask so, of HTTP/2.
fn offer<B>(request: &Request<B>) -> Result<Offer, Refusal> {
    #[cfg(feature = "http2")]
    if let Some(protocol) = request.extensions().get::<hyper::ext::Protocol>() {
        return Offer::from_extended_connect(request, protocol.as_str());
    }
    Offer::from_request(request)
}

/// A WebSocket whose handshake is being answered.
#[derive(Debug)]
pub struct Opening {
    on_upgrade: hyper::upgrade::OnUpgrade,
    agreed: Agreed,
    #[cfg(feature = "http2")]
    is_http2: bool,
    #[cfg(feature = "http2")]
    write_timeout: Duration,
    config: Arc<Config>,
    joining: Option<Joining>,
    tracked: Option<Joining>,
}

impl Opening {
    /// The WebSocket, once the answer is written.
    ///
    /// The socket is taken out of the HTTP server, so that nothing of that stays in memory: a TCP or Unix
    /// socket, or one of those with TLS of tokio-rustls, that was given to hyper, hyper-util's `auto`
    /// (with the feature `http2` or `axum`) or `axum::serve` in a [`TokioIo`]. Others are used through the
    /// HTTP server; over HTTP/2 a WebSocket is a stream of the connection, which stays with the server.
    ///
    /// # Errors
    ///
    /// When the client has closed, or the answer was not sent.
    pub async fn open(self) -> Result<WebSocket, AcceptError> {
        let unwrap = |io: TokioIo<TcpStream>| (io.into_inner(), BytesMut::new());
        self.open_through(unwrap).await
    }

    /// The same for an HTTP server that was given its TCP streams in a wrapper `W` of its own:
    /// `unwrap` takes the stream out of it, with what the wrapper has read of it and not given on.
    /// Connections of other kinds are served as they are.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub async fn open_through<W>(
        self,
        unwrap: impl FnOnce(W) -> (TcpStream, BytesMut),
    ) -> Result<WebSocket, AcceptError>
    where
        W: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    {
        let upgraded = self.on_upgrade.await?;
        let mut agreed = self.agreed;
        let (io, input) = match transport(upgraded, unwrap) {
            Ok(Taken { io, read, peer }) => {
                agreed.peer = peer;
                (io, BytesMut::from(read))
            }
            #[cfg(feature = "http2")]
            Err(upgraded) if self.is_http2 => {
                let stream = crate::net::http2::Http2Upgraded::new(upgraded);
                let stream = crate::net::http2::WriteDeadline::new(stream, self.write_timeout);
                (ByteStream::boxed(stream), BytesMut::new())
            }
            Err(upgraded) => (ByteStream::boxed(TokioIo::new(upgraded)), BytesMut::new()),
        };
        let connection = Connection::server(self.config, Duration::ZERO);
        let socket = WebSocket::new(Shared::new(io, connection, input, agreed));
        for joining in self.joining.into_iter().chain(self.tracked) {
            joining.join(&socket);
        }
        Ok(socket)
    }
}

/// The socket below an HTTP server.
struct Taken {
    io: ByteStream,
    /// Bytes that were read and not used.
    read: Bytes,
    /// The peer's address, if the stream does not know it.
    peer: Option<PeerAddr>,
}

/// The socket below an HTTP server; `upgraded` unchanged if its type is not known.
fn transport<W>(
    upgraded: Upgraded,
    unwrap: impl FnOnce(W) -> (TcpStream, BytesMut),
) -> Result<Taken, Upgraded>
where
    W: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let tcp = |stream, read| Taken { io: ByteStream::Tcp(stream), read, peer: None };
    let taken = take_out::<TokioIo<TcpStream>>(upgraded)
        .map(|(io, read)| tcp(io.into_inner(), read))
        .or_else(|upgraded| {
            take_out::<W>(upgraded).map(|(io, read)| {
                let (stream, ahead) = unwrap(io);
                let mut all = BytesMut::from(read);
                all.unsplit(ahead);
                tcp(stream, all.freeze())
            })
        });
    #[cfg(unix)]
    let taken = taken.or_else(|upgraded| {
        take_out_boxed::<tokio::net::UnixStream>(upgraded, |_| Some(PeerAddr::Unix))
    });
    #[cfg(feature = "tls")]
    let taken = taken.or_else(|upgraded| {
        take_out_boxed::<TlsStream<TcpStream>>(upgraded, |stream| {
            stream.get_ref().0.peer_addr().ok().map(PeerAddr::Tcp)
        })
    });
    #[cfg(all(feature = "tls", unix))]
    let taken = taken.or_else(|upgraded| {
        take_out_boxed::<TlsStream<tokio::net::UnixStream>>(upgraded, |_| Some(PeerAddr::Unix))
    });
    taken
}

#[cfg(any(feature = "tls", unix))]
fn take_out_boxed<T>(
    upgraded: Upgraded,
    peer: impl FnOnce(&T) -> Option<PeerAddr>,
) -> Result<Taken, Upgraded>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    take_out::<TokioIo<T>>(upgraded).map(|(io, read)| {
        let stream = io.into_inner();
        let peer = peer(&stream);
        Taken { io: ByteStream::boxed(stream), read, peer }
    })
}

/// Takes a stream out of hyper, or of hyper-util's server of both versions of HTTP, which wraps it.
fn take_out<T>(upgraded: Upgraded) -> Result<(T, Bytes), Upgraded>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let taken = upgraded.downcast::<T>().map(|parts| (parts.io, parts.read_buf));
    #[cfg(any(feature = "axum", feature = "http2"))]
    let taken = taken.or_else(|upgraded| {
        let parts = hyper_util::server::conn::auto::upgrade::downcast::<T>(upgraded)?;
        Ok((parts.io, parts.read_buf))
    });
    taken
}

#[cfg(all(test, feature = "axum"))]
mod tests {
    use ::axum::{Router, extract::Request, routing::any};
    use tokio::{
        net::{TcpListener, UnixListener},
        sync::mpsc,
    };

    use super::*;

    /// An axum server that tells over what it would speak.
    fn app() -> (Router, mpsc::Receiver<Result<ByteStream, Upgraded>>) {
        let (sender, taken) = mpsc::channel(1);
        let handler = async move |mut request: Request| {
            let accepted = Upgrade::new(&mut request).and_then(Upgrade::accept);
            let (response, opening) = accepted.expect("the request is one for a WebSocket");
            tokio::spawn(async move {
                let Ok(upgraded) = opening.on_upgrade.await else { return };
                let taken = transport(upgraded, |io: TokioIo<TcpStream>| {
                    (io.into_inner(), BytesMut::new())
                });
                let _ = sender.send(taken.map(|taken| taken.io)).await;
            });
            response.map(|()| String::new())
        };
        (Router::new().route("/", any(handler)), taken)
    }

    #[tokio::test]
    async fn the_socket_is_taken_out_of_axum() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let (app, mut taken) = app();
        tokio::spawn(async move { ::axum::serve(listener, app).await });
        let _client = crate::connect(&url).await.unwrap();
        assert!(matches!(taken.recv().await, Some(Ok(ByteStream::Tcp(_)))));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (app, mut taken) = self::app();
        tokio::spawn(async move { ::axum::serve(listener, app).await });
        let client = crate::Client::new("ws://localhost/").unwrap().unix_socket(&path);
        let _client = client.connect().await.unwrap();
        assert!(matches!(taken.recv().await, Some(Ok(ByteStream::Boxed(_)))));
    }

    /// A listener of axum's that speaks TLS.
    #[cfg(feature = "tls")]
    struct Tls(TcpListener, crate::tls::ServerTls);

    #[cfg(feature = "tls")]
    impl ::axum::serve::Listener for Tls {
        type Io = TlsStream<TcpStream>;
        type Addr = std::net::SocketAddr;

        async fn accept(&mut self) -> (Self::Io, Self::Addr) {
            let (stream, peer) = self.0.accept().await.expect("a client comes");
            (self.1.accept(stream).await.expect("it speaks TLS"), peer)
        }

        fn local_addr(&self) -> std::io::Result<Self::Addr> {
            self.0.local_addr()
        }
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn a_socket_with_tls_is_taken_out_of_axum_and_of_hyper() {
        use hyper_util::service::TowerToHyperService;

        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (identity.cert.pem(), identity.signing_key.serialize_pem());
        let tls = crate::tls::ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let trusted = crate::tls::ClientTls::new().root_pem(certificate.as_bytes()).unwrap();
        for with_axum in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
            let (app, mut taken) = app();
            let tls = tls.clone();
            if with_axum {
                tokio::spawn(async move { ::axum::serve(Tls(listener, tls), app).await });
            } else {
                tokio::spawn(async move {
                    let stream = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
                    let http = hyper::server::conn::http1::Builder::new();
                    let service = TowerToHyperService::new(app);
                    http.serve_connection(TokioIo::new(stream), service).with_upgrades().await
                });
            }
            let client = crate::Client::new(url).unwrap().tls(trusted.clone());
            let _client = client.connect().await.unwrap();
            let taken = taken.recv().await.unwrap();
            assert!(matches!(taken, Ok(ByteStream::Boxed(_))), "with axum: {with_axum}");
        }
    }
}
