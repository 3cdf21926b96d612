//! A client: connects, sends, receives, measures, and closes.
//!
//!     cargo run -p sockeye-examples --example client [URL]
//!
//! Without a URL it talks to the example `echo_server`, which must be running.

use std::error::Error;

use sockeye::{CloseCode, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001/".to_owned());

    // For headers, subprotocols, limits and deadlines of your own there is `sockeye::Client`.
    let mut socket = sockeye::connect(&url).await?;

    // A string becomes a text message, bytes become a binary one.
    socket.send("hello").await?;
    socket.send(vec![1, 2, 3]).await?;
    for _ in 0..2 {
        // `None` would mean that the server has closed the connection.
        match socket.recv().await.transpose()? {
            Some(Message::Text(text)) => println!("text: {text}"),
            Some(Message::Binary(bytes)) => println!("binary: {bytes:?}"),
            None => break,
        }
    }

    println!("a ping took {:?} to come back", socket.ping().await?);

    // Send a Close and wait for the server's: then both know that nothing was lost.
    let closed = socket.close(CloseCode::NORMAL).await;
    println!("{closed}");
    Ok(())
}
