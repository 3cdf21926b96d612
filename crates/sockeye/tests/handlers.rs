//! What the peer and the log are told of a handler that fails.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

mod http;

use std::{
    fmt::{Debug, Write},
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, response::Response, routing::any};
use sockeye::{AcceptError, CloseCode, Incoming, Server, Upgrade, WebSocket, connect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tracing::{Level, Metadata, field, span};

use crate::http::{HANDSHAKE, exchange};

type Anything = Box<dyn std::error::Error + Send + Sync>;

async fn serve<H, F>(handler: H) -> SocketAddr
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Anything>> + Send + 'static,
{
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(handler));
    address
}

/// The code that a client is told.
async fn code(address: SocketAddr) -> u16 {
    let mut socket = connect(format!("ws://{address}/")).await.unwrap();
    socket.send("hello").await.unwrap();
    assert!(socket.recv().await.is_none());
    socket.closed().unwrap().code()
}

/// The lines of the log from some level on.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<String>>>, Level);

impl Log {
    fn record() -> Self {
        Self::from(Level::WARN)
    }

    fn from(level: Level) -> Self {
        let log = Self(Arc::default(), level);
        tracing::subscriber::set_global_default(log.clone()).unwrap();
        log
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.1 && metadata.target().starts_with("sockeye")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl field::Visit for Line {
            fn record_debug(&mut self, field: &field::Field, value: &dyn Debug) {
                write!(self.0, "{}={value:?} ", field.name()).unwrap();
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn a_handler_that_fails_closes_with_1011_and_the_log_says_why_and_for_which_client() {
    let log = Log::record();
    let failing = serve(async |incoming: Incoming| {
        let mut socket = incoming.accept().await?;
        socket.recv().await;
        Err("the disk is full".into())
    });
    assert_eq!(code(failing.await).await, 1011);
    let warnings = log.lines();
    assert!(matches!(&warnings[..], [one] if one.contains("the disk is full")), "{warnings:?}");
    assert!(warnings[0].contains("127.0.0.1:"), "{warnings:?}");

    let panicking = serve(async |incoming: Incoming| {
        let mut socket = incoming.accept().await?;
        socket.recv().await;
        panic!("{}", "a bug")
    });
    assert_eq!(code(panicking.await).await, 1011);
    let warnings = log.lines();
    assert!(matches!(&warnings[..], [one] if one.contains("panicked: a bug")), "{warnings:?}");

    let ending = serve(async |incoming: Incoming| {
        incoming.accept().await?.recv().await;
        Ok(())
    });
    assert_eq!(code(ending.await).await, 1001);
    assert!(log.lines().is_empty());
}

#[tokio::test]
async fn what_a_handler_dropped_before_it_failed_was_closed_in_order() {
    let (fail, failing) = tokio::sync::watch::channel(false);
    let address = serve(move |incoming: Incoming| {
        let mut failing = failing.clone();
        async move {
            let mut socket = incoming.accept().await?;
            socket.recv().await;
            drop(socket);
            failing.wait_for(|fail| *fail).await?;
            Err("later".into())
        }
    })
    .await;
    assert_eq!(code(address).await, 1001);
    fail.send(true).unwrap();
}

#[tokio::test]
async fn a_handler_that_fails_before_it_accepts_answers_500() {
    let log = Log::record();
    let failing = serve(async |_: Incoming| Err("no database".into())).await;
    assert_eq!(exchange(failing, HANDSHAKE).await.status, 500);
    assert_eq!(log.lines().len(), 1);

    let panicking = serve(async |incoming: Incoming| {
        tokio::task::yield_now().await;
        drop(incoming.subprotocol("chat"));
        panic!("{}", "a bug")
    })
    .await;
    let answer = exchange(panicking, HANDSHAKE).await;
    assert_eq!(answer.status, 500);
    assert!(!answer.body.contains("a bug"), "{answer:?}");

    let wrong = serve(async |incoming: Incoming| {
        let accepted =
            incoming.header("x-room", "lobby").header("x-tenant", "a\r\nx-admin: 1").accept();
        let error = accepted.await.unwrap_err();
        assert!(matches!(error, AcceptError::Header(_)), "{error:?}");
        assert_eq!(error.to_string(), "invalid header: x-tenant: failed to parse header value");
        Ok(())
    })
    .await;
    let answer = exchange(wrong, HANDSHAKE).await;
    assert_eq!((answer.status, answer.header("x-admin")), (500, None));

    let silent = serve(async |_: Incoming| Ok(())).await;
    let mut stream = TcpStream::connect(silent).await.unwrap();
    stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

/// Clients cannot write the log.
#[tokio::test]
async fn a_handler_that_fails_because_its_peer_has_left_is_no_warning() {
    let log = Log::record();
    let address = serve(async |incoming: Incoming| {
        let mut socket = incoming.accept().await?;
        while let Some(message) = socket.recv().await {
            socket.send(message?).await?;
        }
        Ok(())
    })
    .await;
    let mut socket = connect(format!("ws://{address}/")).await.unwrap();
    socket.send("hello").await.unwrap();
    assert!(socket.recv().await.unwrap().is_ok());
    // More than a message may have: the handler returns the error.
    socket.send(vec![0; 2 << 20]).await.unwrap();
    assert!(socket.recv().await.is_none());
    assert_eq!(socket.closed().unwrap().code(), 1009);
    assert_eq!(log.lines(), [""; 0]);
}

#[tokio::test]
async fn a_handler_of_an_upgrade_that_panics_closes_with_1011() {
    async fn chat(upgrade: Upgrade) -> Response {
        upgrade.on_upgrade(async |mut socket: WebSocket| {
            socket.recv().await;
            panic!("{}", "a bug")
        })
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/", any(chat));
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(code(address).await, u16::from(CloseCode::INTERNAL_ERROR));
}

/// A 403 of a page that should be let in is looked for in the log.
#[tokio::test]
async fn a_refusal_is_logged_with_the_page_and_the_host() {
    let log = Log::from(Level::DEBUG);
    async fn chat(upgrade: Upgrade) -> Response {
        upgrade.on_upgrade(async |_: WebSocket| {})
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let axum = listener.local_addr().unwrap();
    let app = Router::new().route("/chat", any(chat));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let own = serve(async |_: Incoming| Ok(())).await;
    let foreign = HANDSHAKE.replacen("Host", "Origin: https://evil.example\r\nHost", 1);
    let incomplete = foreign.replacen("Upgrade: websocket\r\n", "", 1);
    for server in [axum, own] {
        for (request, status) in [(&foreign, 403), (&incomplete, 426)] {
            log.lines();
            assert_eq!(exchange(server, request).await.status, status);
            let lines = log.lines();
            let [line] = &lines[..] else { panic!("{lines:?}") };
            let host = HANDSHAKE.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap();
            for part in ["https://evil.example", host, &format!("refused with {status}")] {
                assert!(line.contains(part), "{part:?} is not in {line:?}");
            }
        }
    }
}
