//! The servers that Sockeye is measured beside, each in its fastest documented form, on one thread:
//! `sockeye-peers NAME` listens on a free port and says on which.
//!
//! `limit-echo` and `limit-fanout` are not libraries but limits: a bare epoll loop that knows just
//! enough of WebSockets to be measured; `tokio-bare` is the same on tokio. The others do what a
//! program of theirs would do. Those that insist on the C zlib are in `zlib/`, lest all others that
//! compress get it too. `tokio-tungstenite-tls` takes the files of a certificate and its key. `sockeye-peers client URL` is a client that `sockeye check --listen` checks.

mod axum;
mod bare;
mod broadcast;
mod client;
mod fastwebsockets;
mod handshake;
mod limit;
mod ring;
mod serve;
mod sockudo;
mod tls;
mod tokio_websockets;
mod tungstenite;
mod web_socket;
mod wtx;
mod yawc;

use std::io;

use serve::{run, serve};

fn main() -> io::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    match name.as_str() {
        "limit-echo" => limit::run(limit::Work::Echo),
        "limit-fanout-uring" => limit::run(limit::Work::FanOutByRing),
        "limit-fanout" => limit::run(limit::Work::FanOut),
        "tokio-bare" => serve(bare::echo),
        "tokio-tungstenite" => serve(tungstenite::echo),
        "tokio-tungstenite-tls" => tls::serve(tungstenite::echo),
        "tokio-tungstenite-batched" => serve(tungstenite::echo_batched),
        "fastwebsockets" => serve(fastwebsockets::echo),
        "tokio-websockets" => serve(tokio_websockets::echo),
        "wtx" => serve(wtx::echo),
        "wtx-deflate" => serve(wtx::echo_compressed),
        "sockudo-ws" => serve(sockudo::echo),
        "sockudo-ws-deflate" => serve(sockudo::echo_compressed),
        "sockudo-ws-deflate-small" => serve(sockudo::echo_compressed_small),
        "web-socket" => serve(web_socket::echo),
        "yawc" => serve(yawc::echo),
        "yawc-small" => serve(yawc::echo_small),
        "yawc-deflate" => serve(yawc::echo_compressed),
        "axum" => run(axum::serve),
        "client" => client::run(),
        "tokio-websockets-fanout" => broadcast::serve(tokio_websockets::listen),
        "fastwebsockets-fanout" => broadcast::serve(fastwebsockets::listen),
        _ => {
            eprintln!("usage: sockeye-peers NAME; the names are in src/main.rs");
            std::process::exit(2);
        }
    }
}
