//! Rules that show only on the wire, with both ends as they are used: keys, refusals, answers. The
//! other end is a plain socket that writes and reads bytes.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{collections::HashSet, error::Error};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode, header::ORIGIN};
use sockeye::{Client, ConnectError, ConnectQueue, DeflateConfig, Incoming, ResponseError, Server};
use sockeye_testing::{
    PATIENCE,
    handshake::{accept_for, request_with, response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Starts a server that sends every message back, and gives its address.
async fn echo_server() -> String {
    let server = Server::bind("127.0.0.1:0").await.unwrap().deflate(DeflateConfig::default());
    let address = server.local_addr().unwrap().to_string();
    tokio::spawn(server.run(|incoming: Incoming| async move {
        let mut socket = incoming.accept().await?;
        while let Some(message) = socket.recv().await {
            socket.send(message?).await?;
        }
        Outcome::Ok(())
    }));
    address
}

/// Reads up to the empty line that ends a head.
async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Opens a WebSocket by hand, with these further header lines; gives the head of the answer too.
async fn open_by_hand(address: &str, lines: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request_with("/", lines).as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    (stream, head)
}

/// Bytes as they come from the server, this many.
async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// A client that opens a WebSocket over a pipe, and the server's end of that pipe.
fn client_over_pipe() -> (impl Future<Output = Result<sockeye::Opened, ConnectError>>, DuplexStream)
{
    let (near, far) = tokio::io::duplex(64 << 10);
    (Client::new("ws://example.org/").unwrap().open_over(near), far)
}

/// Rule: W13.
#[tokio::test]
async fn a_server_that_cannot_be_reached_fails_the_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let attempt = sockeye::connect(format!("ws://{address}/")).await;
    assert!(matches!(attempt, Err(ConnectError::Connect { .. })), "{attempt:?}");
}

/// Rules: W26, W27, W30.
#[tokio::test]
async fn each_connection_has_a_key_of_16_bytes_of_its_own_and_version_13() {
    let mut keys = HashSet::new();
    for _ in 0..20 {
        let (opening, mut far) = client_over_pipe();
        let opening = tokio::spawn(opening);
        let head = read_head(&mut far).await;
        assert_eq!(field(&head, "Sec-WebSocket-Version"), Some("13"));
        let key = STANDARD.decode(field(&head, "Sec-WebSocket-Key").unwrap()).unwrap();
        assert_eq!(key.len(), 16);
        assert!(keys.insert(key), "a key came twice");
        opening.abort();
    }
}

/// Rules: W68, W120, N10.
#[tokio::test]
async fn masking_keys_of_frames_and_connections_do_not_repeat() -> Outcome {
    let mut keys = HashSet::new();
    for _ in 0..4 {
        let (opening, mut far) = client_over_pipe();
        let opening = tokio::spawn(opening);
        let head = read_head(&mut far).await;
        let accept = accept_for(field(&head, "Sec-WebSocket-Key").unwrap());
        far.write_all(response(&accept).as_bytes()).await?;
        let mut socket = opening.await??.socket;
        for _ in 0..25 {
            socket.send("hi").await?;
            let mut frame = [0; 8];
            timeout(PATIENCE, far.read_exact(&mut frame)).await??;
            assert_eq!(frame[..2], [0x81, 0x82]);
            assert!(keys.insert(frame[2..6].to_vec()), "a key came twice");
        }
    }
    Ok(())
}

/// Rules: W98, W99.
#[tokio::test]
async fn a_ping_between_fragments_is_answered_and_the_fragments_are_one_message() {
    let (mut stream, _) = open_by_hand(&echo_server().await, "").await;
    // "Hel", a ping, "lo"; the masking key is zero.
    stream.write_all(b"\x01\x83\0\0\0\0Hel").await.unwrap();
    stream.write_all(b"\x89\x81\0\0\0\0!").await.unwrap();
    assert_eq!(read(&mut stream, 3).await, b"\x8a\x01!");
    stream.write_all(b"\x80\x82\0\0\0\0lo").await.unwrap();
    assert_eq!(read(&mut stream, 7).await, b"\x81\x05Hello");
}

/// Rule: WS3.
#[tokio::test]
async fn close_is_answered_at_once_though_the_application_does_not_read() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    tokio::spawn(server.run(|incoming: Incoming| async move {
        let _socket = incoming.accept().await?;
        std::future::pending::<Outcome>().await
    }));
    let (mut stream, _) = open_by_hand(&address, "").await;
    stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
    assert_eq!(read(&mut stream, 4).await, b"\x88\x02\x03\xe8");
}

/// Rule: W114.
#[tokio::test]
async fn a_parameter_without_the_value_that_it_announces_is_400() {
    let line = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\r\n";
    let (_, head) = open_by_hand(&echo_server().await, line).await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}

/// Rule: D4.
#[tokio::test]
async fn a_server_that_accepts_compression_understands_it_and_uses_it() {
    let line = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (mut stream, head) = open_by_hand(&echo_server().await, line).await;
    let agreed = field(&head, "Sec-WebSocket-Extensions").unwrap();
    assert!(agreed.starts_with("permessage-deflate"), "{agreed}");
    // "Hello" as RFC 7692 §7.2.3.1 compresses it; and much that is worth compressing.
    stream.write_all(b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00").await.unwrap();
    let first = read(&mut stream, 2).await;
    read(&mut stream, first[1].into()).await;
    let mut frame = b"\x81\xfe\x03\xe8\0\0\0\0".to_vec();
    frame.extend([b'a'; 1000]);
    stream.write_all(&frame).await.unwrap();
    let echo = read(&mut stream, 2).await;
    assert_eq!(echo[0], 0xc1, "a compressed text in one frame");
    assert!(echo[1] < 100, "a thousand letters in {} bytes", echo[1]);
}

/// Rule: N9.
#[tokio::test]
async fn pages_of_another_host_and_of_none_are_refused_by_default() {
    let address = echo_server().await;
    let connect = |origin: String| {
        let origin = HeaderValue::from_str(&origin).unwrap();
        Client::new(format!("ws://{address}/")).unwrap().header(ORIGIN, origin).connect()
    };
    connect(format!("http://{address}")).await.unwrap();
    for foreign in ["http://evil.example", "http://127.0.0.1:1", "null"] {
        match connect(foreign.to_owned()).await {
            Err(ConnectError::Response(ResponseError::Status(answer))) => {
                assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{foreign}");
            }
            other => panic!("{foreign}: {other:?}"),
        }
    }
}

/// Passes bytes on, and keeps a copy of all of them.
#[cfg(feature = "tls")]
async fn listen_in(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    copy: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        copy.lock().unwrap().extend_from_slice(&chunk[..count]);
        to.write_all(&chunk[..count]).await?;
    }
}

/// Rules: W16, W42.
#[cfg(feature = "tls")]
#[tokio::test]
async fn with_tls_nothing_of_the_websocket_is_seen_on_the_way() -> Outcome {
    use sockeye::tls::{ClientTls, ServerTls};

    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let tls =
        ServerTls::from_pem(own.cert.pem().as_bytes(), own.signing_key.serialize_pem().as_bytes())?;
    let server = Server::bind("127.0.0.1:0").await?.tls(tls);
    let address = server.local_addr()?;
    tokio::spawn(server.run(|incoming: Incoming| async move {
        let mut socket = incoming.accept().await?;
        while let Some(message) = socket.recv().await {
            socket.send(message?).await?;
        }
        Outcome::Ok(())
    }));
    let eavesdropper = TcpListener::bind("127.0.0.1:0").await?;
    let between = eavesdropper.local_addr()?;
    let seen = std::sync::Arc::<std::sync::Mutex<Vec<u8>>>::default();
    let copy = seen.clone();
    tokio::spawn(async move {
        let (near, _) = eavesdropper.accept().await?;
        let far = TcpStream::connect(address).await?;
        let ((near_reads, near_writes), (far_reads, far_writes)) =
            (near.into_split(), far.into_split());
        tokio::try_join!(
            listen_in(near_reads, far_writes, copy.clone()),
            listen_in(far_reads, near_writes, copy)
        )
    });

    let tls = ClientTls::new().danger_accept_invalid_certificates();
    let client = Client::new(format!("wss://localhost:{}/", between.port()))?.tls(tls);
    let mut socket = client.connect().await?;
    // From the server's side no mask would hide it.
    socket.send("the quick brown fox").await?;
    assert_eq!(socket.recv().await.unwrap()?.as_text(), Some("the quick brown fox"));
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 500, "the relay saw {} bytes", seen.len());
    for word in ["GET /", "HTTP/1.1", "Sec-WebSocket", "quick brown"] {
        assert!(!seen.windows(word.len()).any(|bytes| bytes == word.as_bytes()), "{word}");
    }
    Ok(())
}

/// Rules: W8, W9, W10, W11.
#[tokio::test]
async fn clients_that_take_turns_connect_to_a_server_one_at_a_time() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    // The server reports its requests, and answers when it is told to.
    let (arrived, mut arrivals) = mpsc::channel::<Incoming>(8);
    tokio::spawn(server.run(move |incoming: Incoming| {
        let arrived = arrived.clone();
        async move {
            let _ = arrived.send(incoming).await;
            Outcome::Ok(())
        }
    }));
    let queue = ConnectQueue::new();
    let connect = |host: &str, path: usize, queue: Option<&ConnectQueue>| {
        let client = Client::new(format!("ws://{host}:{port}/{path}")).unwrap().no_proxy();
        tokio::spawn(client.connect_queue(queue.cloned()).connect())
    };
    let waiting: Vec<_> = (0..3).map(|path| connect("127.0.0.1", path, Some(&queue))).collect();
    let mut first = timeout(PATIENCE, arrivals.recv()).await.unwrap().unwrap();
    // Another name is another server, and a client without a queue does not wait.
    let others = [connect("localhost", 3, Some(&queue)), connect("127.0.0.1", 4, None)];
    for other in others {
        let incoming = timeout(PATIENCE, arrivals.recv()).await.unwrap().unwrap();
        assert!(["/3", "/4"].contains(&incoming.path()), "{}", incoming.path());
        incoming.accept().await.unwrap();
        drop(other);
    }
    // The others come when the one before is open, or has failed.
    for number in 0..3 {
        assert!(arrivals.try_recv().is_err(), "one at a time");
        match number {
            0 => drop(first.accept().await.unwrap()),
            1 => first.refuse(StatusCode::FORBIDDEN, "no").await,
            _ => return drop(first.accept().await.unwrap()),
        }
        first = timeout(PATIENCE, arrivals.recv()).await.unwrap().unwrap();
    }
    for opening in waiting {
        let _ = opening.await.unwrap();
    }
}

/// Rule: W33.
#[tokio::test]
async fn interim_answers_before_the_101_are_skipped() {
    let (opening, mut server) = client_over_pipe();
    let answering = async {
        let request = read_head(&mut server).await;
        let accept = accept_for(field(&request, "sec-websocket-key").unwrap());
        let answer = format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
             HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        server.write_all(answer.as_bytes()).await.unwrap();
        server
    };
    let (opened, _server) =
        timeout(PATIENCE, async { tokio::join!(opening, answering) }).await.unwrap();
    assert_eq!(opened.unwrap().response.status(), StatusCode::SWITCHING_PROTOCOLS);
}

/// What is still being sent is read before the connection closes (RFC 9112 §9.6): to close it at once would
/// reset it, and the answer might be lost.
#[tokio::test]
async fn a_refusal_arrives_though_the_client_is_still_sending() {
    let address = echo_server().await;
    let body = vec![b'x'; 5 << 20];
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (line, headers, status) in [
        ("POST / HTTP/1.1", "", 405),
        ("GET / HTTP/1.0", "", 505),
        ("GET / HTTP/1.1", "", 426),
        ("GET / HTTP/1.1", upgrade, 400),
        ("GET / HTTP/1.1", "X-Note: ", 431),
    ] {
        for _ in 0..3 {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            let end = if status == 431 { "" } else { "\r\n\r\n" };
            let length = if status == 431 { "" } else { "Content-Length: 5242880" };
            let head = format!("{line}\r\nHost: {address}\r\n{headers}{length}{end}");
            let exchange = async {
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&body).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                answer
            };
            let answer = timeout(PATIENCE, exchange).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        }
    }
}
