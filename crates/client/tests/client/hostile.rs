//! A server that means its clients harm: what it can make them hold, and for how long.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use sockeye_client::{Client, Transport};
use sockeye_testing::{
    frame::{Frame, TEXT},
    handshake::{accept_for, response},
};

use crate::common::next;

/// More than a client may take before it turns away: the largest message, a page around it, and what the sockets
/// hold.
const TOO_MUCH: usize = 64 << 20;

/// What a server answers, whatever it is asked, and then without an end.
#[derive(Clone, Copy, Debug)]
struct Attack {
    transport: Transport,
    /// A head that does not end, in place of the one that the client expects.
    head: Option<&'static str>,
    first: &'static [u8],
    piece: &'static [u8],
}

const fn attack(transport: Transport, first: &'static [u8], piece: &'static [u8]) -> Attack {
    Attack { transport, head: None, first, piece }
}

/// Reads a head, to its end.
pub(crate) fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// What begins an answer as the client expects it.
pub(crate) fn begin(head: &str) -> String {
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    match (field("sec-websocket-key"), field("accept")) {
        (Some(key), _) => response(&accept_for(&key)).replacen(
            "Upgrade: ",
            "Sec-WebSocket-Protocol: sockeye.v1\r\nUpgrade: ",
            1,
        ),
        (None, Some(kind)) => format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n"),
        (None, None) => "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
    }
}

/// Attacks the next client; says how much it took before it ended the connection.
fn run(listener: &TcpListener, attack: Attack) -> Result<usize, String> {
    let (mut stream, _) = listener.accept().map_err(|error| error.to_string())?;
    stream.set_write_timeout(Some(sockeye_testing::PATIENCE)).map_err(|error| error.to_string())?;
    let head = read_head(&mut stream).ok_or("no request")?;
    let begins = attack.head.map_or_else(|| begin(&head), str::to_owned);
    let piece = attack.piece.repeat((64 << 10) / attack.piece.len().max(1) + 1);
    let mut taken = 0;
    let mut send = |bytes: &[u8]| match stream.write_all(bytes) {
        Ok(()) => Ok(true),
        Err(error)
            if [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind()) =>
        {
            Err("it neither reads nor goes".to_owned())
        }
        Err(_) => Ok(false),
    };
    send(begins.as_bytes())?;
    send(attack.first)?;
    while taken < TOO_MUCH {
        if !send(&piece)? {
            return Ok(taken);
        }
        taken += piece.len();
    }
    Err(format!("{taken} bytes were taken"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_end_is_turned_away_from() {
    let heads = [
        ("HTTP/1.1 200 OK\r\nX: ", &b"x"[..]),
        ("HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"),
    ];
    let of_heads = Transport::ALL.into_iter().flat_map(|transport| {
        heads.map(|(head, piece)| Attack { transport, head: Some(head), first: b"", piece })
    });
    let attacks = [
        attack(Transport::Sse, b"data: ", b"x"),
        attack(Transport::Sse, b"", b"data: x\n"),
        attack(Transport::Sse, b"id: ", b"x"),
        attack(Transport::Ndjson, b"{\"at\":\"", b"x"),
        attack(Transport::LongPoll, b"{\"at\":\"", b"x"),
        attack(Transport::Poll, b"{\"at\":\"k.1\",\"messages\":[", b" "),
    ];
    for attack in attacks.into_iter().chain(of_heads) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::builder(format!("http://{}", listener.local_addr().unwrap()))
            .transports([attack.transport])
            .max_message(1 << 20)
            .build()
            .unwrap();
        let mut chat = client.subscribe("chat").after("earliest");
        let attacked = tokio::task::spawn_blocking(move || run(&listener, attack));
        let outcome = tokio::select! {
            outcome = attacked => outcome.unwrap(),
            item = next(&mut chat) => panic!("{attack:?}: {item:?}"),
        };
        outcome.unwrap_or_else(|wrong| panic!("{attack:?}: {wrong}"));
    }
}

/// What still comes is thrown away, for the seconds that a close may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_is_refused_before_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::builder(format!("http://{}", listener.local_addr().unwrap()))
        .transports([Transport::V1])
        .max_message(1 << 20)
        .build()
        .unwrap();
    let mut chat = client.subscribe("chat");
    let refused = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = read_head(&mut stream).unwrap();
        stream.write_all(begin(&head).as_bytes()).unwrap();
        stream.write_all(&[&[TEXT, 127][..], &(1_u64 << 30).to_be_bytes()].concat()).unwrap();
        while Frame::read(&mut stream).unwrap().close_code() != Some(1009) {}
    });
    tokio::select! {
        outcome = refused => outcome.unwrap(),
        item = next(&mut chat) => panic!("{item:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_turns_away_from_an_answer_that_does_not_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let publishing = tokio::spawn(async move { client.publish("chat", "text").await });
    let posted = attack(Transport::Poll, b"{\"at\":\"", b"x");
    let outcome = tokio::task::spawn_blocking(move || run(&listener, posted)).await.unwrap();
    outcome.unwrap();
    publishing.abort();
}

/// Nothing at all comes; or the WebSocket opens, and then nothing comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_silent_is_given_up_in_time() {
    for transport in Transport::ALL {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::builder(format!("http://{}", listener.local_addr().unwrap()))
            .transports([transport])
            .connect_timeout(Duration::from_millis(200))
            .build()
            .unwrap();
        let mut chat = client.subscribe("chat").after("earliest");
        let given_up = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_head(&mut stream).unwrap();
            // It says what it has to say, and goes.
            stream.read_to_end(&mut Vec::new()).unwrap();
        });
        tokio::select! {
            outcome = given_up => outcome.unwrap(),
            item = next(&mut chat) => panic!("{transport}: {item:?}"),
        }
    }
}

/// A page that does not lead on, though there is a message in it, is no reason to ask again at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_leads_nowhere_is_not_asked_for_without_a_pause() {
    const INTERVAL: Duration = Duration::from_millis(300);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::builder(format!("http://{}", listener.local_addr().unwrap()))
        .transports([Transport::Poll])
        .poll_interval(INTERVAL)
        .build()
        .unwrap();
    let mut chat = client.subscribe("chat").after("earliest");
    let polled = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let page = r#"{"at":"k.1","messages":[{"at":"k.1","ts":1,"data":1}]}"#;
        let length = page.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{page}");
        let mut answered = std::time::Instant::now();
        for _ in 0..2 {
            read_head(&mut stream).unwrap();
            answered = std::time::Instant::now();
            stream.write_all(answer.as_bytes()).unwrap();
        }
        read_head(&mut stream).unwrap();
        answered.elapsed()
    });
    assert!(next(&mut chat).await.is_ok());
    let pause = polled.await.unwrap();
    assert!(pause >= INTERVAL, "{pause:?}");
}
