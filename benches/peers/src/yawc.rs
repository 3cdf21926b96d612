//! yawc behind hyper, with one flush for all that came together, as its own benchmark does.

use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use yawc::{CompressionLevel, DeflatePool, OpCode, Options, WebSocket};

/// Tuned for speed as its benchmark is: large buffers.
pub(crate) async fn echo(stream: TcpStream) {
    let options = Options::default()
        .without_compression()
        .with_limits(16 << 20, 32 << 20)
        .with_read_buffer_capacity(128 * 1024)
        .with_backpressure_boundary(64 * 1024)
        .with_utf8();
    serve(stream, options).await;
}

/// Tuned for many idle connections as its documentation says: small buffers.
pub(crate) async fn echo_small(stream: TcpStream) {
    serve(stream, small().without_compression()).await;
}

/// With permessage-deflate as the client offers it, at its default level; without context takeover
/// the connections share their compressors, as its documentation says for many of them.
pub(crate) async fn echo_compressed(stream: TcpStream) {
    static POOL: LazyLock<DeflatePool> = LazyLock::new(|| DeflatePool::new(64));
    let options =
        small().with_compression_level(CompressionLevel::default()).with_deflate_pool(POOL.clone());
    serve(stream, options).await;
}

fn small() -> Options {
    Options::default().with_read_buffer_capacity(1024).with_write_buffer_capacity(1024).with_utf8()
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
