//! What concerns one member of a group alone reaches it, and no other.

use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, header};
use serde_json::json;
use sockeye::{Client, WebSocket};
use sockeye_hub::{ChannelName, Publication};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::auth::{self, HEADER, LIFETIME, now, sign};
use crate::client::{SOON, TestServer, send};

/// More than a group needs.
const MANY: usize = 20;

fn chat() -> ChannelName {
    "chat".parse().unwrap()
}

/// A token for that many seconds, with this `jti`.
fn token(seconds: f64, jti: &str) -> (f64, String) {
    let until = now() + seconds;
    let claims = json!({"exp": until, "jti": jti, "channels": {"chat": ["read", "write"]}});
    (until, sign(HEADER, claims.to_string()))
}

async fn web_socket(server: &TestServer, token: &str) -> WebSocket {
    let client = Client::new(format!("ws://{}/c/chat", server.address)).unwrap();
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    client.header(header::AUTHORIZATION, value).connect().await.unwrap()
}

/// The next message of each is this text.
async fn assert_all_receive(sockets: &mut [WebSocket], text: &str) {
    for socket in sockets {
        let message = timeout(SOON, socket.recv()).await.expect("a message comes");
        assert_eq!(message.expect("it is open").unwrap().as_text(), Some(text));
    }
}

async fn assert_closed(socket: &mut WebSocket, code: u16) {
    let end = timeout(SOON, socket.recv()).await.expect("the server closes");
    assert!(end.is_none(), "{end:?}");
    assert_eq!(socket.closed().expect("it is closed").code(), code);
}

/// A stream of events, by HTTP/1.0: so its body has no chunks.
struct Events {
    io: TcpStream,
    read: String,
}

impl Events {
    async fn open(server: &TestServer, path: &str, headers: &str) -> Self {
        let mut io = TcpStream::connect(server.address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n{headers}\r\n"
        );
        io.write_all(request.as_bytes()).await.unwrap();
        let mut events = Self { io, read: String::new() };
        events.until("retry: ").await;
        events
    }

    /// Reads on; `false` at the end.
    async fn read_on(&mut self) -> bool {
        let mut bytes = vec![0; 64 << 10];
        let read = timeout(SOON, self.io.read(&mut bytes)).await.expect("something comes");
        let Ok(count @ 1..) = read else { return false };
        self.read.push_str(std::str::from_utf8(&bytes[..count]).expect("texts of ASCII"));
        true
    }

    async fn until(&mut self, text: &str) {
        while !self.read.contains(text) {
            assert!(self.read_on().await, "no {text:?} in {}", self.read);
        }
    }

    async fn read_to_end(&mut self) {
        while self.read_on().await {}
    }

    /// The `id` of the last event that has come whole.
    fn last_id(&self) -> &str {
        let whole = &self.read[..self.read.rfind("\n\n").expect("an event has come")];
        let mut ids = whole.lines().filter_map(|line| line.strip_prefix("id: "));
        ids.next_back().expect("it has an id")
    }

    /// The numbers with which the messages begin, those behind the last gap by themselves.
    fn numbers(&self) -> (Vec<usize>, Vec<usize>) {
        let number = |line: &str| line.strip_prefix("data: ")?.split(' ').next()?.parse().ok();
        let (before, behind) = self.read.rsplit_once("event: gap").unwrap_or((&self.read, ""));
        (before.lines().filter_map(number).collect(), behind.lines().filter_map(number).collect())
    }
}

async fn publish(server: &TestServer, channel: &ChannelName, text: &str) {
    server.hub.publish(channel, Publication::text(text)).await.unwrap();
}

#[tokio::test]
async fn a_member_ends_with_its_token_and_the_others_go_on() {
    let server = auth::server().await;
    let (_, long) = token(3600.0, "long");
    let mut staying = Vec::new();
    for _ in 0..MANY {
        staying.push(web_socket(&server, &long).await);
    }
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let header = bearer(&long);
    let open = |_| Events::open(&server, "/c/chat", &header);
    let mut streams = join_all((0..MANY).map(open)).await;
    let (until, short) = token(3.0 * LIFETIME, "short");
    let mut ending = web_socket(&server, &short).await;
    let (stream_until, short) = token(3.0 * LIFETIME, "short");
    let mut ending_stream = Events::open(&server, "/c/chat", &bearer(&short)).await;
    publish(&server, &chat(), "0 first").await;
    assert_all_receive(std::slice::from_mut(&mut ending), "0 first").await;
    ending_stream.until("0 first").await;
    assert_closed(&mut ending, 4401).await;
    assert!(now() >= until, "it ended before its time");
    ending_stream.read_to_end().await;
    assert!(now() >= stream_until, "it ended before its time");
    publish(&server, &chat(), "1 second").await;
    for text in ["0 first", "1 second"] {
        assert_all_receive(&mut staying, text).await;
        join_all(streams.iter_mut().map(|stream| stream.until(text))).await;
    }
}

#[tokio::test]
async fn members_whose_token_is_revoked_end_at_once_and_the_others_go_on() {
    let server = auth::server().await;
    if server.is_cluster() {
        return;
    }
    let ((_, bad), (_, good)) = (token(3600.0, "bad"), token(3600.0, "good"));
    let (mut gone, mut staying, mut streams) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..MANY {
        gone.push(web_socket(&server, &bad).await);
        staying.push(web_socket(&server, &good).await);
        let token = if number % 2 == 0 { &bad } else { &good };
        let header = format!("Authorization: Bearer {token}\r\n");
        streams.push(Events::open(&server, "/c/chat", &header).await);
    }
    publish(&server, &chat(), "0 first").await;
    assert_all_receive(&mut gone, "0 first").await;
    assert_all_receive(&mut staying, "0 first").await;
    let request = Request::builder().method(Method::POST).uri("/revoke");
    let request = request.header(header::HOST, server.admin().to_string());
    let answer = send(server.admin(), request, r#"{"jti":"bad"}"#.into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for socket in &mut gone {
        assert_closed(socket, 4401).await;
    }
    publish(&server, &chat(), "1 second").await;
    assert_all_receive(&mut staying, "1 second").await;
    for (number, stream) in streams.iter_mut().enumerate() {
        match number % 2 {
            0 => stream.read_to_end().await,
            _ => stream.until("1 second").await,
        }
        assert_eq!(stream.read.contains("1 second"), number % 2 == 1, "{}", stream.read);
    }
}

#[tokio::test]
async fn a_member_that_comes_back_gets_what_it_missed_and_goes_on_with_the_others() {
    let server = TestServer::start().await;
    let open = |_| Events::open(&server, "/c/chat", "");
    let mut streams = join_all((0..MANY).map(open)).await;
    publish(&server, &chat(), "0 end of 0.").await;
    join_all(streams.iter_mut().map(|stream| stream.until("end of 0.\n\n"))).await;
    let mut leaving = streams.split_off(MANY / 2);
    let ids: Vec<String> = leaving.iter().map(|stream| stream.last_id().to_owned()).collect();
    leaving.clear();
    server.has_readers((MANY / 2) as u64).await;
    for number in 1..4 {
        publish(&server, &chat(), &format!("{number} end of {number}.")).await;
    }
    let mut back = Vec::new();
    for id in ids {
        let header = format!("Last-Event-ID: {id}\r\n");
        back.push(Events::open(&server, "/c/chat", &header).await);
    }
    join_all(back.iter_mut().map(|stream| stream.until("end of 3.\n\n"))).await;
    publish(&server, &chat(), "4 end of 4.").await;
    for stream in streams.iter_mut().chain(&mut back) {
        stream.until("end of 4.\n\n").await;
    }
    assert!(streams.iter().all(|stream| stream.numbers().0 == [0, 1, 2, 3, 4]));
    assert!(back.iter().all(|stream| stream.numbers().0 == [1, 2, 3, 4]));
}

/// A member that reads nothing gets a gap when it reads on, and then what the policy of its channel says.
#[tokio::test]
async fn a_slow_member_goes_on_as_the_policy_of_the_channel_says() {
    const KEPT: usize = 10;
    // More than the system's buffers of a connection take.
    const MESSAGES: usize = 350;
    for name in ["chat", "latest", "strict"] {
        let server = TestServer::with(|options| {
            let channels = &mut options.channels;
            channels.history_count = KEPT;
            channels.history_bytes = 1 << 30;
            let rules = ["latest=latest", "strict=close"];
            channels.policy = rules.map(|rule| rule.parse().unwrap()).to_vec();
        })
        .await;
        if server.is_cluster() {
            return;
        }
        let (channel, path) = (name.parse().unwrap(), format!("/c/{name}"));
        let open = |_| Events::open(&server, &path, "");
        let mut streams = join_all((0..MANY).map(open)).await;
        let mut slow = streams.pop().unwrap();
        let padding = "x".repeat(60 << 10);
        for number in 0..MESSAGES {
            publish(&server, &channel, &format!("{number} {padding} end of {number}.")).await;
            for stream in &mut streams {
                stream.until(&format!("end of {number}.")).await;
                stream.read.clear();
            }
        }
        match name {
            "strict" => slow.read_to_end().await,
            _ => slow.until(&format!("end of {}.\n\n", MESSAGES - 1)).await,
        }
        let (before, behind) = slow.numbers();
        assert!(before.is_sorted_by(|a, b| a < b), "{before:?}");
        let expected: Vec<usize> = match name {
            "chat" => (MESSAGES - KEPT..MESSAGES).collect(),
            "latest" => vec![MESSAGES - 1],
            _ => Vec::new(),
        };
        assert_eq!(behind, expected, "{name}");
        assert!(slow.read.contains("\"why\":\"slow\""), "{name}");
    }
}

/// Members answer pings, or are given up, though nothing is sent to them.
#[tokio::test]
async fn a_member_that_answers_no_ping_is_given_up_and_the_others_stay() {
    let server = TestServer::with(|options| {
        options.channels.ping_interval = Some(Duration::from_millis(100));
        options.channels.pong_timeout = Duration::from_secs(3);
    })
    .await;
    if server.is_cluster() {
        return;
    }
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    deaf.write_all(request.as_bytes()).await.unwrap();
    let connect = |_| sockeye::connect(format!("ws://{}/c/chat", server.address));
    let mut sockets = join_all((0..MANY).map(connect)).await;
    server.has_readers(MANY as u64 + 1).await;
    let reading: Vec<_> = sockets
        .drain(..)
        .map(|socket| {
            let mut socket = socket.unwrap();
            tokio::spawn(async move { socket.recv().await.unwrap().unwrap() })
        })
        .collect();
    server.has_readers(MANY as u64).await;
    publish(&server, &chat(), "all are here").await;
    for message in reading {
        let message = timeout(SOON, message).await.expect("a message comes").unwrap();
        assert_eq!(message.as_text(), Some("all are here"));
    }
}

/// A member that an operator disconnects is told so, and a member may publish at any time.
#[tokio::test]
async fn an_operator_ends_one_member_and_another_publishes() {
    let server = TestServer::start().await;
    if server.is_cluster() {
        return;
    }
    let connect = |_| sockeye::connect(format!("ws://{}/c/chat", server.address));
    let sockets = join_all((0..MANY).map(connect)).await;
    let mut sockets: Vec<WebSocket> = sockets.into_iter().map(Result::unwrap).collect();
    let open = server.connections(MANY).await;
    for connection in &open[..MANY / 2] {
        let path = format!("/connections/{}", connection["id"]);
        assert_eq!(server.order(Method::DELETE, &path).await.status, 204);
    }
    server.connections(MANY - MANY / 2).await;
    server.has_readers((MANY - MANY / 2) as u64).await;
    publish(&server, &chat(), "who is here?").await;
    let mut staying = Vec::new();
    for mut socket in sockets.drain(..) {
        match timeout(SOON, socket.recv()).await.expect("something comes") {
            Some(message) => {
                assert_eq!(message.unwrap().as_text(), Some("who is here?"));
                staying.push(socket);
            }
            None => assert_eq!(socket.closed().unwrap().code(), 4403),
        }
    }
    assert_eq!(staying.len(), MANY / 2);
    staying[0].send("from one of them").await.unwrap();
    assert_all_receive(&mut staying, "from one of them").await;
}
