//! The resources for operators: whether the server is alive and ready, its metrics, and its
//! connections.

use http::header::HOST;
use http::{Request, StatusCode};
use serde_json::Value;
use sockeye_server::{BindError, Listen, Server, ServerOptions};
use sockeye_testing::eventually_async;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::client::{Answer, SOON, TestServer, send};

impl TestServer {
    /// The value of a metric, by its name with its labels; 0 if it is not there.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.operate("/metrics").await;
        let mut lines = text.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has this value.
    pub(crate) async fn until_metric(&self, name: &str, value: f64) {
        eventually_async(format!("{name} comes to {value}"), async || {
            let now = self.metric(name).await;
            if now == value { Ok(()) } else { Err(now) }
        })
        .await;
    }

    /// Waits until there are `count` connections, and gives what is listed of them.
    pub(crate) async fn connections(&self, count: usize) -> Vec<Value> {
        eventually_async(format!("{count} connections"), async || {
            let listed = self.operate("/connections").await.json();
            match &listed["connections"] {
                Value::Array(connections) if listed["count"] == count => Ok(connections.clone()),
                _ => Err(listed),
            }
        })
        .await
    }
}

/// A request whose response is not read.
async fn request(server: &TestServer, path: &str, accept: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let host = server.address;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// A stream that has begun and is not read.
async fn open(server: &TestServer, path: &str, accept: &str) -> TcpStream {
    let stream = request(server, path, accept).await;
    stream.readable().await.unwrap();
    stream
}

#[tokio::test]
async fn it_lives_and_is_ready() {
    let server = TestServer::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.operate(path).await.status, StatusCode::OK, "{path}");
    }
    server.operate("/nowhere").await.assert_problem(404, "not_found");
    // It is part of no cluster.
    server.operate("/cluster").await.assert_problem(404, "not_found");
    // The address of clients does not have them.
    server.get("/metrics").await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn it_is_not_ready_as_soon_as_it_stops_and_lives_until_it_has() {
    let server = TestServer::start().await;
    // A request without its end keeps the drain waiting.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    let admin = server.admin();
    let running = server.begin_to_stop();
    let ask = async |path: &str| {
        let request = Request::builder().uri(path).header(HOST, admin.to_string());
        send(admin, request, Default::default()).await
    };
    eventually_async("it is not ready", async || {
        ask("/readyz").await.status == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert_eq!(ask("/healthz").await.status, StatusCode::OK);
    assert!(ask("/metrics").await.text().contains("\nsockeye_draining 1\n"));
    stream.write_all(b"x").await.unwrap();
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn pages_and_other_names_are_kept_out() {
    let server = TestServer::start().await;
    let ask = async |host: &str, origin: &str| -> Answer {
        let request = Request::builder().uri("/connections").header(HOST, host);
        let request = if origin.is_empty() { request } else { request.header("Origin", origin) };
        send(server.admin(), request, Default::default()).await
    };
    let host = server.admin().to_string();
    assert_eq!(ask(&host, "").await.status, StatusCode::OK);
    ask(&host, "https://example.org").await.assert_problem(403, "bad_origin");
    ask("rebound.example.org", "").await.assert_problem(403, "bad_origin");
}

#[tokio::test]
async fn an_address_that_is_taken_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut options = ServerOptions::default();
    options.listen = vec![Listen::Tcp("127.0.0.1:0".to_owned())];
    options.admin = Some(Listen::Tcp(address.clone()));
    let refused = Server::bind(options).await.unwrap_err();
    assert!(matches!(refused, BindError::Admin { .. }));
    let refused = refused.to_string();
    assert!(refused.contains(&address) && refused.contains("`admin`"), "{refused}");
}

#[tokio::test]
async fn metrics_count_what_is_published_and_refused() {
    let server = TestServer::with(|options| options.channels.max_message = 10).await;
    server.publish("/c/chat", "hello").await;
    server.publish("/c/chat", "hello").await;
    server.post("/c/chat", "text/plain", "much too long").await;
    let text = server.operate("/metrics").await;
    assert!(text.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert_eq!(server.metric("sockeye_publishes_total{outcome=\"ok\"}").await, 2.0);
    assert_eq!(server.metric("sockeye_messages_published_total").await, 2.0);
    assert_eq!(server.metric("sockeye_channels").await, 1.0);
    assert_eq!(server.metric("sockeye_history_messages").await, 2.0);
    assert!(server.metric("sockeye_history_bytes").await >= 10.0);
    assert_eq!(server.metric("sockeye_requests_total{status=\"201\"}").await, 2.0);
    assert_eq!(server.metric("sockeye_requests_total{status=\"413\"}").await, 1.0);
    assert!(server.metric("process_open_fds").await > 3.0);
}

#[tokio::test]
async fn every_metric_has_a_help_text_and_no_label_that_clients_choose() {
    let server = TestServer::start().await;
    server.publish("/c/not-to-be-shown", "hello").await;
    server.get("/c/not-to-be-shown?as=nor-this").await;
    let answer = server.operate("/metrics").await;
    let text = answer.text();
    assert!(!text.contains("not-to-be-shown") && !text.contains("nor-this"), "{text}");
    let named = |kind: &str| -> Vec<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
        lines.map(|line| line.split(' ').next().unwrap()).collect()
    };
    assert_eq!(named("# HELP "), named("# TYPE "));
    assert!(named("# HELP ").len() > 20);
}

#[tokio::test]
async fn metrics_count_listeners_and_what_they_are_given_by_transport() {
    let server = TestServer::start().await;
    let first = server.publish("/c/chat", "one").await;
    let url = format!("ws://{}/c/chat?after={first}", server.address);
    let mut socket = sockeye::connect(&url).await.unwrap();
    let _events = open(&server, "/c/chat", "text/event-stream").await;
    let _lines = open(&server, "/c/chat", "application/x-ndjson").await;
    let parked = format!("/c/chat?wait=20&after={first}");
    let _parked = request(&server, &parked, "application/json").await;
    server.connections(4).await;
    server.publish("/c/chat", "two").await;
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("two"));
    server.get(&format!("/c/chat?after={first}")).await;

    for transport in ["ws", "sse", "ndjson", "longpoll", "poll"] {
        let sent = format!("sockeye_messages_sent_total{{transport=\"{transport}\"}}");
        server.until_metric(&sent, 1.0).await;
        let bytes = format!("sockeye_sent_bytes_total{{transport=\"{transport}\"}}");
        assert!(server.metric(&bytes).await >= 3.0, "{transport}");
    }
    for transport in ["ws", "longpoll", "poll"] {
        let resumed =
            format!("sockeye_resumes_total{{transport=\"{transport}\",outcome=\"recovered\"}}");
        assert_eq!(server.metric(&resumed).await, 1.0, "{transport}");
    }
    assert_eq!(server.metric("sockeye_connections{transport=\"ws\"}").await, 1.0);
    assert_eq!(server.metric("sockeye_delivery_seconds_count").await, 4.0);
    assert_eq!(server.metric("sockeye_delivery_seconds_bucket{le=\"+Inf\"}").await, 4.0);
    drop(socket);
    let left = "sockeye_connections_closed_total{transport=\"ws\",reason=\"left\"}";
    server.until_metric(left, 1.0).await;
    assert_eq!(server.metric("sockeye_connections{transport=\"ws\"}").await, 0.0);
}

#[tokio::test]
async fn metrics_count_what_was_missing_by_transport() {
    let server = TestServer::with(|options| options.channels.history_count = 1).await;
    let first = server.publish("/c/chat", "1").await;
    for text in ["2", "3"] {
        server.publish("/c/chat", text).await;
    }
    server.get(&format!("/c/chat?after={first}")).await;
    let gaps = "sockeye_gaps_total{transport=\"poll\",why=\"expired\"}";
    assert_eq!(server.metric(gaps).await, 1.0);
    let resumes = "sockeye_resumes_total{transport=\"poll\",outcome=\"expired\"}";
    assert_eq!(server.metric(resumes).await, 1.0);
}

#[tokio::test]
async fn connections_are_shown_with_where_they_stand() {
    let server = TestServer::start().await;
    let url = format!("ws://{}/c/chat?as=ann", server.address);
    let mut socket = sockeye::connect(&url).await.unwrap();
    let at = server.publish("/c/chat", "hello").await;
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("hello"));
    server.until_metric("sockeye_messages_sent_total{transport=\"ws\"}", 1.0).await;
    let shown = &server.connections(1).await[0];
    assert_eq!(shown["transport"], "ws");
    assert_eq!(shown["subject"], "ann");
    assert_eq!(shown["address"], "127.0.0.1");
    assert_eq!(shown["channels"], serde_json::json!([{"channel": "chat", "at": at, "lag": 0}]));
    assert_eq!((&shown["messages"], &shown["bytes"]), (&1.into(), &5.into()));
    assert!(shown["since"].as_u64().unwrap() > 1_700_000_000_000);

    let _other = open(&server, "/c/chat", "text/event-stream").await;
    let first = server.operate("/connections?limit=1").await.json();
    assert_eq!((&first["count"], first["connections"].as_array().unwrap().len()), (&2.into(), 1));
    assert_eq!(first["connections"][0]["id"], shown["id"], "the oldest first");
    drop(socket);
    assert_eq!(server.connections(1).await[0]["transport"], "sse");
}

#[tokio::test]
async fn a_reader_that_does_not_read_shows_how_far_it_is_behind() {
    let server = TestServer::start().await;
    let _stuck = open(&server, "/c/chat", "text/event-stream").await;
    server.connections(1).await;
    let channel = "chat".parse().unwrap();
    let text = "x".repeat(60_000);
    // More than the sockets buffer.
    for _ in 0..200 {
        let publication = sockeye_hub::Publication::text(&text);
        server.hub.publish(&channel, publication).await.unwrap();
    }
    eventually_async("the reader lags", async || {
        server.metric("sockeye_reader_lag_messages").await >= 10.0
    })
    .await;
    assert_eq!(server.metric("sockeye_readers_lagging").await, 1.0);
    let shown = &server.connections(1).await[0];
    assert!(shown["channels"][0]["lag"].as_u64().unwrap() >= 10, "{shown}");
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let server = TestServer::start().await;
    let ask = async |accept: &str| {
        let request = Request::builder().uri("/metrics").header(HOST, server.admin().to_string());
        send(server.admin(), request.header("Accept", accept), Default::default()).await
    };
    let plain = ask("*/*").await;
    assert_eq!(plain.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = plain.text();
    assert!(text.contains("\n# TYPE sockeye_messages_published_total counter\n"), "{text}");
    assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
    let open = ask("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), kind);
    assert!(open.text().contains("\n# TYPE sockeye_messages_published counter\n"));
    assert!(open.text().ends_with("# EOF\n"));
    let samples = |text: &str| {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let names = samples.map(|line| line.split(' ').next().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(samples(text), samples(open.text()));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_is_shown_under_the_usual_names() {
    let server = TestServer::start().await;
    for name in [
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
    ] {
        assert!(server.metric(name).await >= 0.0, "{name}");
        let text = server.operate("/metrics").await;
        assert!(text.text().contains(&format!("\n{name} ")), "{name}");
    }
    assert!(server.metric("process_resident_memory_bytes").await > 1e6);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let started = server.metric("process_start_time_seconds").await;
    // The clock may have been set since the machine was started.
    assert!(started > 1.5e9 && started < now + 3600.0, "{started}");
}
