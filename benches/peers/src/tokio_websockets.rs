//! tokio-websockets with its own acceptor.

use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_websockets::{Message, ServerBuilder};

use crate::broadcast::Broadcast;

pub(crate) async fn echo(stream: TcpStream) {
    let Ok((_, mut socket)) = ServerBuilder::new().accept(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Hears what any of the others says, all that is there in one write.
pub(crate) async fn listen(stream: TcpStream, all: Broadcast) {
    let Ok((_, socket)) = ServerBuilder::new().accept(stream).await else { return };
    let mut news = all.subscribe();
    let (mut writer, mut reader) = socket.split();
    let reading = async {
        while let Some(Ok(message)) = reader.next().await {
            let _ = all.send(Bytes::from(message.into_payload()));
        }
    };
    let writing = async {
        while let Ok(mut message) = news.recv().await {
            loop {
                let text = std::str::from_utf8(&message).unwrap_or_default().to_owned();
                if writer.feed(Message::text(text)).await.is_err() {
                    return;
                }
                match news.recv().now_or_never() {
                    Some(Ok(more)) => message = more,
                    _ => break,
                }
            }
            if writer.flush().await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = reading => {}, () = writing => {} }
}
