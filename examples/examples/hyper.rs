//! A WebSocket inside a server made with hyper.
//!
//!     cargo run -p sockeye-examples --example hyper
//!
//! Then: `cargo run -- connect ws://127.0.0.1:3001/echo`.

use std::{convert::Infallible, error::Error};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sockeye::{Upgrade, WebSocket};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:3001").await?;
    println!("listening on http://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        // Small messages are not to wait for each other.
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request)) });
            // `with_upgrades` lets go of the connection when it becomes a WebSocket.
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.with_upgrades().await {
                eprintln!("{error}");
            }
        });
    }
}

fn answer(mut request: Request<Incoming>) -> Response<String> {
    if request.uri().path() != "/echo" {
        let mut response = Response::new("there is a WebSocket at /echo\n".to_owned());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    match Upgrade::new(&mut request) {
        Ok(upgrade) => upgrade.on_upgrade(echo),
        // A refusal is an answer: its status and headers say what the request lacks.
        Err(refusal) => refusal.into(),
    }
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}
