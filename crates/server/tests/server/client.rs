//! A server that runs for one test, and the small HTTP client the tests talk to it with.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::request::Builder;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sockeye_hub::Hub;
use sockeye_server::{Listen, Server, ServerOptions};
use sockeye_tests::cut::Forwarder;
use sockeye_tests::nats;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

mod cluster;

/// Nothing in these tests takes this long unless it hangs.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// How long a server drains, if a test does not say otherwise.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);

/// A server on a free port of loopback. It stops with the test.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// The address for operators.
    admin: SocketAddr,
    /// The hub, where a test needs thousands of messages without requests; that of the first node.
    pub(crate) hub: Hub,
    /// The hubs of all nodes, if it is a cluster.
    nodes: Vec<Hub>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<std::io::Result<()>>,
    /// With a cluster, what gives each connection to the next node.
    balancer: Option<Forwarder>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server with other options than the default ones.
    pub(crate) async fn with(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let mut options = ServerOptions::default();
        options.listen = vec![Listen::Tcp("127.0.0.1:0".to_owned())];
        options.admin = Some(Listen::Tcp("127.0.0.1:0".to_owned()));
        assert_eq!(options.drain, DRAIN, "the default");
        if let Ok(io) = std::env::var("SOCKEYE_IO") {
            options.channels.io = io.parse().unwrap();
        }
        change(&mut options);
        #[cfg(feature = "fjall")]
        let on_disk = options.channels.data.is_some();
        #[cfg(not(feature = "fjall"))]
        let on_disk = false;
        let is_alone = on_disk || options.channels.backplane.is_some();
        if let Some(urls) = nats::given().filter(|_| !is_alone) {
            return cluster::start(&urls, options).await;
        }
        let server = Server::bind(options).await.unwrap();
        let address = server.local_addrs()[0].tcp().unwrap();
        let admin = server.admin_addr().unwrap().tcp().unwrap();
        let hub = server.hub().clone();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run_until(async {
            let _ = stopped.await;
        }));
        let nodes = vec![hub.clone()];
        Self { address, admin, hub, nodes, stop, running, balancer: None }
    }

    /// Whether it is a cluster: offsets then rise with holes, and a channel without messages is where
    /// its shard is.
    pub(crate) fn is_cluster(&self) -> bool {
        self.balancer.is_some()
    }

    /// How many nodes it is.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// How many read channels just now.
    pub(crate) fn readers(&self) -> u64 {
        self.nodes.iter().map(|hub| hub.figures().readers).sum()
    }

    /// Stops the server and waits until it has stopped.
    pub(crate) async fn stop(self) {
        let running = self.begin_to_stop();
        timeout(SOON, running).await.expect("the server stops").unwrap().unwrap();
    }

    /// Stops the server.
    pub(crate) fn begin_to_stop(self) -> JoinHandle<std::io::Result<()>> {
        self.stop.send(()).unwrap();
        self.running
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path), "").await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.send(self.request(Method::HEAD, path), "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path), "").await
    }

    pub(crate) async fn post(&self, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
        self.send(self.request(Method::POST, path).header(CONTENT_TYPE, kind), body).await
    }

    /// Publishes a text and returns its position.
    pub(crate) async fn publish(&self, path: &str, text: &str) -> String {
        let answer = self.post(path, "text/plain", text.to_owned()).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        answer.json()["at"].as_str().unwrap().to_owned()
    }

    /// Sends a request to the operators' address.
    pub(crate) async fn operate(&self, path: &str) -> Answer {
        let request = Request::builder().uri(path).header(HOST, self.admin.to_string());
        send(self.admin, request, Bytes::new()).await
    }

    /// The operators' address.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A request with the right `Host`, to add headers to.
    pub(crate) fn request(&self, method: Method, path: &str) -> Builder {
        Request::builder().method(method).uri(path).header(HOST, self.address.to_string())
    }

    /// Sends the request on a connection of its own.
    pub(crate) async fn send(&self, request: Builder, body: impl Into<Bytes>) -> Answer {
        send(self.address, request, body.into()).await
    }

    /// Sends bytes as they are and returns what comes back until the server closes the connection.
    pub(crate) async fn send_raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        read_to_end(stream).await
    }
}

/// Sends the request to that address, on a connection of its own.
pub(crate) async fn send(address: SocketAddr, request: Builder, body: Bytes) -> Answer {
    let request = request.body(Full::new(body)).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = async {
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    };
    timeout(SOON, answer).await.expect("the server answers")
}

/// What comes until the other side closes the connection.
pub(crate) async fn read_to_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the response is an end, too.
    let read = async { while stream.read_buf(&mut answer).await.is_ok_and(|count| count > 0) {} };
    timeout(SOON, read).await.expect("the server ends the connection");
    String::from_utf8(answer).unwrap()
}

/// A response of the server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header's value, or nothing; several lines of it as one list.
    pub(crate) fn header(&self, name: &str) -> String {
        let lines = self.headers.get_all(name).iter().map(|value| value.to_str().unwrap());
        lines.collect::<Vec<_>>().join(", ")
    }

    /// Asserts that this is a problem with this status and code, in the form of RFC 9457.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        let problem = self.json();
        assert_eq!((self.status.as_u16(), &problem["code"]), (status, &code.into()), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        for words in ["title", "detail"] {
            assert!(problem[words].as_str().is_some_and(|words| !words.is_empty()), "{problem}");
        }
    }
}
