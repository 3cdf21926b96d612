//! Settings, the request and its answers.

use sockeye::{
    Client, CloseCode, CloseFrame, ConnectError, DeflateConfig, Message, ResponseError, http2,
};
use tokio::net::TcpListener;

use crate::{
    harness::Server,
    raw::{
        ACK, CANCEL, ENABLE_CONNECT_PROTOCOL, GOAWAY, HEADERS, PING, PROTOCOL_ERROR, REQUEST,
        RST_STREAM, RawPeer, SETTINGS, STATUS_200, STATUS_400, request_with, request_without,
    },
};

/// Rules: H5, H7, H8.
#[tokio::test]
async fn a_websocket_over_http_2_does_what_any_websocket_does() {
    let mut server = Server::start().await;
    let connection = server.connect().await;
    let client = server.client().subprotocol("superchat").subprotocol("chat");
    let opened = connection.open(client).await.unwrap();
    assert_eq!(opened.response.status(), 200);
    let request = String::from_utf8(opened.request.to_vec()).unwrap();
    assert!(request.contains(":protocol: websocket\r\n:scheme: http\r\n"), "{request}");
    assert!(request.contains(":path: /chat?a=b\r\n"), "{request}");

    let (mut client, mut socket) = (opened.socket, server.accept().await);
    assert_eq!(client.subprotocol(), Some("chat"));
    assert_eq!(socket.subprotocol(), Some("chat"));
    let large = vec![7; 300_000];
    for message in [Message::from("hello"), Message::from(large)] {
        let echo = async {
            let message = socket.recv().await.unwrap().unwrap();
            socket.send(message).await.unwrap();
        };
        let ask = async {
            client.send(message.clone()).await.unwrap();
            assert_eq!(client.recv().await.unwrap().unwrap(), message);
        };
        tokio::join!(echo, ask);
    }
    client.ping().await.unwrap();
    socket.ping().await.unwrap();
    let (closed, end) = tokio::join!(
        client.close(CloseFrame::new(CloseCode::NORMAL, "bye").unwrap()),
        socket.recv()
    );
    assert!(end.is_none());
    assert!(closed.is_clean());
    let closed = socket.closed().unwrap();
    assert!(closed.is_clean());
    assert_eq!(closed.received.frame().unwrap().reason(), "bye");
}

/// Rule: H7.
#[tokio::test]
async fn compression_is_agreed_on_over_http_2_too() {
    let mut server = Server::start().await;
    server.echo();
    let connection = server.connect().await;
    let client = server.client().deflate(DeflateConfig::default());
    let mut socket = connection.open(client).await.unwrap().socket;
    assert!(socket.extensions().starts_with("permessage-deflate"), "{}", socket.extensions());
    let text = "again and ".repeat(1000);
    socket.send(text.as_str()).await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some(text.as_str()));
}

/// Rules: H1, H2.
#[tokio::test]
async fn the_server_sets_the_setting_once_to_1() {
    let server = Server::start().await;
    let mut peer = RawPeer::client(server.address, &[]).await;
    peer.send_request(1, &REQUEST).await;
    let mut values = Vec::new();
    loop {
        let frame = peer.next().await.unwrap();
        match frame.kind {
            SETTINGS => values.extend(frame.settings()),
            HEADERS => break,
            _ => {}
        }
    }
    values.retain(|(id, _)| *id == ENABLE_CONNECT_PROTOCOL);
    assert_eq!(values, [(ENABLE_CONNECT_PROTOCOL, 1)]);
}

/// Connects to a server with these settings, that answers pings and nothing else.
async fn connect_to_server_with(settings: &'static [(u16, u32)]) -> ConnectError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = RawPeer::server(stream, settings).await;
        while let Some(frame) = peer.next().await {
            assert_ne!(frame.kind, HEADERS, "asked without leave");
            if frame.kind == PING && frame.flags == 0 {
                peer.send(PING, ACK, 0, &frame.payload).await;
            }
        }
    });
    let error = http2::Connection::connect(&Client::new(&url).unwrap()).await.unwrap_err();
    server.await.unwrap();
    error
}

/// Rule: H1.
#[tokio::test]
async fn any_value_but_0_and_1_is_an_error() {
    let error = connect_to_server_with(&[(ENABLE_CONNECT_PROTOCOL, 2)]).await;
    assert!(matches!(error, ConnectError::Io(_)), "{error}");
}

/// Rule: H3.
#[tokio::test]
async fn a_client_does_not_ask_without_the_setting() {
    for settings in [&[][..], &[(ENABLE_CONNECT_PROTOCOL, 0)]] {
        let error = connect_to_server_with(settings).await;
        assert!(matches!(error, ConnectError::NoExtendedConnect), "{error}");
    }
}

/// Rule: H14.
#[tokio::test]
async fn without_the_setting_the_client_says_so_and_http_1_1_can_be_tried() {
    let server = Server::without_extended_connect().await;
    let error = http2::Connection::connect(&server.client()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoExtendedConnect), "{error}");
}

/// Rule: H4.
#[tokio::test]
async fn the_setting_of_a_client_has_no_effect() {
    let server = Server::start().await;
    for value in [0, 1] {
        let mut peer = RawPeer::client(server.address, &[(ENABLE_CONNECT_PROTOCOL, value)]).await;
        peer.send_request(1, &REQUEST).await;
        let answer = peer.next_of(1).await;
        assert_eq!((answer.kind, answer.payload[0]), (HEADERS, STATUS_200));
    }
}

/// Rule: H12.
#[tokio::test]
async fn without_the_setting_a_protocol_is_malformed() {
    let server = Server::without_extended_connect().await;
    let mut peer = RawPeer::client(server.address, &[]).await;
    peer.send_request(1, &REQUEST).await;
    let answer = peer.next_of(1).await;
    assert_eq!((answer.kind, answer.code()), (RST_STREAM, PROTOCOL_ERROR));
}

/// Rules: H5, H6.
#[tokio::test]
async fn malformed_requests_end_their_stream_only() {
    let server = Server::start().await;
    let mut peer = RawPeer::client(server.address, &[]).await;
    let malformed = [
        request_without(":scheme"),
        request_without(":path"),
        request_with(&[(":method", "GET")]),
        request_with(&[("connection", "Upgrade")]),
        request_with(&[("upgrade", "websocket")]),
        [&REQUEST[..2], &REQUEST[1..]].concat(),
    ];
    let mut stream = 1;
    for request in malformed {
        peer.send_request(stream, &request).await;
        let answer = peer.next_of(stream).await;
        assert_eq!((answer.kind, answer.code()), (RST_STREAM, PROTOCOL_ERROR), "{request:?}");
        stream += 2;
    }
    for request in
        [request_without("sec-websocket-version"), request_with(&[("sec-websocket-version", "8")])]
    {
        peer.send_request(stream, &request).await;
        let answer = peer.next_of(stream).await;
        assert_eq!((answer.kind, answer.payload[0]), (HEADERS, STATUS_400), "{request:?}");
        stream += 2;
    }
    // A key means nothing here, and `:authority` may be any: no tunnel is opened to it.
    let request = request_with(&[("sec-websocket-key", "?"), (":authority", "127.0.0.1:1")]);
    peer.send_request(stream, &request).await;
    let answer = peer.next_of(stream).await;
    assert_eq!((answer.kind, answer.payload[0]), (HEADERS, STATUS_200));
}

/// Rule: H11.
#[tokio::test]
async fn another_protocol_is_answered_with_501() {
    let server = Server::start().await;
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let mut request = http::Request::connect("http://example.org/chat").body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("connect-udp"));
    let (response, _stream) = sender.send_request(request, false).unwrap();
    assert_eq!(response.await.unwrap().status(), 501);
}

/// Rule: H8.
#[tokio::test]
async fn a_refusal_has_its_status() {
    let server = Server::start().await;
    let connection = server.connect().await;
    let client = Client::new(format!("ws://{}/nowhere", server.address)).unwrap();
    let error = connection.open(client).await.unwrap_err();
    let ConnectError::Response(ResponseError::Status(response)) = error else { panic!("{error}") };
    assert_eq!(response.status(), 404);
    // The connection is as good as before.
    connection.open(server.client()).await.unwrap();
}

/// Rule: H13.
#[tokio::test]
async fn a_proxy_is_passed_with_a_classic_connect_first() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};

    let mut server = Server::start().await;
    server.echo();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    tokio::spawn(async move {
        let mut client = BufReader::new(proxy.accept().await.unwrap().0);
        let mut line = String::new();
        client.read_line(&mut line).await.unwrap();
        let target = line.split(' ').nth(1).unwrap().to_owned();
        while line != "\r\n" {
            line.clear();
            client.read_line(&mut line).await.unwrap();
        }
        let mut origin = tokio::net::TcpStream::connect(target).await.unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        copy_bidirectional(&mut client, &mut origin).await
    });

    let mut tunnel = BufReader::new(tokio::net::TcpStream::connect(address).await.unwrap());
    let connect = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", server.address);
    tunnel.write_all(connect.as_bytes()).await.unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        tunnel.read_line(&mut line).await.unwrap();
    }
    let connection = http2::Connection::over(tunnel).await.unwrap();
    let mut socket = connection.open(server.client()).await.unwrap().socket;
    socket.send("through").await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("through"));
}

#[tokio::test]
async fn a_server_that_speaks_http_1_only_is_an_error_and_no_endless_wait() {
    let server = sockeye::Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(server.run(|_| async { Ok::<(), String>(()) }));
    let error = http2::Connection::connect(&Client::new(&url).unwrap()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io(_)), "{error}");
}

#[tokio::test]
async fn a_flood_of_requests_that_are_reset_ends_the_connection() {
    let server = Server::start().await;
    let mut peer = RawPeer::client(server.address, &[]).await;
    for stream in 0..2000 {
        peer.send_request(2 * stream + 1, &REQUEST).await;
        peer.send(RST_STREAM, 0, 2 * stream + 1, &CANCEL.to_be_bytes()).await;
    }
    loop {
        match peer.next().await {
            Some(frame) if frame.kind == GOAWAY => {
                const ENHANCE_YOUR_CALM: u32 = 11;
                assert_eq!(frame.code(), ENHANCE_YOUR_CALM);
                break;
            }
            Some(_) => {}
            None => break,
        }
    }
}
