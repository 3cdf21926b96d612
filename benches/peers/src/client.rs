//! tokio-tungstenite as a client that connects again and again and sends every message back, until
//! connections are refused.

use std::io;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::{connect_async, tungstenite::Error};

/// How many connections are open at a time.
const WORKERS: usize = 4;

pub(crate) fn run() -> io::Result<()> {
    let url = std::env::args().nth(2).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let workers: Vec<_> = (0..WORKERS).map(|_| tokio::spawn(echo(url.clone()))).collect();
        for worker in workers {
            worker.await?;
        }
        Ok(())
    })
}

async fn echo(url: String) {
    loop {
        let mut socket = match connect_async(&url).await {
            Ok((socket, _)) => socket,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return,
            Err(_) => continue,
        };
        while let Some(Ok(message)) = socket.next().await {
            let is_data = message.is_text() || message.is_binary();
            if is_data && socket.send(message).await.is_err() {
                break;
            }
        }
    }
}
