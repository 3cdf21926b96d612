//! fastwebsockets behind hyper, as its own examples have it.

use std::convert::Infallible;

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::broadcast::Broadcast;

pub(crate) async fn echo(stream: TcpStream) {
    serve(stream, |opening| async move {
        let Ok(socket) = opening.await else { return };
        let mut socket = FragmentCollector::new(socket);
        while let Ok(frame) = socket.read_frame().await {
            match frame.opcode {
                OpCode::Close => return,
                OpCode::Text | OpCode::Binary => {
                    if socket.write_frame(frame).await.is_err() {
                        return;
                    }
                }
                _ => {}
            }
        }
    })
    .await;
}

/// Hears what any of the others says.
pub(crate) async fn listen(stream: TcpStream, all: Broadcast) {
    serve(stream, move |opening| {
        let all = all.clone();
        async move {
            let Ok(socket) = opening.await else { return };
            let mut news = all.subscribe();
            let (reader, mut writer) = socket.split(tokio::io::split);
            let mut reader = FragmentCollectorRead::new(reader);
            let reading = async {
                let mut no_answer = async |_: Frame<'_>| Ok::<_, Infallible>(());
                while let Ok(frame) = reader.read_frame(&mut no_answer).await {
                    let _ = all.send(Bytes::copy_from_slice(&frame.payload));
                }
            };
            let writing = async {
                while let Ok(message) = news.recv().await {
                    let frame = Frame::text(Payload::Borrowed(&message));
                    if writer.write_frame(frame).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! { () = reading => {}, () = writing => {} }
        }
    })
    .await;
}

async fn serve<F>(stream: TcpStream, talk: impl Fn(UpgradeFut) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        let opening = upgrade(&mut request).map(|(response, opening)| {
            tokio::spawn(talk(opening));
            response
        });
        async move { opening as Result<Response<Empty<Bytes>>, _> }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = connection.with_upgrades().await;
}
