//! The limit on tokio: what its tasks, reads and writes cost where no more is done than `limit-echo`
//! does.

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{handshake, limit};

pub(crate) async fn echo(mut stream: TcpStream) {
    let (mut buffer, mut out) = (BytesMut::with_capacity(64 * 1024), Vec::new());
    let (mut is_open, mut is_closed) = (false, false);
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        if !is_open && let Some((answer, end)) = handshake::answer(&buffer) {
            out.extend_from_slice(answer.as_bytes());
            buffer.advance(end);
            is_open = true;
        }
        while is_open && let Some(length) = limit::echo(&mut buffer, &mut out) {
            is_closed |= limit::is_close(buffer[0]);
            buffer.advance(length);
        }
        if stream.write_all(&out).await.is_err() || is_closed {
            return;
        }
        out.clear();
        // What was taken is free again.
        buffer.reserve(64 * 1024);
    }
}
