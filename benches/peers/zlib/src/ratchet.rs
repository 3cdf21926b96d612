//! ratchet between a buffered reader and writer, as its own example has it: without them it asks
//! the system for each header by itself.

use bytes::BytesMut;
use ratchet_rs::deflate::DeflateExtProvider;
use ratchet_rs::{
    ExtensionProvider, Message, NoExtProvider, PayloadType, SubprotocolRegistry, WebSocketConfig,
};
use tokio::io::{BufReader, BufWriter};
use tokio::net::TcpStream;

pub(crate) async fn echo(stream: TcpStream) {
    serve(stream, NoExtProvider).await;
}

/// With permessage-deflate as the client offers it, at its default, the fastest level.
pub(crate) async fn echo_compressed(stream: TcpStream) {
    serve(stream, DeflateExtProvider::default()).await;
}

async fn serve<E>(stream: TcpStream, extension: E)
where
    E: ExtensionProvider + Send + Sync + 'static,
    E::Extension: Send,
{
    let stream = BufReader::new(BufWriter::new(stream));
    let config = WebSocketConfig::default();
    let registry = SubprotocolRegistry::default();
    let Ok(upgrader) = ratchet_rs::accept_with(stream, config, extension, registry).await else {
        return;
    };
    let Ok(upgraded) = upgrader.upgrade().await else { return };
    let mut socket = upgraded.websocket;
    let mut message = BytesMut::new();
    loop {
        let kind = match socket.read(&mut message).await {
            Ok(Message::Text) if std::str::from_utf8(&message).is_ok() => PayloadType::Text,
            Ok(Message::Binary) => PayloadType::Binary,
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            _ => return,
        };
        if socket.write(&mut message, kind).await.is_err() || socket.flush().await.is_err() {
            return;
        }
        message.clear();
    }
}
