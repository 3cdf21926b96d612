//! Servers that behave, servers that follow a script, and a listener that remembers.

use std::future::Future;

use sockeye::{
    Incoming, Message, Server,
    web::{Data, Event, WebSocket},
};
use sockeye_testing::{
    PATIENCE,
    frame::Frame,
    handshake::{accept_for, response_with},
    others_run,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Serves with a handler; the URL.
pub(crate) async fn serve<H, F>(handler: H) -> String
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(server.run(handler));
    url
}

/// Sends everything back, choosing the first subprotocol.
pub(crate) async fn echo() -> String {
    serve(|incoming| async move {
        let first = incoming.subprotocols().next().map(str::to_owned);
        let incoming = match first {
            Some(name) => incoming.subprotocol(name),
            None => incoming,
        };
        let mut socket = incoming.accept().await?;
        while let Some(message) = socket.recv().await {
            socket.send(message?).await?;
        }
        Ok(())
    })
    .await
}

/// A server for one connection, after whose request the script goes on; the URL.
pub(crate) async fn script<F>(
    answer: impl FnOnce(TcpStream, String) -> F + Send + 'static,
) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        answer(stream, head).await;
    });
    url
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The answer that opens the WebSocket, with more header lines.
pub(crate) fn switch(request: &str, lines: &str) -> Vec<u8> {
    let key = header(request, "Sec-WebSocket-Key").unwrap();
    response_with(&accept_for(&key), lines).into_bytes()
}

pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

/// Answers, then waits until the client ends the connection; what it sent until then.
pub(crate) async fn answer(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).await.unwrap();
    let mut rest = Vec::new();
    // The client may reset the connection.
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

/// The first byte and the payload of a client's next frame.
pub(crate) async fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let frame = Frame::read_async(stream).await.unwrap();
    assert!(frame.mask.is_some(), "a client masks: {frame}");
    (frame.first, frame.payload)
}

/// An event, as remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Open,
    Text(String),
    Bytes(Vec<u8>),
    Blob(u64),
    Error,
    Close { clean: bool, code: u16, reason: String },
}

pub(crate) fn clean(code: u16, reason: &str) -> Told {
    Told::Close { clean: true, code, reason: reason.to_owned() }
}

pub(crate) fn failed() -> Told {
    Told::Close { clean: false, code: 1006, reason: String::new() }
}

/// All the events of a socket.
pub(crate) struct Events(UnboundedReceiver<Told>);

impl Events {
    pub(crate) fn of(socket: &WebSocket) -> Self {
        let (sender, receiver) = unbounded_channel();
        for name in ["open", "message", "error", "close"] {
            let sender = sender.clone();
            socket.add_event_listener(name, move |event| {
                let _ = sender.send(told(event));
            });
        }
        Self(receiver)
    }

    pub(crate) async fn next(&mut self) -> Told {
        soon(self.0.recv()).await.expect("the socket is gone")
    }

    /// Those that have come already.
    pub(crate) fn so_far(&mut self) -> Vec<Told> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }

    /// All up to `close`, and any that should wrongly follow.
    pub(crate) async fn all(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while !matches!(all.last(), Some(Told::Close { .. })) {
            all.push(self.next().await);
        }
        others_run().await;
        all.extend(self.so_far());
        all
    }

    /// Until no listener is left.
    pub(crate) async fn until_dropped(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while let Some(told) = soon(self.0.recv()).await {
            all.push(told);
        }
        all
    }
}

fn told(event: &Event) -> Told {
    if let Some(message) = event.as_message() {
        return match message.data() {
            Data::ArrayBuffer(bytes) => Told::Bytes(bytes.to_vec()),
            Data::Blob(blob) => Told::Blob(blob.size()),
            Data::Text(text) => Told::Text(text.as_str().to_owned()),
        };
    }
    if let Some(close) = event.as_close() {
        let (clean, code) = (close.was_clean(), close.code());
        return Told::Close { clean, code, reason: close.reason().to_owned() };
    }
    if event.name() == "open" { Told::Open } else { Told::Error }
}

/// A server that tells all that it receives, and how the connection ended.
pub(crate) async fn recorder() -> (String, UnboundedReceiver<Result<Message, sockeye::Closed>>) {
    let (sender, receiver) = unbounded_channel();
    let url = serve(move |incoming| {
        let sender = sender.clone();
        async move {
            let mut socket = incoming.accept().await?;
            while let Some(message) = socket.recv().await {
                sender.send(Ok(message?))?;
            }
            if let Some(closed) = socket.closed() {
                sender.send(Err(closed))?;
            }
            Ok(())
        }
    })
    .await;
    (url, receiver)
}
