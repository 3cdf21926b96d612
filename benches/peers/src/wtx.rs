//! wtx, its echo loop as its own example has it: payloads are sent from where they were read to.

use tokio::net::TcpStream;
use wtx::collection::Vector;
use wtx::web_socket::compression::Flate2;
use wtx::web_socket::{Compression, OpCode, WebSocketAcceptor, WebSocketPayloadOrigin};

pub(crate) async fn echo(stream: TcpStream) {
    let _ = talk(stream, ()).await;
}

/// With permessage-deflate at its defaults: without context takeover, whatever the client offers.
pub(crate) async fn echo_compressed(stream: TcpStream) {
    let _ = talk(stream, Flate2::default()).await;
}

async fn talk(stream: TcpStream, compression: impl Compression<false>) -> wtx::Result<()> {
    let mut socket = WebSocketAcceptor::default().compression(compression).accept(stream).await?;
    let mut message = Vector::new();
    let (mut common, mut reader, mut writer) = socket.split_mut();
    loop {
        let origin = WebSocketPayloadOrigin::Adaptive;
        let mut frame = reader.read_frame(&mut message, &mut common, origin).await?;
        match frame.op_code() {
            OpCode::Binary | OpCode::Text => writer.write_frame(&mut common, &mut frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
