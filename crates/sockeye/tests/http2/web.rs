//! The browser's API over HTTP/2: on a connection that is there, else with HTTP/1.1, as browsers do.

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sockeye::{
    Client,
    http2::Connection,
    web::{Builder, StreamOptions, WebSocket, WebSocketStream},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc::unbounded_channel, oneshot},
};

use crate::harness::{Server, answer};

/// Opens a socket; gives the status of the answer too, which is 200 over HTTP/2 and 101 otherwise.
async fn open(page: &Builder, url: &str) -> (WebSocket, u16) {
    let (told, mut tell) = unbounded_channel();
    let socket = page.open_with(url, (), |socket| {
        for name in ["open", "error"] {
            let told = told.clone();
            socket
                .add_event_listener(name, move |event| told.send(event.name().to_owned()).unwrap());
        }
    });
    let socket = socket.unwrap();
    assert_eq!(tell.recv().await.as_deref(), Some("open"), "{:?}", socket.last_error());
    let status = socket.response().unwrap().status().as_u16();
    (socket, status)
}

/// Rule: H14.
#[tokio::test]
async fn the_sockets_of_a_page_share_the_connection_to_their_origin() {
    let mut server = Server::start().await;
    let url = format!("ws://{}/chat", server.address);
    let page = WebSocket::builder().http2(server.connect().await);
    server.echo();
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let (socket, status) = open(&page, &url).await;
        assert_eq!(status, 200);
        let (told, mut tell) = unbounded_channel();
        socket.set_onmessage(move |event| told.send(event.data().to_string()).unwrap());
        socket.send("hello").unwrap();
        assert_eq!(tell.recv().await.as_deref(), Some("hello"));
        sockets.push(socket);
    }
    let options = StreamOptions::default().builder(page);
    let stream = WebSocketStream::connect(&url, options).await.unwrap();
    assert_eq!(stream.response.status(), 200);
    assert_eq!(server.connections(), 1);
}

/// Rule: H14.
#[tokio::test]
async fn sockets_to_another_origin_have_connections_of_their_own() {
    let server = Server::start().await;
    let other = sockeye::Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", other.local_addr().unwrap());
    tokio::spawn(other.run(|incoming: sockeye::Incoming| async {
        let mut socket = incoming.accept().await?;
        while socket.recv().await.is_some() {}
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    }));
    let page = WebSocket::builder().http2(server.connect().await);
    assert_eq!(open(&page, &url).await.1, 101);
    // One that is negotiated without TLS is none: nothing is shared.
    let client = Client::new(&url).unwrap();
    let page = WebSocket::builder().http2(Connection::negotiate(&client).await.unwrap());
    assert_eq!(open(&page, &url).await.1, 101);
}

/// The first connection is served with HTTP/2 until it is told to go away, the others with HTTP/1.1.
///
/// Rule: H14.
#[tokio::test]
async fn when_the_connection_goes_away_sockets_have_their_own_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/chat", listener.local_addr().unwrap());
    let (go_away, told) = oneshot::channel::<()>();
    let (sender, mut sockets) = unbounded_channel();
    tokio::spawn(async move {
        let service = service_fn(move |request| answer(request, sender.clone()));
        let (stream, _) = listener.accept().await.unwrap();
        let first = service.clone();
        tokio::spawn(async move {
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.enable_connect_protocol();
            let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), first));
            tokio::select! {
                _ = &mut connection => return,
                _ = told => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let http = http1::Builder::new();
            tokio::spawn(
                http.serve_connection(TokioIo::new(stream), service.clone()).with_upgrades(),
            );
        }
    });
    let connection = Connection::connect(&Client::new(&url).unwrap()).await.unwrap();
    let page = WebSocket::builder().http2(connection);
    let (_socket, status) = open(&page, &url).await;
    assert_eq!(status, 200);
    let _kept = sockets.recv().await;
    go_away.send(()).unwrap();
    // Until the client has heard of it, what it opens is served as before.
    while open(&page, &url).await.1 != 101 {}
}
