//! A server without descriptors or places: clients that only stay make room for those that come.
#![cfg(all(unix, feature = "http2", feature = "tls"))]
#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

#[allow(dead_code, reason = "another test uses the rest")]
mod certificates;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use certificates::{Authority, Identity};
use http::StatusCode;
use sockeye::{Client, Incoming, Server, WebSocket, http2::Connection};
use sockeye_testing::handshake::{Head, request};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

/// Descriptors of the server, and connections that would take more of them.
const DESCRIPTORS: usize = 48;
const CONNECTIONS: usize = 80;
/// How many clients the server without TLS admits.
const PLACES: usize = 6;

const CERTIFICATE: &str = "SOCKEYE_TEST_CERTIFICATE";
const KEY: &str = "SOCKEYE_TEST_KEY";

type Anything = Box<dyn std::error::Error + Send + Sync>;

/// Sends back whatever comes, but refuses `/refused`.
async fn echo(incoming: Incoming) -> Result<(), Anything> {
    if incoming.path() == "/refused" {
        incoming.refuse(StatusCode::NOT_FOUND, "not here").await;
        return Ok(());
    }
    let mut socket = incoming.accept().await?;
    while let Some(message) = socket.recv().await {
        socket.send(message?).await?;
    }
    Ok(())
}

/// The server of the other tests: `ws://`, or `wss://` if there is a certificate.
#[tokio::test]
#[ignore = "the other tests run it, in a process with few descriptors"]
async fn a_server_of_its_own() {
    let Ok(certificate) = env::var(CERTIFICATE) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("port={};", listener.local_addr().unwrap().port());
    let server = Server::from_listener(listener);
    let server = match env::var(KEY) {
        Ok(key) => server.tls(Identity { certificate, key }.server()),
        Err(_) => server.max_connections(PLACES),
    };
    server.run(echo).await;
}

/// The server in a process of its own, which ends with this.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    fn start(identity: Option<&Identity>) -> Self {
        let line = format!(
            "ulimit -n {DESCRIPTORS} && exec \"$0\" --exact a_server_of_its_own --ignored --nocapture"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &line]).arg(env::current_exe().unwrap()).stdout(Stdio::piped());
        command.env(CERTIFICATE, identity.map_or("", |identity| &identity.certificate));
        if let Some(identity) = identity {
            command.env(KEY, &identity.key);
        }
        let mut child = command.spawn().unwrap();
        let port = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .find_map(|line| line.unwrap().split_once("port=")?.1.split_once(';')?.0.parse().ok());
        Self { child, port: port.expect("it listens") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_echoed(socket: &mut WebSocket) {
    socket.send("still here").await.unwrap();
    let echo = socket.recv().await.expect("it is open").unwrap();
    assert_eq!(echo.as_text(), Some("still here"));
}

#[tokio::test]
async fn connections_of_http2_without_streams_make_room_and_those_with_one_do_not() {
    let authority = Authority::new();
    let server = Process::start(Some(&authority.identity("localhost")));
    let url = format!("wss://localhost:{}/", server.port);
    let client = Client::new(&url).unwrap().tls(authority.trusted());
    let shared = Connection::connect(&client).await.unwrap();
    let mut open = shared.open(client.clone()).await.unwrap().socket;
    let mut alone = client.clone().connect().await.unwrap();
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS {
        let connection = Connection::connect(&client).await.expect("it finds room");
        let opened = connection.open(client.clone()).await;
        let mut socket =
            opened.unwrap_or_else(|error| panic!("newcomer {number} is served: {error}")).socket;
        is_echoed(&mut socket).await;
        socket.close(None).await;
        idle.push(connection);
    }
    is_echoed(&mut open).await;
    is_echoed(&mut alone).await;
}

#[tokio::test]
async fn clients_that_a_handler_has_refused_take_no_place_and_make_room() {
    let server = Process::start(None);
    let url = format!("ws://127.0.0.1:{}/", server.port);
    let mut open = sockeye::connect(&url).await.unwrap();
    let mut lingering = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        stream.write_all(request("/refused").as_bytes()).await.unwrap();
        let head = Head::read_async(&mut stream).await.unwrap();
        assert_eq!(head.status(), 404, "newcomer {number}");
        lingering.push(stream);
    }
    let mut newcomer = sockeye::connect(&url).await.unwrap();
    is_echoed(&mut newcomer).await;
    is_echoed(&mut open).await;
}
