//! HTTP/2: a `POST` on a stream for each message, all on one connection.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::SendRequest;
use http::{Method, Request, StatusCode};
use tokio::net::TcpStream;

use crate::SIZE;
use crate::load::{Tally, Times};

/// That many streams at once, each followed by another.
pub(crate) async fn streams(
    address: SocketAddr,
    streams: usize,
    times: Times,
    tally: &RefCell<Tally>,
) {
    let stream = TcpStream::connect(address).await.expect("the server accepts");
    stream.set_nodelay(true).expect("a socket");
    let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let publishing = join_all((0..streams).map(|_| publish(requests.clone(), times, tally)));
    tokio::select! {
        ended = connection => panic!("the server has ended the connection: {ended:?}"),
        _ = publishing => {}
    }
}

async fn publish(requests: SendRequest<Bytes>, times: Times, tally: &RefCell<Tally>) {
    let payload = Bytes::from("x".repeat(SIZE));
    let mut requests = requests;
    while !times.are_over() {
        requests = requests.ready().await.expect("a stream");
        let request = Request::builder().method(Method::POST).uri("http://localhost/c/bench");
        let request = request.header("content-type", "text/plain").body(()).expect("a request");
        let departed = Instant::now();
        let (answer, mut body) = requests.send_request(request, false).expect("a stream");
        body.send_data(payload.clone(), true).expect("a body");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::CREATED);
        let mut body = answer.into_body();
        while let Some(data) = body.data().await {
            let length = data.expect("a body").len();
            body.flow_control().release_capacity(length).expect("as much has come");
        }
        tally.borrow_mut().acknowledged(times, departed, 1);
    }
}
