//! HTTP/2 behind TLS: the same channels, WebSockets that share a connection, and what a client may not
//! do to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::response::Parts;
use http::{Method, Request, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use sockeye::{Client, Message, WebSocket};
use sockeye_hub::Publication;
use sockeye_server::ServerOptions;
use sockeye_testing::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame as RawFrame, GOAWAY, HEADERS, PING, PREFACE,
    RST_STREAM, SETTINGS, block, frame,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{SOON, TestServer};
use crate::tls::certified;

const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// A server behind TLS, and its certificate for the client.
struct Secure {
    server: TestServer,
    trust: TlsConnector,
}

impl Secure {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let (tls, mut trust) = certified("localhost");
        trust.alpn_protocols = vec![b"h2".to_vec()];
        let server = TestServer::with(|options| {
            options.tls = Some(tls);
            change(options);
        })
        .await;
        Self { server, trust: TlsConnector::from(Arc::new(trust)) }
    }

    /// A connection on which both sides have agreed on HTTP/2.
    async fn reach(&self) -> TlsStream<TcpStream> {
        let trying = async {
            loop {
                let stream = TcpStream::connect(self.server.address).await.unwrap();
                let name = ServerName::try_from("localhost").unwrap();
                // A slow machine may be too slow for the short deadline of a test.
                let Ok(stream) = self.trust.connect(name, stream).await else { continue };
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                return stream;
            }
        };
        timeout(SOON, trying).await.expect("TLS")
    }

    /// A WebSocket, however short the time for its request is.
    async fn open(&self, path: &str) -> WebSocket {
        let trying = async {
            loop {
                let connection = sockeye::http2::Connection::over(self.reach().await).await;
                let Ok(connection) = connection else { continue };
                if let Ok(opened) = connection.open(self.client(path)).await {
                    return opened.socket;
                }
            }
        };
        timeout(SOON, trying).await.expect("a WebSocket")
    }

    /// The body of a stream, however short the time for its request is.
    async fn listen(&self, path: &str) -> Incoming {
        let trying = async {
            loop {
                let io = TokioIo::new(self.reach().await);
                let opened = http2::handshake(TokioExecutor::new(), io).await;
                let Ok((mut sender, connection)) = opened else { continue };
                tokio::spawn(connection);
                let get = self.request(Method::GET, path).header("accept", "text/event-stream");
                if let Ok(answer) = sender.send_request(get.body(whole("")).unwrap()).await {
                    return answer.into_body();
                }
            }
        };
        timeout(SOON, trying).await.expect("an answer")
    }

    /// Sends one request on a connection of its own.
    async fn send(&self, request: Request<Content>) -> (StatusCode, String) {
        let (head, body) = self.send_for_head(request).await;
        (head.status, body)
    }

    async fn send_for_head(&self, request: Request<Content>) -> (Parts, String) {
        let io = TokioIo::new(self.reach().await);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let answer = async {
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (head, String::from_utf8(body.to_vec()).unwrap())
        };
        timeout(SOON, answer).await.expect("the server answers")
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let url = format!("https://localhost:{}{path}", self.server.address.port());
        Request::builder().method(method).uri(url)
    }

    fn client(&self, path: &str) -> Client {
        let url = format!("wss://localhost:{}{path}", self.server.address.port());
        Client::new(&url).unwrap()
    }
}

/// The body of a request: whole, or a beginning after which nothing comes.
type Content = Either<Full<Bytes>, StreamBody<Pieces>>;
type Pieces = stream::BoxStream<'static, Result<Frame<Bytes>, std::convert::Infallible>>;

fn whole(content: &'static str) -> Content {
    Either::Left(Full::from(content))
}

async fn receive(socket: &mut WebSocket) -> Message {
    timeout(SOON, socket.recv()).await.expect("in time").expect("a message").expect("a message")
}

/// As over HTTP/1.1, where hyper sees to it.
#[tokio::test]
#[cfg(feature = "console")]
async fn a_response_to_head_and_one_that_is_not_modified_have_no_body() {
    let secure = Secure::start().await;
    let ask = async |method, etag: &str| {
        let request = secure.request(method, "/sockeye.js").header(IF_NONE_MATCH, etag);
        secure.send_for_head(request.body(whole("")).unwrap()).await
    };
    let (got, body) = ask(Method::GET, "\"other\"").await;
    let (head, none) = ask(Method::HEAD, "\"other\"").await;
    assert_eq!((head.status, none.len()), (StatusCode::OK, 0));
    assert_eq!(head.headers[CONTENT_LENGTH], body.len().to_string());
    assert_eq!(head.headers[ETAG], got.headers[ETAG]);
    for method in [Method::GET, Method::HEAD] {
        let (known, none) = ask(method, got.headers[ETAG].to_str().unwrap()).await;
        assert_eq!((known.status, none.len()), (StatusCode::NOT_MODIFIED, 0));
        assert!(!known.headers.contains_key(CONTENT_LENGTH), "{known:?}");
    }
}

#[tokio::test]
async fn channels_answer_as_over_http_1() {
    let secure = Secure::start().await;
    let post = secure.request(Method::POST, "/c/chat").body(whole("{}")).unwrap();
    let (status, at) = secure.send(post).await;
    assert_eq!(status, StatusCode::CREATED);
    let get = secure.request(Method::GET, "/c/chat").body(whole("")).unwrap();
    let (status, messages) = secure.send(get).await;
    assert_eq!(status, StatusCode::OK);
    assert!(messages.contains(at.split('"').nth(3).unwrap()), "{messages}");
}

#[tokio::test]
async fn many_messages_are_published_by_one_request_as_over_http_1() {
    let secure = Secure::start().await;
    for (path, kind, body) in [
        ("/c/chat", "application/x-ndjson", "{\"data\":1}\n{\"data\":2}\n"),
        ("/publish", "application/json", r#"[{"ch":"chat","data":3},{"ch":"chat","data":4}]"#),
    ] {
        let post = secure.request(Method::POST, path).header(CONTENT_TYPE, kind);
        let (status, told) = secure.send(post.body(whole(body)).unwrap()).await;
        assert_eq!(status, StatusCode::CREATED, "{told}");
    }
    let get = secure.request(Method::GET, "/c/chat").body(whole("")).unwrap();
    let (_, page) = secure.send(get).await;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let data: Vec<_> =
        page["messages"].as_array().unwrap().iter().map(|it| it["data"].as_u64()).collect();
    assert_eq!(data, [Some(1), Some(2), Some(3), Some(4)]);
}

/// The end of a channel, as over HTTP/1.1: by a poll, a stream and a WebSocket.
#[tokio::test]
async fn a_channel_ends_as_over_http_1() {
    let secure = Secure::start().await;
    let mut socket = secure.open("/c/chat").await;
    let events = secure.listen("/c/chat").await;
    let post = secure.request(Method::POST, "/c/chat?close=1").body(whole("")).unwrap();
    let (head, closed) = secure.send_for_head(post).await;
    assert_eq!(head.status, StatusCode::OK);
    let at = head.headers["sockeye-position"].to_str().unwrap();
    assert_eq!(closed, format!("{{\"at\":\"{at}\",\"end\":true}}"));

    assert!(timeout(SOON, socket.recv()).await.expect("in time").is_none());
    assert_eq!(socket.closed().unwrap().code(), 1000);
    let rest = timeout(SOON, events.collect()).await.expect("it ends").unwrap().to_bytes();
    let end = format!("event: end\nid: {at}\ndata: {closed}\n\n");
    assert!(rest.ends_with(end.as_bytes()), "{rest:?}");
    let get = secure.request(Method::GET, "/c/chat").body(whole("")).unwrap();
    let (_, page) = secure.send(get).await;
    assert_eq!(page, format!("{{\"at\":\"{at}\",\"messages\":[],\"end\":true}}"));
}

/// JSON has the same limits, and presence the same pages, as over HTTP/1.1.
#[tokio::test]
async fn input_is_judged_and_presence_paged_as_over_http_1() {
    let secure = Secure::start().await;
    for (depth, status) in [(100, StatusCode::CREATED), (101, StatusCode::BAD_REQUEST)] {
        let post = secure.request(Method::POST, "/c/chat").header(CONTENT_TYPE, "application/json");
        let json = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let posted = secure.send(post.body(Either::Left(Full::from(json))).unwrap()).await;
        assert_eq!(posted.0, status, "{posted:?}");
        assert_eq!(posted.1.contains("bad_json"), depth > 100, "{posted:?}");
    }
    let channel = "chat".parse().unwrap();
    let join = |n| secure.server.hub.join(&channel, Some(&format!("{n:03}")));
    let _leases: Vec<_> = (0..250).map(join).collect();
    let path = "/c/chat/presence?limit=70&after=123";
    let get = secure.request(Method::GET, path).body(whole("")).unwrap();
    let (status, page) = secure.send(get).await;
    let ids = [r#""count":250,"#, r#"[{"id":"124","#, r#","next":"193"}"#];
    assert!(status == StatusCode::OK && ids.iter().all(|part| page.contains(part)), "{page}");
}

#[tokio::test]
async fn without_tls_a_client_may_begin_with_http_2() {
    let server = TestServer::start().await;
    let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let connection = sockeye::http2::Connection::connect(&client).await.unwrap();
    let mut one = connection.open(client.clone()).await.unwrap().socket;
    let mut two = connection.open(client).await.unwrap().socket;
    server.publish("/c/chat", "over HTTP/1.1").await;
    for socket in [&mut one, &mut two] {
        assert_eq!(receive(socket).await, Message::from("over HTTP/1.1"));
    }
}

#[tokio::test]
async fn a_connect_that_is_not_a_websocket_is_refused() {
    let secure = Secure::start().await;
    let connect = Request::builder().method(Method::CONNECT).uri("localhost:80");
    let (status, _) = secure.send(connect.body(whole("")).unwrap()).await;
    assert!(status.is_client_error(), "{status}");
}

#[tokio::test]
async fn websockets_share_a_connection_and_are_closed_in_a_drain() {
    let secure = Secure::start().await;
    let connection = sockeye::http2::Connection::over(secure.reach().await).await.unwrap();
    let mut one = connection.open(secure.client("/c/chat")).await.unwrap().socket;
    let mut two = connection.open(secure.client("/c/chat")).await.unwrap().socket;
    one.send("to both").await.unwrap();
    assert_eq!(receive(&mut one).await, Message::from("to both"));
    assert_eq!(receive(&mut two).await, Message::from("to both"));

    let stopped = secure.server.begin_to_stop();
    for mut socket in [one, two] {
        assert!(timeout(SOON, socket.recv()).await.expect("in time").is_none());
        assert_eq!(socket.closed().unwrap().code(), 1012);
    }
    timeout(SOON, stopped).await.expect("the server stops").unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_stops_sends_goaway_and_answers_requests_in_progress() {
    let secure = Secure::start().await;
    let mut client = RawClient::over(secure.reach().await).await;
    client.send(&frame(HEADERS, END_HEADERS, 1, &head("/c/chat"))).await;
    // Its response shows that the server has seen what came before.
    client.is_answered().await;
    let stopped = secure.server.begin_to_stop();
    assert_eq!(client.next_of(GOAWAY).await.expect("a GOAWAY").code(), 0);
    client.send(&frame(DATA, END_STREAM, 1, b"last words")).await;
    client.next_of(HEADERS).await.expect("the answer to the publication");
    drop(client);
    timeout(SOON, stopped).await.expect("the server stops").unwrap().unwrap();
}

#[tokio::test]
async fn an_event_stream_holds_its_connection_until_a_drain() {
    let limit = Duration::from_millis(50);
    let secure = Secure::with(|options| options.head_timeout = limit).await;
    let mut events = secure.listen("/c/chat").await;
    assert!(timeout(SOON, events.frame()).await.expect("the beginning").is_some());
    // An idle connection that began later is gone, and this one is there.
    let mut idle = RawClient::over(secure.reach().await).await;
    while idle.next_of(GOAWAY).await.is_some() {}
    let hub = secure.server.hub.clone();
    hub.publish(&"chat".parse().unwrap(), Publication::text("still here")).await.unwrap();
    let event = timeout(SOON, events.frame()).await.expect("an event").unwrap().unwrap();
    assert!(event.into_data().unwrap().ends_with(b"data: still here\n\n"));

    let stopped = secure.server.begin_to_stop();
    while timeout(SOON, events.frame()).await.expect("it ends").is_some() {}
    timeout(SOON, stopped).await.expect("the server stops").unwrap().unwrap();
}

#[tokio::test]
async fn the_subprotocol_is_spoken_over_http_2_too() {
    let secure = Secure::start().await;
    let connection = sockeye::http2::Connection::over(secure.reach().await).await.unwrap();
    let client = secure.client("/connect").subprotocol("sockeye.v1");
    let mut socket = connection.open(client).await.unwrap().socket;
    let hello = receive(&mut socket).await;
    assert!(hello.as_text().unwrap().contains("hello"), "{hello:?}");
}

#[tokio::test]
async fn a_websocket_holds_its_connection_and_an_idle_connection_ends() {
    let limit = Duration::from_millis(50);
    let secure = Secure::with(|options| options.head_timeout = limit).await;
    let mut socket = secure.open("/c/chat").await;
    let mut idle = RawClient::over(secure.reach().await).await;
    // Opened before the idle connection began to idle, and there after it ended.
    while idle.next_of(GOAWAY).await.is_some() {}
    socket.send("still here").await.unwrap();
    assert_eq!(receive(&mut socket).await, Message::from("still here"));
}

#[tokio::test]
async fn a_refused_websocket_leaves_the_connection_to_others() {
    let secure = Secure::start().await;
    let connection = sockeye::http2::Connection::over(secure.reach().await).await.unwrap();
    let error = connection.open(secure.client("/c/no%20name")).await.unwrap_err();
    assert!(error.to_string().contains("400"), "{error}");
    assert!(connection.open(secure.client("/c/chat")).await.is_ok());
}

#[tokio::test]
async fn a_body_that_trickles_runs_out_of_time() {
    let limit = Duration::from_millis(50);
    let secure = Secure::with(|options| options.channels.body_timeout = limit).await;
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"hel")))]);
    let never: Pieces = Box::pin(stream::StreamExt::chain(first, stream::pending()));
    let post = secure.request(Method::POST, "/c/chat").body(Either::Right(StreamBody::new(never)));
    let (status, _) = secure.send(post.unwrap()).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_head_that_trickles_runs_out_of_time() {
    let limit = Duration::from_millis(50);
    let secure = Secure::with(|options| options.head_timeout = limit).await;
    let mut client = RawClient::over(secure.reach().await).await;
    client.send(&frame(HEADERS, 0, 1, &head("/c/chat"))).await;
    assert!(client.next_of(RST_STREAM).await.is_none(), "the connection ends");
    // A client that sends nothing at all does not stay either.
    let mut silent = secure.reach().await;
    let mut rest = Vec::new();
    let _ = timeout(SOON, silent.read_to_end(&mut rest)).await.expect("the connection ends");
}

#[tokio::test]
async fn a_head_may_be_16_kib() {
    let secure = Secure::start().await;
    for (size, expected) in
        [(15 << 10, StatusCode::OK), (17 << 10, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)]
    {
        let get = secure.request(Method::GET, "/c/chat").header("x-y", "z".repeat(size));
        let (status, _) = secure.send(get.body(whole("")).unwrap()).await;
        assert_eq!(status, expected, "{size} bytes");
    }
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let secure = Secure::start().await;
    let mut client = RawClient::over(secure.reach().await).await;
    let mut flood = Vec::new();
    for stream in (1..200).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS, stream, &head("/c/chat")));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    client.send(&flood).await;
    assert_eq!(client.next_of(GOAWAY).await.expect("a GOAWAY").code(), ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn streams_that_force_the_server_to_reset_them_end_the_connection() {
    let secure = Secure::start().await;
    let mut client = RawClient::over(secure.reach().await).await;
    // A window of more than 2³¹−1 bytes is an error of that stream (RFC 9113 §6.9.1).
    let mut flood = Vec::new();
    for stream in (1..600).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS, stream, &head("/c/chat")));
        flood.extend(frame(8, 0, stream, &0x7fff_ffff_u32.to_be_bytes()));
    }
    client.send(&flood).await;
    assert_eq!(client.next_of(GOAWAY).await.expect("a GOAWAY").code(), ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    let secure = Secure::start().await;
    let mut client = RawClient::over(secure.reach().await).await;
    client.send(&frame(HEADERS, 0, 1, &head("/c/chat"))).await;
    let more = frame(CONTINUATION, 0, 1, &block(&[("x-y", &"z".repeat(100))]));
    client.send(&more.repeat(2000)).await;
    let code = client.next_of(GOAWAY).await.expect("a GOAWAY").code();
    assert!([ENHANCE_YOUR_CALM, PROTOCOL_ERROR].contains(&code), "{code}");
}

#[tokio::test]
async fn empty_data_frames_without_end_end_the_connection() {
    let secure = Secure::start().await;
    let mut client = RawClient::over(secure.reach().await).await;
    client.send(&frame(HEADERS, END_HEADERS, 1, &head("/c/chat"))).await;
    let nothing = frame(DATA, 0, 1, &[]).repeat(1000);
    // The server stops reading, or closes: it does not accept them for ever.
    let flood = async { while client.write(&nothing).await {} };
    timeout(SOON, flood).await.expect("the server ends the connection");
}

#[tokio::test]
async fn there_are_200_streams_and_no_more() {
    let secure = Secure::start().await;
    let mut client = RawClient::over(secure.reach().await).await;
    let settings = client.next_of(SETTINGS).await.expect("settings").settings();
    assert!(settings.contains(&(3, 200)), "{settings:?}");
    assert!(settings.contains(&(ENABLE_CONNECT_PROTOCOL, 1)), "{settings:?}");
    let mut requests = Vec::new();
    for stream in (1..=401).step_by(2) {
        requests.extend(frame(HEADERS, END_HEADERS, stream, &head("/c/chat")));
    }
    client.send(&requests).await;
    let refused = client.next_of(RST_STREAM).await.expect("a refusal");
    assert_eq!((refused.stream, refused.code()), (401, REFUSED_STREAM));
}

/// A client that writes frames as no library would.
pub(crate) struct RawClient<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> RawClient<S> {
    async fn over(stream: S) -> Self {
        Self::with(stream, &[]).await
    }

    /// One with these settings.
    pub(crate) async fn with(stream: S, settings: &[(u16, u32)]) -> Self {
        let mut client = Self(stream);
        client.send(PREFACE).await;
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        client.send(&frame(SETTINGS, 0, 0, &settings)).await;
        client
    }

    /// Waits until the server has seen what was sent.
    pub(crate) async fn is_answered(&mut self) {
        self.send(&frame(PING, 0, 0, b"are you?")).await;
        self.next_of(PING).await.expect("an answer");
    }

    /// A server that has closed the connection has seen enough.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.write(bytes).await;
    }

    /// Whether the server still reads.
    async fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok()
    }

    /// The next frame of this kind; `None` when the server has ended the connection.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<RawFrame> {
        loop {
            let received = timeout(SOON, self.next()).await.expect("a frame, or the end")?;
            if received.kind == kind {
                return Some(received);
            }
        }
    }

    async fn next(&mut self) -> Option<RawFrame> {
        RawFrame::read_async(&mut self.0).await.ok()
    }
}

/// The head of a publication whose body is still to come; literal fields (RFC 7541 §6.2.2).
fn head(path: &str) -> Vec<u8> {
    let fields =
        [(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "localhost")];
    block(&fields)
}
