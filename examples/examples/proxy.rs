//! A proxy: opens a WebSocket to a backend for each client and passes messages on, both ways.
//!
//!     cargo run -p sockeye-examples --example proxy [BACKEND]
//!
//! Without an argument the backend is the example `echo_server`, which must be running. Then, in a
//! terminal:
//!
//!     cargo run -- connect ws://127.0.0.1:9003/

use std::error::Error;

use http::{
    StatusCode,
    header::{AUTHORIZATION, COOKIE},
};
use sockeye::{AddressError, Client, CloseCode, CloseSignal, Incoming, Reader, Server, Writer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001".to_owned());
    let server = Server::bind("127.0.0.1:9003").await?;
    println!("passing ws://{}/ on to {backend}", server.local_addr()?);
    server.run(move |incoming| proxy(incoming, backend.clone())).await;
    Ok(())
}

/// Connects one client with the backend, until one of them closes.
pub(crate) async fn proxy(
    incoming: Incoming,
    backend: String,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let request = request(&incoming, &backend)?;
    // The backend comes first: it chooses the subprotocol, and without it the client gets 502.
    let mut upstream = match request.connect().await {
        Ok(upstream) => upstream,
        Err(error) => {
            eprintln!("{error}");
            incoming.refuse(StatusCode::BAD_GATEWAY, "the backend opened no WebSocket").await;
            return Ok(());
        }
    };
    let incoming = match upstream.subprotocol() {
        Some(name) => incoming.subprotocol(name),
        None => incoming,
    };
    let client = match incoming.accept().await {
        Ok(client) => client,
        Err(error) => {
            upstream.close(CloseCode::GOING_AWAY).await;
            return Err(error.into());
        }
    };
    let (client_reader, client_writer) = client.split();
    let (backend_reader, backend_writer) = upstream.split();
    tokio::join!(
        pass_on(client_reader, backend_writer, CloseCode::GOING_AWAY),
        pass_on(backend_reader, client_writer, CloseCode::BAD_GATEWAY),
    );
    Ok(())
}

/// What the backend is asked for: the path, the query and the subprotocols that the client asked for, with
/// its credentials. Its `Origin` is not passed on: the proxy has checked it.
fn request(incoming: &Incoming, backend: &str) -> Result<Client, AddressError> {
    let query = incoming.query().map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("{backend}{}{query}", incoming.path());
    let mut client = Client::new(url)?.subprotocols(incoming.subprotocols());
    for name in [AUTHORIZATION, COOKIE] {
        for value in incoming.headers().get_all(&name) {
            client = client.header(&name, value);
        }
    }
    Ok(client)
}

/// Passes messages on in one direction, then the Close that ended them, or `broken` if there was none.
async fn pass_on(mut from: Reader, to: Writer, broken: CloseCode) {
    while let Some(Ok(message)) = from.recv().await {
        // Waits while the receiver is slow. The sender is not read meanwhile and has to wait too, so
        // the proxy never holds more than a few messages.
        if to.send(message).await.is_err() {
            return; // The other direction passes on how the receiver ended.
        }
    }
    let close = match from.ended().await.received {
        CloseSignal::Frame(frame) => Some(frame),
        CloseSignal::Empty => None,
        CloseSignal::Absent => broken.into(),
    };
    to.close(close).await;
}
