//! The servers that Sockeye is measured beside, each in its fastest documented form, on one thread:
//! `sockeye-peers NAME` listens on a free port and says on which.
//!
//! `limit-echo` and `limit-fanout` are no libraries but limits: a bare epoll loop that knows just
//! enough of WebSockets to be measured. The others do what a program of theirs would do.

mod axum;
mod fastwebsockets;
mod handshake;
mod limit;
mod tcp;
mod tokio_websockets;
mod tungstenite;
mod yawc;

use std::future::Future;
use std::io;

use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    match name.as_str() {
        "limit-echo" => limit::run(limit::Work::Echo),
        "limit-fanout" => limit::run(limit::Work::FanOut),
        "tokio-tcp" => serve(tcp::echo),
        "tokio-tungstenite" => serve(tungstenite::echo),
        "tokio-tungstenite-batched" => serve(tungstenite::echo_batched),
        "fastwebsockets" => serve(fastwebsockets::echo),
        "tokio-websockets" => serve(tokio_websockets::echo),
        "tokio-websockets-fanout" => broadcast(tokio_websockets::listen),
        "fastwebsockets-fanout" => broadcast(fastwebsockets::listen),
        "yawc" => serve(yawc::echo),
        "yawc-deflate" => serve(yawc::echo_compressed),
        "axum" => run(axum::serve),
        _ => {
            eprintln!("usage: sockeye-peers NAME; the names are in src/main.rs");
            std::process::exit(2);
        }
    }
}

/// What a client sends to a server that broadcasts.
type Broadcast = tokio::sync::broadcast::Sender<bytes::Bytes>;

/// A runtime of one thread, a listener, and what is to be done with it.
fn run<F>(work: impl FnOnce(TcpListener) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        work(listener).await
    })
}

/// A task for each connection.
fn serve<F>(connection: impl Fn(TcpStream) -> F + Copy + 'static) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    run(async move |listener| {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(connection(stream));
        }
    })
}

/// A task for each connection, all of which hear what any of them says.
fn broadcast<F>(connection: impl Fn(TcpStream, Broadcast) -> F + Copy + 'static) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    run(async move |listener| {
        let all = Broadcast::new(1024);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(connection(stream, all.clone()));
        }
    })
}
