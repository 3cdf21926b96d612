//! tokio-tungstenite with a read buffer of 4 KiB, which is faster than its default of 128 KiB.

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

async fn accept<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Option<WebSocketStream<S>> {
    let config = WebSocketConfig::default().read_buffer_size(4096);
    accept_async_with_config(stream, Some(config)).await.ok()
}

pub(crate) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let Some(mut socket) = accept(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// One write for all that came together.
pub(crate) async fn echo_batched(stream: TcpStream) {
    let Some(mut socket) = accept(stream).await else { return };
    while let Some(Ok(mut message)) = socket.next().await {
        loop {
            let is_data = message.is_text() || message.is_binary();
            if is_data && socket.feed(message).await.is_err() {
                return;
            }
            match socket.next().now_or_never() {
                Some(Some(Ok(more))) => message = more,
                Some(_) => return,
                None => break,
            }
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}
