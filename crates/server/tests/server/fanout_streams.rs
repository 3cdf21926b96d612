//! Many streams of Server-Sent Events and NDJSON on one channel, which the server writes to by groups.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::json;
use sockeye_hub::{ChannelName, Hub, Publication};
use sockeye_server::ServerOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{SOON, TestServer};
use crate::tls::Secure;

/// Enough for groups, also where the connections are spread over three nodes.
const MANY: usize = 60;

const KINDS: [&str; 3] = ["text/event-stream", "text/event-stream;meta", "application/x-ndjson"];

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A client, and what it has read.
struct Client {
    io: Box<dyn Stream>,
    read: Vec<u8>,
    /// How much of it was looked at.
    seen: usize,
}

fn chat() -> ChannelName {
    "chat".parse().unwrap()
}

impl Client {
    /// Opens the stream of this number: the kinds take turns, and some clients speak HTTP/1.0.
    async fn open(mut io: impl Stream + 'static, number: usize) -> Self {
        let (accept, path) = match KINDS[number % KINDS.len()].split_once(';') {
            Some((accept, _)) => (accept, "/c/chat?meta=1"),
            None => (KINDS[number % KINDS.len()], "/c/chat"),
        };
        let version = if number.is_multiple_of(4) { "1.0" } else { "1.1" };
        let head =
            format!("GET {path} HTTP/{version}\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        io.write_all(head.as_bytes()).await.unwrap();
        let mut client = Self { io: Box::new(io), read: Vec::new(), seen: 0 };
        // The reader is there before the response is.
        client.until("\r\n\r\n").await;
        client
    }

    /// Reads until that has come.
    async fn until(&mut self, what: &str) {
        let coming = async {
            while !contains(&self.read[self.seen..], what) {
                self.seen = self.seen.max(self.read.len().saturating_sub(what.len()));
                assert!(self.io.read_buf(&mut self.read).await.unwrap() > 0, "{}", self.text());
            }
        };
        if timeout(SOON, coming).await.is_err() {
            panic!("{what:?} does not come: {}", self.text());
        }
    }

    /// What was read is of no interest any more.
    fn forget(&mut self) {
        self.read.clear();
        self.seen = 0;
    }

    /// Reads to the end of the connection, or of the body.
    async fn read_to_end(&mut self) {
        let is_chunked = contains(&self.read, "chunked");
        let ending = async {
            while !(is_chunked && self.read.ends_with(b"\r\n0\r\n\r\n")) {
                if self.io.read_buf(&mut self.read).await.unwrap() == 0 {
                    break;
                }
            }
        };
        timeout(SOON, ending).await.expect("it ends");
        assert_eq!(self.read.ends_with(b"\r\n0\r\n\r\n"), is_chunked, "{}", self.text());
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// The body, whose chunks have to be whole.
    fn body(&self) -> String {
        let text = self.text();
        let (head, mut rest) = text.split_once("\r\n\r\n").unwrap();
        if !head.contains("chunked") {
            return rest.to_owned();
        }
        let mut body = String::new();
        while let Some((length, after)) = rest.split_once("\r\n") {
            let (data, after) = after.split_at(usize::from_str_radix(length, 16).unwrap());
            body.push_str(data);
            rest = after.strip_prefix("\r\n").unwrap();
        }
        assert_eq!(rest, "");
        body
    }

    /// The numbers with which the messages begin, in the order in which they came.
    fn numbers(&self) -> Vec<usize> {
        let body = self.body();
        let after = |line: &str| {
            let at = ["data: ", "\"data\":\""]
                .iter()
                .filter_map(|it| line.rfind(it).map(|at| at + it.len()));
            let text = &line[at.max()?..];
            text.split(' ').next().unwrap().parse().ok()
        };
        body.lines().filter_map(after).collect()
    }
}

fn contains(bytes: &[u8], what: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(what)
}

async fn connect(server: &TestServer, count: usize) -> Vec<Client> {
    let open = async |number| {
        Client::open(TcpStream::connect(server.address).await.unwrap(), number).await
    };
    join_all((0..count).map(open)).await
}

async fn all_until(clients: &mut [Client], what: &str) {
    join_all(clients.iter_mut().map(|client| client.until(what))).await;
}

/// Some stop reading while messages are published, and go on when all are: each gets all, in order and once.
async fn publish_to(hub: &Hub, mut clients: Vec<Client>) {
    const MESSAGES: usize = 40;
    // More than the system's buffers of a connection take.
    let padding = "x".repeat(60 << 10);
    for number in 0..MESSAGES {
        let text = format!("{number} {padding} end of {number}.");
        hub.publish(&chat(), Publication::text(&text)).await.unwrap();
        // Every seventh stops, each at another message.
        let reads = |index: usize| !index.is_multiple_of(7) || number < index / 7;
        let reading = clients.iter_mut().enumerate().filter(|(index, _)| reads(*index));
        let what = format!("end of {number}.");
        join_all(reading.map(|(_, client)| client.until(&what))).await;
    }
    all_until(&mut clients, &format!("end of {}.", MESSAGES - 1)).await;
    for client in &mut clients {
        read_rest(client).await;
        assert!(client.numbers().into_iter().eq(0..MESSAGES), "{:?}", client.numbers());
    }
}

/// Reads what follows the last text of a message: the end of its event or line, and of its chunk.
async fn read_rest(client: &mut Client) {
    let rest = match contains(&client.read[..client.read.len().min(2000)], "chunked") {
        true => "\n\r\n",
        false => "\n",
    };
    if !client.read.ends_with(rest.as_bytes()) {
        let ending = async {
            while !client.read.ends_with(rest.as_bytes()) {
                client.io.read_buf(&mut client.read).await.unwrap();
            }
        };
        timeout(SOON, ending).await.expect("the rest comes");
    }
}

fn roomy(options: &mut ServerOptions) {
    options.channels.history_bytes = 1 << 30;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_get_all_in_order_and_once_however_they_read() {
    let server = TestServer::with(roomy).await;
    let clients = connect(&server, MANY).await;
    publish_to(&server.hub, clients).await;
}

#[tokio::test]
async fn the_same_over_tls() {
    let secure = Secure::with(roomy).await;
    let mut clients = Vec::new();
    for number in 0..20 {
        clients.push(Client::open(secure.connect().await, number).await);
    }
    publish_to(&secure.server.hub, clients).await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_same_over_a_unix_socket() {
    use crate::unix::UnixServer;

    let server = UnixServer::with(roomy).await;
    let open = async |number| Client::open(server.connect().await, number).await;
    let mut clients = join_all((0..MANY).map(open)).await;
    let mut publisher = server.connect().await;
    for number in 0..3 {
        let text = format!("{number} end of {number}.");
        let head = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{text}", text.len());
        publisher.write_all(request.as_bytes()).await.unwrap();
        all_until(&mut clients, &format!("end of {number}.")).await;
    }
    for client in &mut clients {
        read_rest(client).await;
        assert_eq!(client.numbers(), [0, 1, 2]);
    }
}

#[tokio::test]
async fn what_is_counted_is_what_each_got() {
    let server = TestServer::start().await;
    let mut clients = connect(&server, MANY).await;
    for number in 0..5 {
        let text = format!("{number} end of {number}.");
        server.publish("/c/chat", &text).await;
        all_until(&mut clients, &format!("end of {number}.")).await;
    }
    if server.is_cluster() {
        return;
    }
    for (transport, count) in [("sse", MANY * 2 / 3), ("ndjson", MANY / 3)] {
        let name = format!("sockeye_messages_sent_total{{transport=\"{transport}\"}}");
        server.until_metric(&name, (5 * count) as f64).await;
    }
    server.until_metric("sockeye_delivery_seconds_count", (5 * MANY) as f64).await;
    let mut bytes = Vec::new();
    for client in &mut clients {
        read_rest(client).await;
        let body = client.body();
        // Without what an SSE stream begins with.
        let begins = if body.starts_with("retry: ") { body.find("\nid: ").unwrap() + 1 } else { 0 };
        let opening = if begins == 0 { 0 } else { begins + body[begins..].find('\n').unwrap() + 1 };
        bytes.push(body.len() - opening);
    }
    let mut counted = Vec::new();
    for connection in server.connections(MANY).await {
        assert_eq!(connection["messages"], json!(5), "{connection}");
        assert_eq!(connection["channels"][0]["lag"], 0, "{connection}");
        counted.push(connection["bytes"].as_u64().unwrap() as usize);
    }
    bytes.sort_unstable();
    counted.sort_unstable();
    assert_eq!(counted, bytes);
}

#[tokio::test]
async fn the_end_of_the_channel_ends_all_behind_the_last_message() {
    let server = TestServer::start().await;
    if server.is_cluster() {
        return;
    }
    let mut clients = connect(&server, MANY).await;
    server.publish("/c/chat", "0 first").await;
    all_until(&mut clients, "0 first").await;
    server.hub.publish(&chat(), Publication::text("1 last")).wait().unwrap();
    server.hub.end(&chat(), "").wait().unwrap();
    for client in &mut clients {
        client.read_to_end().await;
        assert_eq!(client.numbers(), [0, 1]);
        assert!(client.text().contains("\"end\":true") || client.text().contains("event: end"));
    }
}

#[tokio::test]
async fn a_deleted_history_is_told_to_each_and_all_go_on() {
    let server = TestServer::start().await;
    if server.is_cluster() {
        return;
    }
    let mut clients = connect(&server, MANY).await;
    server.publish("/c/chat", "0 before").await;
    all_until(&mut clients, "0 before").await;
    assert_eq!(server.delete("/c/chat").await.status, StatusCode::NO_CONTENT);
    all_until(&mut clients, "reset").await;
    for number in 1..4 {
        server.publish("/c/chat", &format!("{number} after")).await;
        all_until(&mut clients, &format!("{number} after")).await;
    }
    for client in &mut clients {
        read_rest(client).await;
        assert_eq!(client.numbers(), [0, 1, 2, 3]);
        assert_eq!(client.text().matches("\"reset\"").count(), 1);
    }
}

#[tokio::test]
async fn all_are_told_when_to_come_back_when_the_server_stops() {
    let server = TestServer::start().await;
    let mut clients = connect(&server, MANY).await;
    server.publish("/c/chat", "0 first").await;
    all_until(&mut clients, "0 first").await;
    let running = server.begin_to_stop();
    join_all(clients.iter_mut().map(Client::read_to_end)).await;
    for (number, client) in clients.iter().enumerate() {
        let last = client.body().lines().rev().find(|line| !line.is_empty()).unwrap().to_owned();
        let is_events = KINDS[number % KINDS.len()].starts_with("text/event-stream");
        assert_eq!(last.starts_with("retry: "), is_events, "{}", client.text());
    }
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn one_is_ended_by_an_operator_and_the_others_go_on() {
    let server = TestServer::start().await;
    if server.is_cluster() {
        return;
    }
    let mut clients = connect(&server, MANY).await;
    server.publish("/c/chat", "0 first").await;
    all_until(&mut clients, "0 first").await;
    let open = server.connections(MANY).await;
    let path = format!("/connections/{}", open[MANY / 2]["id"]);
    assert_eq!(server.order(Method::DELETE, &path).await.status, StatusCode::NO_CONTENT);
    server.connections(MANY - 1).await;
    server.publish("/c/chat", "1 second").await;
    let mut ended = 0;
    for client in &mut clients {
        let reading = async {
            while !contains(&client.read, "1 second") {
                if client.io.read_buf(&mut client.read).await.unwrap() == 0 {
                    return true;
                }
                if client.read.ends_with(b"\r\n0\r\n\r\n") {
                    return true;
                }
            }
            false
        };
        ended += usize::from(timeout(SOON, reading).await.unwrap());
    }
    assert_eq!(ended, 1);
}

#[tokio::test]
async fn heartbeats_come_between_messages() {
    let server =
        TestServer::with(|options| options.channels.heartbeat = Duration::from_millis(20)).await;
    let mut clients = connect(&server, MANY).await;
    for number in 0..3 {
        server.publish("/c/chat", &format!("{number} end of {number}.")).await;
        for (index, client) in clients.iter_mut().enumerate() {
            client.until(&format!("end of {number}.")).await;
            let beat = match (KINDS[index % KINDS.len()], index % 4) {
                ("application/x-ndjson", 0) => "\n\n\n",
                ("application/x-ndjson", _) => "\r\n1\r\n\n\r\n",
                (_, 0) => "\n:\n:\n",
                (_, _) => "\r\n2\r\n:\n\r\n",
            };
            client.until(beat).await;
        }
    }
    for client in &mut clients {
        read_rest(client).await;
        assert_eq!(client.numbers(), [0, 1, 2]);
    }
}

/// One that does not read at all holds no other up, is cut off, and those that have left are not counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_read_is_cut_off_and_holds_no_other_up() {
    let server = TestServer::with(|options| {
        options.channels.write_timeout = Duration::from_millis(200);
        roomy(options);
    })
    .await;
    if server.is_cluster() {
        return;
    }
    // One more than a group needs.
    let mut clients = connect(&server, 18).await;
    let _deaf = clients.pop().unwrap();
    let padding = "x".repeat(60 << 10);
    // More than the system's buffers of a connection take.
    for number in 0..350 {
        let text = format!("{number} {padding} end of {number}.");
        server.hub.publish(&chat(), Publication::text(&text)).await.unwrap();
        all_until(&mut clients, &format!("end of {number}.")).await;
        clients.iter_mut().for_each(Client::forget);
    }
    server.has_readers(17).await;
    server.has_ended("ndjson", "stalled").await;
    drop(clients);
    server.has_readers(0).await;
}

/// A client that shuts down its sending side has left.
#[tokio::test]
async fn members_that_have_left_are_not_written_to() {
    let server = TestServer::start().await;
    let mut clients = connect(&server, MANY).await;
    server.publish("/c/chat", "0 first").await;
    all_until(&mut clients, "0 first").await;
    for client in &mut clients[..MANY / 2] {
        client.io.shutdown().await.unwrap();
    }
    server.has_readers((MANY - MANY / 2) as u64).await;
    server.publish("/c/chat", "1 second").await;
    all_until(&mut clients[MANY / 2..], "1 second").await;
    drop(clients);
    server.has_readers(0).await;
}
