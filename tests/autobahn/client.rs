//! The client that Autobahn's fuzzing server tests: `autobahn-client ws://127.0.0.1:9002 AGENT`.
//!
//! It opens each case, sends back what it gets, and has the report written at the end. What goes
//! wrong is for the report to tell.

#![expect(clippy::print_stderr, reason = "a person watches it")]

use std::error::Error;

use sockeye::{Client, Config, DeflateConfig, WebSocket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(server), Some(agent)) = (args.next(), args.next()) else {
        return Err("usage: autobahn-client URL AGENT".into());
    };
    let mut counting = open(&server, "/getCaseCount").await?;
    let count = counting.recv().await.ok_or("the server did not tell how many cases it has")??;
    let count: u32 = count.as_text().ok_or("a number is text")?.parse()?;
    for case in 1..=count {
        let socket = open(&server, &format!("/runCase?case={case}&agent={agent}")).await;
        if let Err(error) = echo(socket).await {
            eprintln!("case {case}: {error}");
        }
    }
    let mut reporting = open(&server, &format!("/updateReports?agent={agent}")).await?;
    while reporting.recv().await.is_some() {}
    Ok(())
}

/// With context takeover, unless the server will not have it: the cases are about both.
async fn open(server: &str, path: &str) -> Result<WebSocket, Box<dyn Error>> {
    let deflate = DeflateConfig::default().server_takeover(true).client_takeover(true);
    let config = Config::default().max_message_size(32 << 20).max_fragments(70_000);
    let client = Client::new(format!("{server}{path}"))?.deflate(deflate);
    Ok(client.config(config.keepalive(None)).connect().await?)
}

async fn echo(socket: Result<WebSocket, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let mut socket = socket?;
    while let Some(message) = socket.recv().await {
        // The server may have closed meanwhile; then the reader says how it ended.
        let _ = socket.send(message?).await;
    }
    Ok(())
}
