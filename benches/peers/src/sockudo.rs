//! sockudo-ws, its echo loop as its README has it: replies are queued, and the stream sends them
//! together before it reads again.

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use sockudo_ws::deflate::{DeflateConfig, negotiate_server_deflate};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request, server_handshake};
use sockudo_ws::{CompressedWebSocketStream, Config, Error, Message, Role, WebSocketStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) async fn echo(mut stream: TcpStream) {
    let Ok(opened) = server_handshake(&mut stream).await else { return };
    let (role, config) = (Role::Server, Config::default());
    talk(WebSocketStream::from_raw_with_leftover(stream, role, config, opened.leftover)).await;
}

/// With permessage-deflate as the client offers it, at its defaults: level 6, from 32 bytes on.
/// Its handshake does not negotiate by itself, so this is its parts put together.
pub(crate) async fn echo_compressed(stream: TcpStream) {
    compressed(stream, DeflateConfig::default()).await;
}

/// The same with what it has for many connections: level 1, windows of 1 KiB.
pub(crate) async fn echo_compressed_small(stream: TcpStream) {
    compressed(stream, DeflateConfig::low_memory()).await;
}

async fn compressed(mut stream: TcpStream, policy: DeflateConfig) {
    let mut head = bytes::BytesMut::with_capacity(4096);
    let (answer, config) = loop {
        match stream.read_buf(&mut head).await {
            Ok(1..) => {}
            _ => return,
        }
        let Ok(request) = parse_request(&head) else { return };
        let Some((request, _)) = request else { continue };
        let offers = request.extensions.unwrap_or_default();
        let Some(agreed) = negotiate_server_deflate(offers, &policy) else {
            return;
        };
        let (key, extension) = (generate_accept_key(request.key), agreed.to_response_header());
        break (build_response(&key, None, Some(&extension)), agreed.config);
    };
    if stream.write_all(&answer).await.is_ok() {
        talk(CompressedWebSocketStream::server(stream, Config::default(), config)).await;
    }
}

async fn talk<S>(mut socket: S)
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    while let Some(Ok(message)) = socket.next().await {
        let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
        if is_data && socket.feed(message).await.is_err() {
            return;
        }
    }
}
