//! A server and its client in one program, for `ws://` alone: `sockeye` without its features.
//!
//!     cargo run -p sockeye-minimal
//!     cargo tree -p sockeye-minimal -e normal --prefix none | sort -u | wc -l

use std::error::Error;

use sockeye::{CloseCode, Incoming, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", echo("hello").await?);
    Ok(())
}

/// What an echo server on a free port sends back.
async fn echo(text: &str) -> Result<String, Box<dyn Error>> {
    let server = Server::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/", server.local_addr()?);
    tokio::spawn(server.run(async |incoming: Incoming| {
        let mut socket = incoming.accept().await?;
        while let Some(message) = socket.recv().await {
            socket.send(message?).await?;
        }
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    }));

    let mut socket = sockeye::connect(url).await?;
    socket.send(text).await?;
    let echo = socket.recv().await.ok_or("the server closed")??;
    socket.close(CloseCode::NORMAL).await;
    Ok(echo.as_text().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn what_is_sent_comes_back() {
        assert!(super::echo("hello").await.is_ok_and(|echo| echo == "hello"));
    }
}
