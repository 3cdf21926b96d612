//! Compressed messages over real sockets: between our own client and server, and towards enemies.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::net::SocketAddr;

use sockeye::{
    Client, CloseCode, Compression, DeflateBudget, DeflateConfig, DeflateOffer, Incoming, Message,
    Prepared, Server, WebSocket, WindowBits,
};
use sockeye_testing::{
    PATIENCE,
    frame::Frame,
    handshake::{Head, request_with},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

/// Serves with this compression; the socket goes to `handle`.
async fn serve<F>(
    deflate: impl Into<Option<DeflateConfig>>,
    handle: impl Fn(WebSocket) -> F + Send + Sync + Clone + 'static,
) -> SocketAddr
where
    F: Future<Output = Result<(), sockeye::Error>> + Send + 'static,
{
    let server = Server::bind("127.0.0.1:0").await.unwrap().deflate(deflate);
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(move |incoming: Incoming| {
        let handle = handle.clone();
        async move {
            handle(incoming.accept().await?).await?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        }
    }));
    address
}

async fn echo(mut socket: WebSocket) -> Result<(), sockeye::Error> {
    while let Some(message) = socket.recv().await {
        socket.send(message?).await?;
    }
    Ok(())
}

async fn connect(address: SocketAddr, deflate: impl Into<Option<DeflateConfig>>) -> WebSocket {
    let client = Client::new(format!("ws://{address}/")).unwrap().deflate(deflate);
    client.connect().await.unwrap()
}

async fn assert_comes_back(socket: &mut WebSocket, message: impl Into<Message>) {
    let message = message.into();
    socket.send(message.clone()).await.unwrap();
    let echo = timeout(PATIENCE, socket.recv()).await.expect("an echo in time");
    assert!(echo.unwrap().unwrap() == message, "the same message comes back");
}

/// Messages of all sizes, similar ones and one of noise.
async fn assert_all_come_back(socket: &mut WebSocket) {
    for size in [0, 1, 31, 32, 255, 256, 257, 5000, 70_000] {
        let letters = (0_u32..).map(|i| char::from(b'a' + (i.wrapping_mul(i) % 23) as u8));
        let text: String = letters.take(size).collect();
        assert_comes_back(socket, text.as_str()).await;
        assert_comes_back(socket, text.into_bytes()).await;
    }
    assert_comes_back(socket, noise(70_000)).await;
}

/// Bytes that do not get smaller.
fn noise(size: usize) -> Vec<u8> {
    let mut random = 1_u64;
    let next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn takeover() -> DeflateConfig {
    DeflateConfig::default().server_takeover(true).client_takeover(true)
}

#[tokio::test]
async fn messages_come_back_without_and_with_takeover_and_with_small_windows() {
    let bits = WindowBits::try_from(9).unwrap();
    let small = takeover().server_window_bits(bits).client_window_bits(bits);
    for client in [DeflateConfig::default(), takeover().threshold(32), small] {
        for server in [client.clone(), takeover()] {
            let mut socket = connect(serve(server, echo).await, client.clone()).await;
            let agreed = socket.deflate().expect("compression");
            assert_eq!(agreed.server_no_context_takeover(), !client.server_takeover);
            assert_eq!(agreed.client_no_context_takeover(), !client.client_takeover);
            assert_eq!(agreed.server_max_window_bits(), client.server_window_bits);
            assert_eq!(agreed.client_max_window_bits(), client.client_window_bits);
            assert_all_come_back(&mut socket).await;
            assert!(socket.close(CloseCode::NORMAL).await.is_clean());
        }
    }
}

#[tokio::test]
async fn extensions_tell_what_the_server_answered() {
    let socket = connect(serve(DeflateConfig::default(), echo).await, DeflateConfig::default());
    let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(socket.await.extensions(), answer);
}

/// Waits until that much of the budget is taken: a server notices the end of a connection by itself.
async fn until_reserved(budget: &DeflateBudget, bytes: usize) {
    let waiting = async {
        while budget.reserved() != bytes {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{budget:?}"));
}

#[tokio::test]
async fn clients_keep_their_context_while_the_servers_budget_lasts() {
    let budget = DeflateBudget::new(64 << 10);
    let address = serve(DeflateConfig::default().takeover_budget(budget.clone()), echo).await;
    // What clients that know no parameters offer, as well.
    let keeping = || DeflateConfig::default().client_takeover(true).threshold(0);
    let plain = || keeping().offer(DeflateOffer::default());
    let mut first = connect(address, plain()).await;
    let mut second = connect(address, keeping()).await;
    let mut third = connect(address, plain()).await;
    for (socket, keeps) in [(&mut first, true), (&mut second, true), (&mut third, false)] {
        let agreed = socket.deflate().expect("compression");
        assert_eq!(agreed.client_no_context_takeover(), !keeps);
        assert_all_come_back(socket).await;
        assert_all_come_back(socket).await;
    }
    assert_eq!(budget.reserved(), 64 << 10);
    // One that says by itself that it keeps none costs nothing.
    let none = connect(address, DeflateConfig::default()).await;
    assert!(none.deflate().expect("compression").client_no_context_takeover());
    assert_eq!(budget.reserved(), 64 << 10);
    assert!(first.close(CloseCode::NORMAL).await.is_clean());
    until_reserved(&budget, 32 << 10).await;
    drop(second);
    until_reserved(&budget, 0).await;
    let again = connect(address, plain()).await;
    assert!(!again.deflate().expect("compression").client_no_context_takeover());
}

#[tokio::test]
async fn a_server_that_has_been_given_a_connection_up_takes_it_out_of_the_budget() {
    let budget = DeflateBudget::new(64 << 10);
    let config = DeflateConfig::default().takeover_budget(budget.clone());
    let server = Server::bind("127.0.0.1:0").await.unwrap().deflate(config);
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(|incoming: Incoming| async move {
        // Chosen, and not offered: the handshake fails after compression was agreed on.
        match incoming.path() {
            "/fails" => drop(incoming.subprotocol("none").accept().await),
            // The handler is gone; the application keeps what was agreed on.
            _ => drop(incoming.accept().await?),
        }
        Ok::<(), sockeye::AcceptError>(())
    }));
    for path in ["fails", "", "fails", ""] {
        let client = Client::new(format!("ws://{address}/{path}")).unwrap();
        let keeping = DeflateConfig::default().client_takeover(true);
        let opened = client.deflate(keeping).connect().await;
        assert_eq!(opened.is_ok(), path.is_empty());
        drop(opened);
        until_reserved(&budget, 0).await;
    }
}

#[tokio::test]
async fn nothing_is_compressed_unless_both_want_it() {
    let (on, off) = (Some(DeflateConfig::default()), None);
    for (server, client) in [(off.clone(), on.clone()), (on, off)] {
        let mut socket = connect(serve(server, echo).await, client).await;
        assert_eq!((socket.deflate(), socket.extensions()), (None, String::new()));
        assert_all_come_back(&mut socket).await;
    }
}

#[tokio::test]
async fn a_server_may_decline_a_single_connection() {
    let server = Server::bind("127.0.0.1:0").await.unwrap().deflate(DeflateConfig::default());
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(|incoming: Incoming| async move {
        let plain = incoming.path() == "/plain";
        let incoming = if plain { incoming.deflate(None) } else { incoming };
        echo(incoming.accept().await?).await?;
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    }));
    for (path, compressed) in [("plain", false), ("other", true)] {
        let client = Client::new(format!("ws://{address}/{path}")).unwrap();
        let socket = client.deflate(DeflateConfig::default()).connect().await.unwrap();
        assert_eq!(socket.deflate().is_some(), compressed, "{path}");
    }
}

/// A client that sees frames as they are on the wire, and sends what it is told to.
struct Raw(TcpStream);

impl Raw {
    async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = request_with("/", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = timeout(PATIENCE, Head::read_async(&mut stream)).await.unwrap().unwrap();
        assert_eq!(head.header("sec-websocket-extensions"), Some("permessage-deflate"));
        Self(stream)
    }

    /// Sends as much of a masked frame as the server takes.
    async fn send(&mut self, first: u8, payload: &[u8]) {
        let frame = Frame::unmasked(first, payload).mask([0; 4]).encode();
        // A server that refuses what it was sent may close before it has read all of it.
        let _ = self.0.write_all(&frame).await;
    }

    /// The next frame's first byte and payload.
    async fn read(&mut self) -> (u8, Vec<u8>) {
        let reading = Frame::read_async(&mut self.0);
        let frame = timeout(PATIENCE, reading).await.expect("a frame in time").unwrap();
        (frame.first, frame.payload)
    }
}

#[tokio::test]
async fn each_message_may_be_sent_compressed_or_not() {
    let text = "to be or not to be ".repeat(100);
    let sent = text.clone();
    let address = serve(DeflateConfig::default(), move |mut socket| {
        let text = sent.clone();
        async move {
            socket.send(text.as_str()).await?;
            socket.send_with(text.as_str(), Compression::Off).await?;
            socket.send_with(text.as_str(), Compression::On).await?;
            socket.send_with("short", Compression::On).await?;
            let (_reader, writer) = socket.split();
            writer.send_with(text, Compression::Off).await
        }
    });
    let mut client = Raw::open(address.await).await;
    for compressed in [true, false, true] {
        let (first, payload) = client.read().await;
        assert_eq!(first, if compressed { 0xc1 } else { 0x81 });
        assert_eq!(payload.len() < text.len() / 10, compressed);
    }
    assert_eq!(client.read().await, (0x81, b"short".to_vec()), "below the threshold");
    assert_eq!(client.read().await, (0x81, text.into_bytes()));
}

#[tokio::test]
async fn a_prepared_message_is_the_same_frame_for_all_that_compress_and_fits_the_others_too() {
    let news = Prepared::new("news ".repeat(200));
    let send = news.clone();
    let address = serve(takeover(), move |mut socket| {
        let news = send.clone();
        async move {
            socket.send_prepared(&news).await?;
            echo(socket).await
        }
    })
    .await;
    for deflate in [None, Some(DeflateConfig::default()), Some(takeover())] {
        let mut client = connect(address, deflate).await;
        let received = timeout(PATIENCE, client.recv()).await.unwrap();
        assert_eq!(&received.unwrap().unwrap(), news.message());
        // A client may send it too.
        client.send_prepared(&news).await.unwrap();
        assert_eq!(&client.recv().await.unwrap().unwrap(), news.message());
    }
    let address = serve(DeflateConfig::default(), move |mut socket| {
        let news = news.clone();
        async move {
            socket.send_prepared(&news).await?;
            echo(socket).await
        }
    })
    .await;
    let frame = Raw::open(address).await.read().await;
    assert_eq!(frame.0, 0xc1);
    assert_eq!(Raw::open(address).await.read().await, frame);
}

/// The payload of a compressed message of this many zeros.
fn bomb(size: usize) -> Vec<u8> {
    let prepared = Prepared::with_level(vec![0; size], 9);
    let frame = prepared.compressed().unwrap();
    assert_eq!(frame[1], 127, "its length takes eight bytes");
    frame[10..].to_vec()
}

/// Rule: D28.
#[tokio::test]
async fn bombs_are_refused_with_1009_and_other_connections_do_not_notice() {
    let address = serve(DeflateConfig::default(), echo).await;
    let mut bystander = connect(address, DeflateConfig::default()).await;
    let bomb = bomb(96 << 20);
    let with_garbage = [&bomb[..], &[0xff; 1000]].concat();
    for kind in ["whole", "fragmented", "followed by garbage"] {
        let mut enemy = Raw::open(address).await;
        match kind {
            "whole" => enemy.send(0xc2, &bomb).await,
            "fragmented" => {
                let mut parts = bomb.chunks(500);
                enemy.send(0x42, parts.next().unwrap()).await;
                for part in parts {
                    enemy.send(0x00, part).await;
                }
                enemy.send(0x80, b"").await;
            }
            _ => {
                enemy.send(0xc2, &with_garbage).await;
                enemy.send(0xc1, b"\xff\xff\xff").await;
                enemy.send(0xff, b"\xff").await;
            }
        }
        assert_comes_back(&mut bystander, "still here ".repeat(1000)).await;
        let (first, payload) = enemy.read().await;
        assert_eq!((first, &payload[..2]), (0x88, &1009_u16.to_be_bytes()[..]), "{kind}");
    }
    assert_comes_back(&mut bystander, "all is well ".repeat(1000)).await;
}

/// Rule: D29.
#[tokio::test]
async fn garbage_is_refused_with_1007_and_other_connections_do_not_notice() {
    let address = serve(DeflateConfig::default(), echo).await;
    let mut bystander = connect(address, DeflateConfig::default()).await;
    for garbage in [&b"\x06"[..], b"\xff\xff\xff\xff", b"\xf2\x00\x11\x00\x00"] {
        let mut enemy = Raw::open(address).await;
        enemy.send(0xc1, garbage).await;
        assert_comes_back(&mut bystander, "still here ".repeat(1000)).await;
        let (first, payload) = enemy.read().await;
        assert_eq!((first, &payload[..2]), (0x88, &1007_u16.to_be_bytes()[..]));
    }
}

/// The memory of this process, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: usize = line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap();
    kib << 10
}

/// With a compressor of 273 KiB at each end it would be some 550.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_idle_connection_holds_no_compression_state_after_a_burst() {
    const CONNECTIONS: usize = 200;
    let address = serve(DeflateConfig::default(), echo).await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        idle.push(connect(address, DeflateConfig::default()).await);
    }
    assert_all_come_back(&mut idle[0]).await;
    let before = resident();
    for socket in &mut idle {
        for _ in 0..5 {
            assert_comes_back(socket, "a message of a burst ".repeat(1000)).await;
        }
    }
    let each = resident().saturating_sub(before) / CONNECTIONS;
    println!("a burst left {each} bytes per connection, both ends together");
    assert!(each < 16 << 10, "{each} bytes");
}
