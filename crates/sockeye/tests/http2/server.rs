//! `Server` with TLS: HTTP/2 for clients that choose it, each WebSocket a client of its own.

use std::{future::Future, io, sync::Arc, time::Duration};

use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{CONNECTION, ORIGIN, RETRY_AFTER},
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use sockeye::{
    Client, CloseCode, ConnectError, DeflateBudget, DeflateConfig, Incoming, ResponseError, Server,
    http2::Connection,
};
use sockeye_testing::eventually_async;
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::raw::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PROTOCOL_ERROR,
    REFUSED_STREAM, REQUEST, RST_STREAM, RawPeer, block, frame,
};

use crate::tls::certificates::Authority;

const SOON: Duration = Duration::from_secs(10);

/// A running echo server at `/chat`, until it is told to stop.
struct Running {
    client: Client,
    port: u16,
    authority: Authority,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        Self::with(|server| server).await
    }

    async fn with(configure: impl FnOnce(Server) -> Server) -> Self {
        Self::serving(configure, echo).await
    }

    async fn serving<H, F>(configure: impl FnOnce(Server) -> Server, handler: H) -> Self
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Anything>> + Send + 'static,
    {
        let authority = Authority::new();
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let server = configure(server.tls(authority.identity("localhost").server()));
        let port = server.local_addr().unwrap().port();
        let url = format!("wss://localhost:{port}/chat");
        let client = Client::new(&url).unwrap().tls(authority.trusted());
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move { server.run_until(stopped, handler).await });
        Self { client, port, authority, stop, ended }
    }

    async fn connect(&self) -> Connection {
        Connection::connect(&self.client).await.unwrap()
    }

    fn client(&self, path: &str) -> Client {
        let url = format!("wss://localhost:{}{path}", self.port);
        Client::new(&url).unwrap().tls(self.authority.trusted())
    }

    /// A connection on which both sides have agreed on HTTP/2.
    async fn reach(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// HTTP/2 as a program speaks it that knows nothing of WebSockets.
    async fn speak(&self) -> Option<(h2::client::SendRequest<bytes::Bytes>, JoinHandle<()>)> {
        let stream = self.reach().await.ok()?;
        let (sender, connection) = h2::client::handshake(stream).await.ok()?;
        let ended = tokio::spawn(async move {
            // However it ends.
            let _ = connection.await;
        });
        Some((sender, ended))
    }
}

type Anything = Box<dyn std::error::Error + Send + Sync>;

async fn echo(incoming: Incoming) -> Result<(), Anything> {
    if incoming.path() != "/chat" {
        incoming.refuse(StatusCode::NOT_FOUND, "only /chat is here").await;
        return Ok(());
    }
    let mut socket = incoming.accept().await?;
    while let Some(message) = socket.recv().await {
        socket.send(message?).await?;
    }
    Ok(())
}

async fn assert_echo(socket: &mut sockeye::WebSocket) {
    socket.send("hello").await.unwrap();
    let answer = timeout(SOON, socket.recv()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.as_text(), Some("hello"));
}

/// The status and headers with which a WebSocket was refused.
fn refused(error: ConnectError) -> http::Response<bytes::Bytes> {
    match error {
        ConnectError::Response(ResponseError::Status(response)) => *response,
        other => panic!("{other}"),
    }
}

/// Fails as the path says: before it accepts or after that, with an error or a panic.
async fn fail(incoming: Incoming) -> Result<(), Anything> {
    let panics = incoming.path().ends_with("panic");
    let fails = || if panics { panic!("{}", "a bug") } else { Err("the disk is full".into()) };
    if incoming.path().starts_with("/before") {
        return fails();
    }
    if incoming.path() == "/chat" {
        return echo(incoming).await;
    }
    let mut socket = incoming.accept().await?;
    socket.recv().await;
    fails()
}

#[tokio::test]
async fn a_handler_that_fails_ends_its_own_stream_with_500_or_1011() {
    let running = Running::serving(|server| server, fail).await;
    let connection = running.connect().await;
    let client = |path: &str| {
        let url = format!("wss://localhost:{}/{path}", running.port);
        Client::new(url).unwrap()
    };
    let mut other = connection.open(client("chat")).await.unwrap().socket;
    for how in ["error", "panic"] {
        let before = connection.open(client(&format!("before/{how}"))).await.unwrap_err();
        let response = refused(before);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(*response.body(), "the server failed to answer\n");
        let mut after = connection.open(client(&format!("after/{how}"))).await.unwrap().socket;
        after.send("hello").await.unwrap();
        assert!(timeout(SOON, after.recv()).await.unwrap().is_none());
        assert_eq!(after.closed().unwrap().code(), 1011);
        assert_echo(&mut other).await;
    }
    let nowhere = Running::start().await;
    let url = format!("wss://localhost:{}/nowhere", nowhere.port);
    let refusal = nowhere.connect().await.open(Client::new(url).unwrap()).await.unwrap_err();
    assert!(refusal.to_string().ends_with("not 200: only /chat is here"), "{refusal}");
}

#[tokio::test]
async fn websockets_share_one_connection_and_each_is_a_client() {
    let running = Running::start().await;
    let connection = running.connect().await;
    let mut one = connection.open(running.client.clone()).await.unwrap().socket;
    let mut two = connection.open(running.client.clone()).await.unwrap().socket;
    assert_echo(&mut one).await;
    assert_echo(&mut two).await;
    one.close(CloseCode::NORMAL).await;
    assert!(timeout(SOON, one.recv()).await.unwrap().is_none());
    assert!(one.closed().unwrap().is_clean());
    assert_echo(&mut two).await;
}

#[tokio::test]
async fn clients_of_http_1_are_served_as_ever() {
    let running = Running::start().await;
    let opened = running.client.clone().open().await.unwrap();
    assert_eq!(opened.response.status(), 101);
    let mut socket = opened.socket;
    assert_echo(&mut socket).await;
}

#[tokio::test]
async fn refusals_end_their_stream_only() {
    let running = Running::with(|server| server.max_connections(1)).await;
    let connection = running.connect().await;
    let error = connection.open(running.client("/else")).await.unwrap_err();
    let response = refused(error);
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(!response.headers().contains_key(CONNECTION));

    let foreign = HeaderValue::from_static("https://elsewhere.example");
    let error = connection.open(running.client("/chat").header(ORIGIN, foreign)).await.unwrap_err();
    assert_eq!(refused(error).status(), StatusCode::FORBIDDEN);

    let own = HeaderValue::try_from(format!("https://localhost:{}", running.port)).unwrap();
    let mut one =
        connection.open(running.client("/chat").header(ORIGIN, own)).await.unwrap().socket;
    let error = connection.open(running.client("/chat")).await.unwrap_err();
    let response = refused(error);
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(RETRY_AFTER));
    assert_echo(&mut one).await;
}

#[tokio::test]
async fn a_request_that_is_not_a_websocket_is_refused() {
    let running = Running::start().await;
    let (sender, _) = running.speak().await.unwrap();
    for method in [Method::GET, Method::POST] {
        let request = Request::builder().method(method).uri("https://localhost/chat");
        let mut sender = sender.clone().ready().await.unwrap();
        let (response, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
        let response = timeout(SOON, response).await.unwrap().unwrap();
        assert!(response.status().is_client_error(), "{}", response.status());
    }
}

#[tokio::test]
async fn a_server_that_stops_closes_each_websocket_and_then_the_connection() {
    let running = Running::start().await;
    let connection = running.connect().await;
    let mut one = connection.open(running.client.clone()).await.unwrap().socket;
    let mut two = connection.open(running.client.clone()).await.unwrap().socket;
    assert_echo(&mut two).await;
    running.stop.send(()).unwrap();
    for socket in [&mut one, &mut two] {
        assert!(timeout(SOON, socket.recv()).await.unwrap().is_none());
        assert_eq!(socket.closed().unwrap().code(), 1001);
    }
    timeout(SOON, running.ended).await.expect("it stops").unwrap();
    assert!(connection.open(running.client.clone()).await.is_err());
}

#[tokio::test]
async fn a_connection_that_is_not_used_ends_and_one_that_is_stays() {
    let limit = Duration::from_millis(50);
    let running = Running::with(|server| server.handshake_timeout(limit)).await;
    // A slow machine may be too slow for that short a deadline.
    let mut socket = eventually_async("a WebSocket", async || {
        let connection = Connection::connect(&running.client).await.ok()?;
        Some(connection.open(running.client.clone()).await.ok()?.socket)
    })
    .await;
    let (_sender, ended) = eventually_async("a connection", async || running.speak().await).await;
    timeout(SOON, ended).await.expect("the idle connection ends").unwrap();
    let ended = eventually_async("an answer", async || {
        let (mut sender, ended) = running.speak().await?;
        let get = Request::builder().uri("https://localhost/").body(()).unwrap();
        let (response, _) = sender.send_request(get, true).ok()?;
        response.await.ok().map(|_| ended)
    })
    .await;
    timeout(SOON, ended).await.expect("it ends after its last request, too").unwrap();
    assert_echo(&mut socket).await;
}

/// Sends these frames, and gives the error with which the server ends the connection.
async fn code_of_goaway(frames: &[u8]) -> u32 {
    let running = Running::start().await;
    let mut client = RawPeer::client_over(running.reach().await.unwrap(), &[]).await;
    client.send_raw(frames).await;
    loop {
        let received = timeout(SOON, client.next()).await.expect("a GOAWAY");
        match received.expect("a GOAWAY before the end") {
            frame if frame.kind == GOAWAY => return frame.code(),
            _ => {}
        }
    }
}

#[tokio::test]
async fn floods_end_the_connection() {
    let open = |stream| frame(HEADERS, END_HEADERS, stream, &block(&REQUEST));
    let resets = (1..200).step_by(2).flat_map(|stream| {
        [open(stream), frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())].concat()
    });
    assert_eq!(code_of_goaway(&resets.collect::<Vec<_>>()).await, ENHANCE_YOUR_CALM);

    // A window of more than 2³¹−1 bytes is an error of that stream (RFC 9113 §6.9.1).
    let forced = (1..600).step_by(2).flat_map(|stream| {
        [open(stream), frame(8, 0, stream, &0x7fff_ffff_u32.to_be_bytes())].concat()
    });
    assert_eq!(code_of_goaway(&forced.collect::<Vec<_>>()).await, ENHANCE_YOUR_CALM);

    let more = frame(CONTINUATION, 0, 1, &block(&[("x-y", &"z".repeat(100))])).repeat(2000);
    let endless = [frame(HEADERS, 0, 1, &block(&REQUEST)), more].concat();
    let code = code_of_goaway(&endless).await;
    assert!([ENHANCE_YOUR_CALM, PROTOCOL_ERROR].contains(&code), "{code}");
}

#[tokio::test]
async fn there_are_200_streams_and_no_more() {
    let running = Running::start().await;
    let mut client = RawPeer::client_over(running.reach().await.unwrap(), &[]).await;
    for stream in (1..=401).step_by(2) {
        let mut request = REQUEST;
        request[4] = (":authority", "localhost");
        client.send_request(stream, &request).await;
    }
    loop {
        let frame = timeout(SOON, client.next()).await.expect("a refusal").expect("a refusal");
        if frame.kind == RST_STREAM {
            assert_eq!((frame.stream, frame.code()), (401, REFUSED_STREAM));
            return;
        }
    }
}

#[tokio::test]
async fn a_head_that_trickles_runs_out_of_time() {
    let limit = Duration::from_millis(50);
    let running = Running::with(|server| server.handshake_timeout(limit)).await;
    let stream = eventually_async("a connection", async || running.reach().await.ok()).await;
    let mut client = RawPeer::client_over(stream, &[]).await;
    client.send(HEADERS, 0, 1, &block(&REQUEST)).await;
    while timeout(SOON, client.next()).await.expect("the connection ends").is_some() {}
}

#[tokio::test]
async fn a_refusal_that_the_client_does_not_read_does_not_keep_the_connection() {
    let limit = Duration::from_millis(50);
    let running = Running::with(|server| server.handshake_timeout(limit)).await;
    let stream = eventually_async("a connection", async || running.reach().await.ok()).await;
    // Its streams have no window for the text of a refusal.
    let mut client = RawPeer::client_over(stream, &[(4, 0)]).await;
    let mut request = REQUEST;
    request[3] = (":path", "/elsewhere");
    request[4] = (":authority", "localhost");
    client.send_request(1, &request).await;
    while timeout(SOON, client.next()).await.expect("the connection ends").is_some() {}
}

#[tokio::test]
async fn a_stream_that_the_client_does_not_read_is_reset() {
    let limit = Duration::from_millis(100);
    let running = Running::with(|server| server.http2_write_timeout(limit)).await;
    // Each stream has a window of 1000 bytes.
    let mut client = RawPeer::client_over(running.reach().await.unwrap(), &[(4, 1000)]).await;
    let mut request = REQUEST;
    request[4] = (":authority", "localhost");
    client.send_request(1, &request).await;
    client.next_of(1).await;
    // A message of 2000 bytes, masked with zeroes, which the server sends back.
    let message = [&[0x82, 0xFE, 0x07, 0xD0, 0, 0, 0, 0][..], &[7; 2000]].concat();
    client.send(DATA, 0, 1, &message).await;
    let reset = async {
        loop {
            let frame = client.next_of(1).await;
            if frame.kind == RST_STREAM {
                break frame.code();
            }
        }
    };
    assert_eq!(timeout(SOON, reset).await.expect("a reset"), CANCEL);
    // The connection stays.
    client.send_request(3, &request).await;
    assert_eq!(client.next_of(3).await.kind, HEADERS);
}

/// Rule: H7.
#[tokio::test]
async fn the_websockets_of_a_connection_share_the_budget_of_compression() {
    let budget = DeflateBudget::new(64 << 10);
    let config = DeflateConfig::default().takeover_budget(budget.clone());
    let running = Running::with(|server| server.deflate(config)).await;
    let connection = running.connect().await;
    let keeping = DeflateConfig::default().client_takeover(true);
    let mut open = Vec::new();
    for keeps in [true, true, false, false] {
        let client = running.client("/chat").deflate(keeping.clone());
        let mut socket = connection.open(client).await.unwrap().socket;
        let agreed = socket.deflate().expect("compression");
        assert_eq!(agreed.client_no_context_takeover(), !keeps);
        for _ in 0..2 {
            let text = "again and ".repeat(1000);
            socket.send(text.as_str()).await.unwrap();
            assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some(text.as_str()));
        }
        open.push(socket);
    }
    assert_eq!(budget.reserved(), 64 << 10);
    drop(open);
    eventually_async("a budget that is free", async || budget.reserved() == 0).await;
}
