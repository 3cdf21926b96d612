//! yawc, tuned as its own benchmark does: large buffers, and one flush for all that came together.

use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use yawc::{CompressionLevel, OpCode, Options, WebSocket};

pub(crate) async fn echo(stream: TcpStream) {
    let options = Options::default()
        .without_compression()
        .with_limits(16 << 20, 32 << 20)
        .with_read_buffer_capacity(128 * 1024)
        .with_backpressure_boundary(64 * 1024)
        .with_utf8();
    serve(stream, options).await;
}

/// With permessage-deflate, no context takeover.
pub(crate) async fn echo_compressed(stream: TcpStream) {
    let options = Options::default()
        .with_compression_level(CompressionLevel::default())
        .server_no_context_takeover()
        .client_no_context_takeover()
        .with_utf8();
    serve(stream, options).await;
}

async fn serve(stream: TcpStream, options: Options) {
    let service = service_fn(|mut request: Request<Incoming>| {
        let opened = WebSocket::upgrade_with_options(&mut request, options.clone());
        async move {
            let (response, opening) = opened?;
            tokio::spawn(async move {
                let Ok(mut socket) = opening.await else { return };
                while let Some(mut frame) = socket.next().await {
                    loop {
                        let is_data = matches!(frame.opcode(), OpCode::Text | OpCode::Binary);
                        if is_data && socket.feed(frame).await.is_err() {
                            return;
                        }
                        match socket.next().now_or_never() {
                            Some(Some(more)) => frame = more,
                            Some(None) => return,
                            None => break,
                        }
                    }
                    if socket.flush().await.is_err() {
                        return;
                    }
                }
            });
            yawc::Result::<Response<Empty<Bytes>>>::Ok(response)
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = connection.with_upgrades().await;
}
