//! What operators do by their address: they look at channels, and end connections.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, ORIGIN};
use http::response::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use sockeye::{Client, WebSocket};
use sockeye_hub::{ChannelName, Publication};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::auth::{key, token};
use crate::client::{Answer, SOON, TestServer, read_to_end, send};
use crate::stalled::{ask_and_stall, flood};
use crate::v1::V1;

pub(crate) const SOCKETS: [(&str, Option<&str>); 3] = [
    ("/c/chat?as=ann", None),
    ("/connect?as=ann", Some("sockeye.v1")),
    ("/c/chat?as=ann", Some("sockeye.v1")),
];
pub(crate) const STREAMS: [(&str, &str); 4] = [
    ("/c/chat?as=ann", "text/event-stream"),
    ("/c/chat?as=ann", "application/x-ndjson"),
    ("/c/chat,news?as=ann", "text/event-stream"),
    ("/c/chat,news?as=ann", "application/x-ndjson"),
];
pub(crate) const POLLS: [&str; 2] = ["/c/chat?wait=60&as=ann", "/c/chat,news?wait=60&as=ann"];

impl TestServer {
    /// Sends an operator's request.
    pub(crate) async fn order(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        send(self.admin(), request.header(HOST, self.admin().to_string()), Bytes::new()).await
    }

    /// What is listed of the channels.
    async fn channels(&self, query: &str) -> Value {
        let answer = self.operate(&format!("/channels{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        assert!(answer.body.len() < 320 << 10, "{} bytes", answer.body.len());
        answer.json()
    }
}

pub(crate) async fn web_socket(
    server: &TestServer,
    is_http2: bool,
    (path, protocol): (&str, Option<&str>),
) -> WebSocket {
    let mut client = Client::new(format!("ws://{}{path}", server.address)).unwrap();
    if let Some(protocol) = protocol {
        client = client.subprotocol(protocol);
    }
    if !is_http2 {
        return client.connect().await.unwrap();
    }
    let connection = sockeye::http2::Connection::connect(&client).await.unwrap();
    connection.open(client).await.unwrap().socket
}

/// A request whose response is read to its end.
pub(crate) fn ask(
    server: &TestServer,
    is_http2: bool,
    (path, accept): (&str, &str),
) -> JoinHandle<(Parts, String)> {
    let (address, path, accept) = (server.address, path.to_owned(), accept.to_owned());
    tokio::spawn(async move {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let uri = if is_http2 { format!("http://{address}{path}") } else { path };
        let request = Request::builder().uri(uri).header("accept", accept);
        let response = if is_http2 {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            let request = request.header(HOST, address.to_string());
            sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body has an end").to_bytes();
        (head, String::from_utf8(body.to_vec()).unwrap())
    })
}

/// Reads a WebSocket to its end, and gives what its Close says.
async fn closed(mut socket: WebSocket) -> (u16, String) {
    let end = async { while let Some(Ok(_)) = socket.recv().await {} };
    timeout(SOON, end).await.expect("the server closes");
    let closed = socket.closed().expect("it is closed");
    (closed.code(), closed.reason().to_owned())
}

#[tokio::test]
async fn a_subject_is_disconnected_on_every_transport_and_no_other_is() {
    for is_http2 in [false, true] {
        let server = TestServer::start().await;
        let mut other = web_socket(&server, is_http2, ("/c/chat?as=ben", None)).await;
        let other_stream = ask(&server, is_http2, ("/c/chat?as=ben", "text/event-stream"));
        let mut sockets = Vec::new();
        for socket in SOCKETS {
            sockets.push(web_socket(&server, is_http2, socket).await);
        }
        let streams = STREAMS.map(|stream| ask(&server, is_http2, stream));
        let polls = POLLS.map(|poll| ask(&server, is_http2, (poll, "application/json")));
        server.connections(11).await;

        let answer = server.order(Method::POST, "/disconnect?subject=ann").await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"disconnected": 9})));
        for socket in sockets {
            assert_eq!(closed(socket).await, (4403, "disconnected by an operator".to_owned()));
        }
        for stream in streams {
            let (head, _) = timeout(SOON, stream).await.expect("it ends").unwrap();
            assert_eq!(head.status, StatusCode::OK);
        }
        for poll in polls {
            let (head, body) = timeout(SOON, poll).await.expect("it is answered").unwrap();
            assert_eq!(head.status, StatusCode::OK, "{body}");
            let body: Value = serde_json::from_str(&body).unwrap();
            assert!(body["at"].is_string(), "{body}");
            assert_eq!(body["messages"], json!([]));
            let connection = head.headers.get(CONNECTION).map(|value| value.to_str().unwrap());
            assert_eq!(connection, (!is_http2).then_some("close"));
        }
        server.connections(2).await;
        for (transport, count) in
            [("ws", 1.0), ("v1", 2.0), ("sse", 2.0), ("ndjson", 2.0), ("longpoll", 2.0)]
        {
            let labels = format!("{{transport=\"{transport}\",reason=\"disconnected\"}}");
            let name = format!("sockeye_connections_closed_total{labels}");
            server.until_metric(&name, count).await;
        }
        server.publish("/c/chat", "still here").await;
        assert_eq!(other.recv().await.unwrap().unwrap().as_text(), Some("still here"));
        assert!(!other_stream.is_finished());
        // It may come back.
        let mut back = web_socket(&server, is_http2, SOCKETS[0]).await;
        back.send("back").await.unwrap();
        assert_eq!(back.recv().await.unwrap().unwrap().as_text(), Some("back"));
    }
}

#[tokio::test]
async fn one_connection_is_ended_by_its_id() {
    let server = TestServer::start().await;
    let one = web_socket(&server, false, ("/c/chat", None)).await;
    let mut two = web_socket(&server, false, ("/c/chat", None)).await;
    let open = server.connections(2).await;
    let path = format!("/connections/{}", open[0]["id"]);
    assert_eq!(server.order(Method::DELETE, &path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(closed(one).await.0, 4403);
    server.connections(1).await;
    for path in [&path, "/connections/0", "/connections/18446744073709551616", "/connections/ann"] {
        server.order(Method::DELETE, path).await.assert_problem(404, "not_found");
    }
    server.publish("/c/chat", "still here").await;
    assert_eq!(two.recv().await.unwrap().unwrap().as_text(), Some("still here"));
}

#[tokio::test]
async fn a_mistake_or_a_page_disconnects_no_client() {
    let server = TestServer::start().await;
    let _nameless = web_socket(&server, false, ("/c/chat", None)).await;
    let _ann = web_socket(&server, false, ("/c/chat?as=ann", None)).await;
    let open = server.connections(2).await;
    for path in ["/disconnect", "/disconnect?subject="] {
        server.order(Method::POST, path).await.assert_problem(400, "bad_request");
    }
    let answer = server.order(Method::POST, "/disconnect?subject=an").await;
    assert_eq!(answer.json(), json!({"disconnected": 0}));
    let by_id = format!("/connections/{}", open[0]["id"]);
    for (method, path) in [(Method::POST, "/disconnect?subject=ann"), (Method::DELETE, &by_id)] {
        for origin in ["https://example.org", "null"] {
            let request = Request::builder().method(method.clone()).uri(path);
            let request = request.header(HOST, server.admin().to_string()).header(ORIGIN, origin);
            let answer = send(server.admin(), request, Bytes::new()).await;
            answer.assert_problem(403, "bad_origin");
        }
        // A browser that follows a link.
        let status = server.operate(path).await.status;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        // The address of clients does not have it.
        let answer = server.send(server.request(method, path), "").await;
        answer.assert_problem(404, "not_found");
    }
    assert_eq!(server.connections(2).await.len(), 2);
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_nothing_that_comes_later() {
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let server = TestServer::with(|options| options.channels.history_bytes = 1 << 30).await;
        let stream = ask_and_stall(&server, "/c/chat?as=ann", accept).await;
        server.connections(1).await;
        flood(&server).await;
        let answer = server.order(Method::POST, "/disconnect?subject=ann").await;
        assert_eq!(answer.json(), json!({"disconnected": 1}));
        // It is told once.
        let answer = server.order(Method::POST, "/disconnect?subject=ann").await;
        assert_eq!(answer.json(), json!({"disconnected": 0}));
        server.publish("/c/chat", "too late").await;
        assert!(!read_to_end(stream).await.contains("too late"));
        server.connections(0).await;
    }
}

#[tokio::test]
async fn channels_are_shown_with_what_is_kept_and_their_readers() {
    let server = TestServer::start().await;
    assert_eq!(server.channels("").await, json!({"count": 0, "channels": [], "next": null}));
    server.publish("/c/chat", "one").await;
    let at = server.publish("/c/chat", "two").await;
    let _socket = web_socket(&server, false, ("/c/chat", None)).await;
    let _v1 = web_socket(&server, true, ("/c/chat", Some("sockeye.v1"))).await;
    let _both = ask(&server, false, ("/c/chat,news", "text/event-stream"));
    let _poll = ask(&server, false, ("/c/news?wait=60", "application/json"));
    server.connections(4).await;
    let shown = server.channels("").await;
    let [chat, news] = shown["channels"].as_array().unwrap().as_slice() else { panic!("{shown}") };
    assert_eq!((&shown["count"], &shown["next"]), (&json!(2), &Value::Null));
    assert_eq!((&chat["channel"], &chat["at"]), (&json!("chat"), &json!(at)));
    assert_eq!((&chat["messages"], &chat["ended"]), (&json!(2), &json!(false)));
    assert!(chat["bytes"].as_u64().unwrap() >= 6, "{chat}");
    assert!(chat["last"].as_u64().unwrap() > 1_700_000_000_000, "{chat}");
    assert_eq!(chat["readers"], json!({"ws": 1, "v1": 1, "sse": 1}));
    assert_eq!((&news["channel"], &news["messages"]), (&json!("news"), &json!(0)));
    assert_eq!(
        (&news["last"], &news["readers"]),
        (&Value::Null, &json!({"sse": 1, "longpoll": 1}))
    );
    server.hub.end(&"chat".parse().unwrap(), "").await.unwrap();
    assert_eq!(server.channels("?prefix=ch").await["channels"][0]["ended"], true);
}

#[tokio::test]
async fn channels_come_in_pages_in_the_order_of_their_names() {
    let server = TestServer::start().await;
    let name = |number: usize| format!("room:{number:04}-{}", "x".repeat(240));
    for number in 0..1500 {
        let channel: ChannelName = name(number).parse().unwrap();
        server.hub.publish(&channel, Publication::text("hello")).await.unwrap();
    }
    server.publish("/c/zoo", "hello").await;
    for (limit, least) in [("", 3), ("&limit=400", 4)] {
        let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = server.channels(&format!("?prefix=room:{limit}&after={after}")).await;
            assert_eq!(page["count"], 1500);
            let names = page["channels"].as_array().unwrap().iter();
            seen.extend(names.map(|shown| shown["channel"].as_str().unwrap().to_owned()));
            pages += 1;
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
        }
        assert!(pages >= least, "{pages} pages");
        assert_eq!(seen, (0..1500).map(name).collect::<Vec<_>>());
    }
    for query in ["?prefix=zoo", "?after=room:9", "?limit=1&after=yak"] {
        let page = server.channels(query).await;
        assert_eq!((&page["channels"][0]["channel"], &page["next"]), (&json!("zoo"), &Value::Null));
    }
    for query in ["?prefix=zoom", "?prefix=%20", "?after=zoo"] {
        assert_eq!(server.channels(query).await["channels"], json!([]), "{query}");
    }
    server.operate("/channels?limit=many").await.assert_problem(400, "bad_request");
}

#[tokio::test]
async fn a_subject_is_that_of_its_token_whenever_that_came() {
    let server = TestServer::with(|options| options.channels.auth_key = Some(key())).await;
    let token = token(r#"{"chat":["read"]}"#);
    let mut late = V1::connect(&server, "/connect").await;
    let mut other = V1::connect(&server, "/connect").await;
    late.done(json!({"op": "auth", "token": token})).await;
    let request = server.request(Method::GET, "/c/chat?stream=sse");
    let stream = server.listen(request.header(AUTHORIZATION, format!("Bearer {token}"))).await;
    server.connections(3).await;
    let answer = server.order(Method::POST, "/disconnect?subject=ann").await;
    assert_eq!(answer.json(), json!({"disconnected": 2}));
    assert_eq!(late.end().await.1, 4403);
    stream.rest().await;
    other.assert_silent().await;
}

#[cfg(feature = "fjall")]
#[tokio::test]
async fn channels_on_disk_are_listed_and_not_read_for_that() {
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        TestServer::with(|options| options.channels.data = Some(folder.path().to_owned())).await
    };
    let server = start().await;
    for channel in ["/c/chat", "/c/news"] {
        server.publish(channel, "hello").await;
    }
    server.stop().await;
    let server = start().await;
    for _ in 0..2 {
        let shown = server.channels("").await;
        assert_eq!(shown["count"], 2);
        let unknown = json!({"channel": "chat", "at": null, "messages": null, "bytes": null,
            "last": null, "ended": null, "readers": {}});
        assert_eq!(shown["channels"][0], unknown);
    }
    server.get("/c/chat").await;
    let shown = server.channels("").await;
    assert_eq!((&shown["count"], &shown["channels"][0]["messages"]), (&json!(2), &json!(1)));
    assert_eq!(shown["channels"][1]["messages"], Value::Null);
    assert_eq!(server.channels("?limit=1").await["next"], "chat");
}
