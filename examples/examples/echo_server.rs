//! A server that sends every message back, text as text and bytes as bytes.
//!
//!     cargo run -p sockeye-examples --example echo_server
//!
//! Then talk to it: `cargo run -p sockeye-examples --example client`.

use std::error::Error;

use sockeye::{Incoming, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::bind("127.0.0.1:9001").await?;
    println!("listening on ws://{}/", server.local_addr()?);
    // Every client gets a task of its own, which runs `echo`. This goes on until Ctrl-C.
    server.run(echo).await;
    Ok(())
}

/// One client, from its request to its leave.
async fn echo(incoming: Incoming) -> Result<(), Box<dyn Error + Send + Sync>> {
    // The request has come and is in order, but is not answered yet. Here is the place to look at
    // the path, the headers and the address, and to refuse: `incoming.refuse(status, text).await`.
    let peer = incoming.peer_addr();
    let mut socket = incoming.accept().await?;
    println!("{peer} came");

    // Pings are answered and a Close is answered inside; what comes out here are messages alone.
    while let Some(message) = socket.recv().await {
        // Waits if the client does not read, so that a slow one costs no memory. While it waits,
        // nothing more is read either: TCP tells the client to send less.
        socket.send(message?).await?;
    }

    // `None` means that the connection has ended in order; this is how.
    if let Some(closed) = socket.closed() {
        println!("{peer} left: {closed}");
    }
    Ok(())
}
