//! soketto between a buffered reader and writer, as its own example has it.

use futures_util::io::{BufReader, BufWriter};
use soketto::extension::deflate::Deflate;
use soketto::handshake::Server;
use soketto::handshake::server::Response;
use soketto::{Data, Mode};
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

pub(crate) async fn echo(stream: TcpStream) {
    serve(stream, false).await;
}

/// With permessage-deflate, for which it knows no context takeover, at zlib's default level.
pub(crate) async fn echo_compressed(stream: TcpStream) {
    serve(stream, true).await;
}

async fn serve(stream: TcpStream, is_compressed: bool) {
    let mut server = Server::new(BufReader::new(BufWriter::new(stream.compat())));
    if is_compressed {
        server.add_extension(Box::new(Deflate::new(Mode::Server)));
    }
    let Ok(request) = server.receive_request().await else { return };
    let answer = Response::Accept { key: request.key(), protocol: None };
    if server.send_response(&answer).await.is_err() {
        return;
    }
    let (mut sender, mut receiver) = server.into_builder().finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        let sent = match receiver.receive_data(&mut message).await {
            Ok(Data::Binary(_)) => sender.send_binary_mut(&mut message).await,
            Ok(Data::Text(_)) => match std::str::from_utf8(&message) {
                Ok(text) => sender.send_text(text).await,
                Err(_) => return,
            },
            Err(_) => return,
        };
        if sent.is_err() || sender.flush().await.is_err() {
            return;
        }
    }
}
