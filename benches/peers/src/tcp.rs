//! No WebSocket at all but its handshake: what tokio costs to send bytes back. The masks stay on,
//! so only a measurement can talk to it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::handshake;

pub(crate) async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    let mut head = Vec::new();
    loop {
        match stream.read_buf(&mut head).await {
            Ok(count) if count > 0 => {}
            _ => return,
        }
        if let Some((answer, _)) = handshake::answer(&head) {
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            break;
        }
    }
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
