//! web-socket over a buffered reader, as its own benchmark has it; it writes header and payload
//! vectored. It has no handshake of its own and leaves UTF-8 to its user.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use web_socket::{DataType, Event, Frame, MessageType, WebSocket};

use crate::handshake;

pub(crate) async fn echo(mut stream: TcpStream) {
    let mut head = Vec::new();
    let answer = loop {
        match stream.read_buf(&mut head).await {
            Ok(1..) => {}
            _ => return,
        }
        if let Some((answer, _)) = handshake::answer(&head) {
            break answer;
        }
    };
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    let mut socket = WebSocket::server(BufReader::new(stream));
    while let Ok(Event::Data { ty: DataType::Complete(kind), data }) = socket.recv().await {
        let is_text = matches!(kind, MessageType::Text);
        if is_text && std::str::from_utf8(&data).is_err() {
            return;
        }
        let opcode = if is_text { 1 } else { 2 };
        let frame = Frame { fin: true, opcode, data: &data };
        if socket.send(frame).await.is_err() {
            return;
        }
    }
}
