//! An HTTP/2 server made with hyper, whose WebSockets are handed to the test.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use sockeye::{Client, DeflateConfig, Upgrade, WebSocket};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    sockets: UnboundedReceiver<WebSocket>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|http| {
            http.enable_connect_protocol();
        })
        .await
    }

    /// A server that does not set `SETTINGS_ENABLE_CONNECT_PROTOCOL`.
    pub(crate) async fn without_extended_connect() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(configure: impl Fn(&mut http2::Builder<TokioExecutor>)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, sockets) = unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        let mut http = http2::Builder::new(TokioExecutor::new());
        // As the documentation of `sockeye::http2` has it.
        http.timer(TokioTimer::new())
            .max_concurrent_streams(200)
            .initial_stream_window_size(64 << 10)
            .initial_connection_window_size(16 << 20);
        configure(&mut http);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                let sender = sender.clone();
                let service = service_fn(move |request| answer(request, sender.clone()));
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, sockets, connections }
    }

    /// The next WebSocket that a client has opened.
    pub(crate) async fn accept(&mut self) -> WebSocket {
        self.sockets.recv().await.unwrap()
    }

    /// Sends back whatever comes, on every WebSocket from now on.
    pub(crate) fn echo(&mut self) {
        let (_, empty) = unbounded_channel();
        let mut sockets = std::mem::replace(&mut self.sockets, empty);
        tokio::spawn(async move {
            while let Some(mut socket) = sockets.recv().await {
                tokio::spawn(async move {
                    while let Some(Ok(message)) = socket.recv().await {
                        if socket.send(message).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
    }

    /// How many TCP connections have come.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(format!("ws://{}/chat?a=b", self.address)).unwrap()
    }

    pub(crate) async fn connect(&self) -> sockeye::http2::Connection {
        sockeye::http2::Connection::connect(&self.client()).await.unwrap()
    }

    /// A WebSocket from both ends.
    pub(crate) async fn pair(
        &mut self,
        connection: &sockeye::http2::Connection,
    ) -> (WebSocket, WebSocket) {
        let opened = connection.open(self.client()).await.unwrap();
        (opened.socket, self.accept().await)
    }
}

/// Opens a WebSocket, with the subprotocol `chat` if it is offered.
pub(crate) async fn answer(
    mut request: Request<Incoming>,
    sockets: UnboundedSender<WebSocket>,
) -> Result<Response<String>, Infallible> {
    if request.uri().path() != "/chat" {
        return Ok(Response::builder().status(404).body(String::new()).unwrap());
    }
    let mut upgrade = match Upgrade::new(&mut request) {
        Ok(upgrade) => upgrade.deflate(DeflateConfig::default()),
        Err(refusal) => return Ok(refusal.into()),
    };
    if upgrade.subprotocols().any(|name| name == "chat") {
        upgrade = upgrade.subprotocol("chat");
    }
    let (response, opening) = upgrade.accept().unwrap();
    tokio::spawn(async move {
        if let Ok(socket) = opening.open().await {
            // A test that is over takes no more.
            let _ = sockets.send(socket);
        }
    });
    Ok(response.map(|()| String::new()))
}
