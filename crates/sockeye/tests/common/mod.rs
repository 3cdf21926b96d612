//! Two ends of a connection, over TCP and in memory, and a peer made by hand.
#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response};
use hyper::{body::Incoming as Body, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sockeye::{AcceptError, Client, Config, Incoming, Server, Upgrade, WebSocket};
pub(crate) use sockeye_testing::{
    PATIENCE,
    frame::{BINARY, CLOSE, PING, PONG, TEXT},
};
use sockeye_testing::{
    frame::Frame,
    handshake::{Head, accept_for, request, response},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

/// How much the link in memory takes before its reader has to read.
pub(crate) const MEMORY_LINK: usize = 16 << 10;

/// What the two ends are connected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Tcp,
    Memory,
}

pub(crate) const LINKS: [Link; 2] = [Link::Tcp, Link::Memory];

/// What has to come, comes.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes too long")
}

/// A client and a server of the library.
pub(crate) async fn pair(link: Link) -> (WebSocket, WebSocket) {
    pair_with(link, Config::default(), Config::default()).await
}

pub(crate) async fn pair_with(
    link: Link,
    client: Config,
    server: Config,
) -> (WebSocket, WebSocket) {
    match link {
        Link::Tcp => {
            let (address, mut accepted) = listen(server).await;
            let url = format!("ws://{address}/");
            let client = Client::new(&url).unwrap().config(client).connect().await.unwrap();
            (client, accepted.recv().await.unwrap())
        }
        Link::Memory => {
            let (near, far) = duplex(MEMORY_LINK);
            let mut accepted = serve_in_memory(far, server);
            let client = Client::new("ws://memory/").unwrap().config(client);
            let client = client.open_over(near).await.unwrap().socket;
            (client, accepted.recv().await.unwrap())
        }
    }
}

/// A server of the library, and a client made by hand.
pub(crate) async fn server_and_raw(link: Link, config: Config) -> (WebSocket, Raw) {
    let (mut raw, mut accepted) = match link {
        Link::Tcp => {
            let (address, accepted) = listen(config).await;
            (Raw::new(TcpStream::connect(address).await.unwrap()), accepted)
        }
        Link::Memory => {
            let (near, far) = duplex(MEMORY_LINK);
            (Raw::new(near), serve_in_memory(far, config))
        }
    };
    raw.masks = true;
    raw.write(request("/").as_bytes()).await;
    assert_eq!(Head::read_async(&mut raw.stream).await.unwrap().status(), 101);
    (accepted.recv().await.unwrap(), raw)
}

/// A client of the library, and a server made by hand.
pub(crate) async fn client_and_raw(link: Link, config: Config) -> (WebSocket, Raw) {
    match link {
        Link::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("ws://{}/", listener.local_addr().unwrap());
            let client = Client::new(&url).unwrap().config(config);
            let accept = async { Raw::accept(listener.accept().await.unwrap().0).await };
            let (client, raw) = tokio::join!(client.connect(), accept);
            (client.unwrap(), raw)
        }
        Link::Memory => {
            let (near, far) = duplex(MEMORY_LINK);
            let client = Client::new("ws://memory/").unwrap().config(config);
            let (client, raw) = tokio::join!(client.open_over(near), Raw::accept(far));
            (client.unwrap().socket, raw)
        }
    }
}

async fn listen(config: Config) -> (std::net::SocketAddr, mpsc::Receiver<WebSocket>) {
    let server = Server::bind("127.0.0.1:0").await.unwrap().config(config);
    let address = server.local_addr().unwrap();
    let (sender, accepted) = mpsc::channel(1);
    tokio::spawn(server.run(move |incoming: Incoming| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(incoming.accept().await?).await;
            Ok::<(), AcceptError>(())
        }
    }));
    (address, accepted)
}

/// hyper serves one connection in memory, and hands its WebSocket over.
fn serve_in_memory(far: DuplexStream, config: Config) -> mpsc::Receiver<WebSocket> {
    let (sender, accepted) = mpsc::channel(1);
    let service = service_fn(move |mut request: Request<Body>| {
        let (sender, config) = (sender.clone(), config.clone());
        async move {
            let upgrade = Upgrade::new(&mut request).unwrap().config(config);
            let (response, opening) = upgrade.accept().unwrap();
            tokio::spawn(async move { sender.send(opening.open().await.unwrap()).await });
            Ok::<Response<String>, Infallible>(response.map(|()| String::new()))
        }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(far), service);
    tokio::spawn(serving.with_upgrades());
    accepted
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A peer made by hand: it sends the bytes it is told to, and reads only when told to.
pub(crate) struct Raw {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) input: BytesMut,
    pub(crate) masks: bool,
}

impl Raw {
    fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), input: BytesMut::new(), masks: false }
    }

    pub(crate) async fn accept(stream: impl Stream + 'static) -> Self {
        let mut raw = Self::new(stream);
        let request = Head::read_async(&mut raw.stream).await.unwrap();
        let accept = accept_for(request.header("sec-websocket-key").unwrap());
        raw.write(response(&accept).as_bytes()).await;
        raw
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        self.write(&self.frame(first, payload)).await;
    }

    /// A frame of this end. The masking key is all zeros, so that the payload stays legible.
    pub(crate) fn frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        let frame = Frame::unmasked(first, payload);
        if self.masks { frame.mask([0; 4]).encode() } else { frame.encode() }
    }

    /// The next frame: its first byte and its payload; `None` at the end.
    pub(crate) async fn frame_read(&mut self) -> Option<(u8, Bytes)> {
        loop {
            if let Some((frame, count)) = Frame::parse(&self.input) {
                self.input.advance(count);
                return Some((frame.first, frame.payload.into()));
            }
            if !matches!(self.stream.read_buf(&mut self.input).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// The next frame, which has to come.
    pub(crate) async fn expect_frame(&mut self) -> (u8, Bytes) {
        soon(self.frame_read()).await.expect("a frame, not the end")
    }

    /// The other end ends the connection, whatever it sends before.
    pub(crate) async fn expect_end(&mut self) {
        while soon(self.frame_read()).await.is_some() {}
    }
}

/// A transport that counts how often it is asked for bytes.
pub(crate) struct CountReads<T>(pub(crate) T, pub(crate) Arc<AtomicUsize>);

impl<T: AsyncRead + Unpin> AsyncRead for CountReads<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CountReads<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
