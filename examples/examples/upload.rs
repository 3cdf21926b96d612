//! A file of any size, sent as one message; neither end holds more than a piece of it.
//!
//!     cargo run -p sockeye-examples --example upload             # takes files
//!     cargo run -p sockeye-examples --example upload -- FILE     # sends one
//!
//! Any WebSocket client may send: to this server it is one large message like any other.

use std::error::Error;

use sockeye::{Client, CloseCode, Config, Incoming, MessageKind, Server};
use tokio::{fs::File, io};

const ADDRESS: &str = "127.0.0.1:9001";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args_os().nth(1) {
        Some(path) => send(File::open(path).await?).await,
        None => serve().await,
    }
}

async fn send(mut file: File) -> Result<(), Box<dyn Error>> {
    let mut socket = Client::new(format!("ws://{ADDRESS}/"))?.connect().await?;
    // Waits for the server wherever that is slower than the file.
    let mut message = socket.send_stream(MessageKind::Binary).await?;
    io::copy(&mut file, &mut message).await?;
    // Dropped before this, the message would not look whole: the connection would be closed inside it.
    message.finish().await?;
    if let Some(receipt) = socket.recv().await {
        println!("the server {}", receipt?.as_text().unwrap_or_default());
    }
    socket.close(CloseCode::NORMAL).await;
    Ok(())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    // What `recv` takes keeps its limit of 1 MiB; what `recv_stream` takes may have 16 GiB.
    let config = Config::default().max_streamed_size(16 << 30);
    println!("listening on ws://{ADDRESS}/");
    Server::bind(ADDRESS).await?.config(config).run(take).await;
    Ok(())
}

/// Takes one client's files, one after another.
async fn take(incoming: Incoming) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut socket = incoming.accept().await?;
    while let Some(message) = socket.recv_stream().await {
        // Here it goes nowhere; a real server would create a file.
        let size = io::copy(&mut message?, &mut io::sink()).await?;
        socket.send(format!("has {size} bytes")).await?;
    }
    Ok(())
}
