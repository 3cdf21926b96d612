//! How a stream ends, and what both sides then say.

use std::time::Duration;

use sockeye::{CloseCode, Config, Deadline, Error, Failure};

use crate::{
    harness::Server,
    raw::{CANCEL, DATA, END_STREAM, REQUEST, RST_STREAM, RawPeer},
};

/// Rule: H9.
#[tokio::test]
async fn the_closing_handshake_ends_the_stream_on_both_sides() {
    let mut server = Server::start().await;
    let mut peer = RawPeer::client(server.address, &[]).await;
    peer.send_request(1, &REQUEST).await;
    let mut socket = server.accept().await;
    peer.next_of(1).await;
    // A masked Close with 1000.
    peer.send(DATA, 0, 1, b"\x88\x82\0\0\0\0\x03\xe8").await;
    assert!(socket.recv().await.is_none());
    let mut answer = Vec::new();
    loop {
        let frame = peer.next_of(1).await;
        assert_eq!(frame.kind, DATA);
        answer.extend(frame.payload);
        if frame.flags & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(answer, b"\x88\x02\x03\xe8");
    peer.send(DATA, END_STREAM, 1, &[]).await;
    assert!(socket.closed().unwrap().is_clean());
}

/// Rule: H9.
#[tokio::test]
async fn the_end_of_the_stream_without_close_is_a_lost_connection() {
    let mut server = Server::start().await;
    let mut peer = RawPeer::client(server.address, &[]).await;
    peer.send_request(1, &REQUEST).await;
    let mut socket = server.accept().await;
    peer.send(DATA, END_STREAM, 1, &[]).await;
    let error = socket.recv().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::Lost)), "{error:?}");
    assert!(!socket.closed().unwrap().is_clean());
}

/// Rule: H9.
#[tokio::test]
async fn a_reset_stream_is_a_lost_connection() {
    let mut server = Server::start().await;
    let mut peer = RawPeer::client(server.address, &[]).await;
    peer.send_request(1, &REQUEST).await;
    let mut socket = server.accept().await;
    peer.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()).await;
    let _error = socket.recv().await.unwrap().unwrap_err();
    assert_eq!(socket.closed().unwrap().failure, Some(Failure::Lost));
}

/// Rule: H9.
#[tokio::test]
async fn a_server_that_resets_is_a_lost_connection_for_the_client() {
    let (mut client, mut stream) = raw_h2_server().await;
    stream.send_reset(h2::Reason::CANCEL);
    let error = client.recv().await.unwrap().unwrap_err();
    let Error::Io(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(client.closed().unwrap().failure, Some(Failure::Lost));
}

/// Rule: H9.
#[tokio::test]
async fn a_server_that_ends_the_stream_without_close_is_a_lost_connection() {
    let (mut client, mut stream) = raw_h2_server().await;
    stream.send_data(bytes::Bytes::new(), true).unwrap();
    let error = client.recv().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::Lost)), "{error:?}");
}

/// A client, and the stream of a server that knows no WebSocket.
async fn raw_h2_server() -> (sockeye::WebSocket, h2::SendStream<bytes::Bytes>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut builder = h2::server::Builder::new();
        let mut connection = builder.enable_connect_protocol().handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let stream = respond.send_response(http::Response::new(()), false).unwrap();
        sender.send((request, stream)).ok().unwrap();
        while connection.accept().await.is_some() {}
    });
    let config = Config::default().close_timeout(Duration::from_millis(100));
    let client = sockeye::Client::new(&url).unwrap().config(config);
    let connection = sockeye::http2::Connection::connect(&client).await.unwrap();
    let socket = connection.open(client).await.unwrap().socket;
    let (request, stream) = receiver.await.unwrap();
    // Its body, the other direction, stays open as long as the test.
    tokio::spawn(async move {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.data().await {}
    });
    (socket, stream)
}

/// Rule: H9.
#[tokio::test]
async fn a_client_that_gives_up_resets_the_stream_with_cancel() {
    let (mut client, mut stream) = raw_h2_server().await;
    // The server answers no Close: the deadline passes.
    let closing = client.close(CloseCode::NORMAL);
    let reset = std::future::poll_fn(|cx| stream.poll_reset(cx));
    let (closed, reset) = tokio::join!(closing, reset);
    assert_eq!(closed.failure, Some(Failure::Deadline(Deadline::Close)));
    assert_eq!(reset.unwrap(), h2::Reason::CANCEL);
}

/// Rule: H9.
#[tokio::test]
async fn a_server_that_gives_up_ends_the_stream() {
    let mut server = Server::start().await;
    let mut peer = RawPeer::client(server.address, &[]).await;
    peer.send_request(1, &REQUEST).await;
    let socket = server.accept().await;
    // The application is gone: Close with 1001; the client answers nothing, and hyper then has no
    // other way than to end the stream.
    drop(socket);
    let mut answer = Vec::new();
    loop {
        let frame = peer.next_of(1).await;
        if frame.kind == DATA {
            answer.extend(frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
    }
    assert_eq!(answer, b"\x88\x02\x03\xe9");
}
