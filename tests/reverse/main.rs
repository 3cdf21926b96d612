//! Every transport through real proxies, configured as the guide says.

mod doctor;

use serde_json::Value;
use sockeye::Message;
use sockeye_testing::{PATIENCE, eventually};
use sockeye_tests::curl::{Stream, curl};
use sockeye_tests::program::Sockeye;
use sockeye_tests::reverse_proxy::{Kind, ReverseProxy};

#[test]
fn every_transport_gets_through_nginx() {
    every_transport_gets_through(Kind::Nginx);
}

#[test]
fn every_transport_gets_through_caddy() {
    every_transport_gets_through(Kind::Caddy);
}

#[test]
fn every_transport_gets_through_haproxy() {
    every_transport_gets_through(Kind::Haproxy);
}

#[test]
fn every_transport_gets_through_apache() {
    every_transport_gets_through(Kind::Apache);
}

#[test]
fn every_transport_gets_through_lighttpd() {
    every_transport_gets_through(Kind::Lighttpd);
}

#[test]
fn every_transport_gets_through_varnish() {
    every_transport_gets_through(Kind::Varnish);
}

/// Some proxies learn that a client has left when they have something for it.
fn every_transport_gets_through(kind: Kind) {
    let server = Sockeye::serve(&["--heartbeat", "1s"]);
    let proxy = ReverseProxy::start(kind, server.address());
    passes_every_transport(&proxy, server);
}

/// The configuration beside the image, but for the name of the server.
#[test]
fn every_transport_gets_through_the_nginx_of_the_compose_file() {
    let server = Sockeye::serve(&["--heartbeat", "1s"]);
    let block = include_str!("../../packaging/docker/nginx.conf");
    let block = block.replace("sockeye:8080", &server.address().to_string());
    let proxy = ReverseProxy::start_block(Kind::Nginx, &block, server.address());
    passes_every_transport(&proxy, server);
}

fn passes_every_transport(proxy: &ReverseProxy, mut server: Sockeye) {
    polls(proxy, &server);
    streams(proxy, &server, "text/event-stream", "data: news\n\n");
    streams(proxy, &server, "application/x-ndjson", "\"data\":\"news\"}\n");
    resumes(proxy);
    websockets(proxy);
    server.assert_sound();
}

/// Publishes a text and gives its position.
fn publish(url: &str, text: &str) -> String {
    let answer = curl(&["-d", text, url]);
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    answer["at"].as_str().expect("a position").to_owned()
}

/// Publishing, a poll, and a long poll that is answered when something comes.
fn polls(proxy: &ReverseProxy, server: &Sockeye) {
    let url = proxy.http("/c/polled");
    let at = publish(&url, "first");
    assert!(curl(&[&url]).contains("\"data\":\"first\""));
    let mut parked = Stream::open(&["-H", "Prefer: wait=60", &format!("{url}?after={at}&as=ann")]);
    wait_for_presence(server, "/c/polled", "\"ann\"");
    publish(&server.http("/c/polled"), "second");
    parked.until("\"data\":\"second\"");
    assert!(curl(&[&format!("{url}?wait=1")]).contains("\"messages\":[]"));
}

/// A stream shows what is published at once, and the server learns when its client leaves.
fn streams(proxy: &ReverseProxy, server: &Sockeye, accept: &str, news: &str) {
    let path = format!("/c/streamed-{}", accept.replace('/', "-"));
    let accept = format!("Accept: {accept}");
    let mut stream = Stream::open(&["-H", &accept, &proxy.http(&format!("{path}?as=ann"))]);
    wait_for_presence(server, &path, "\"ann\"");
    publish(&server.http(&path), "news");
    stream.until(news);
    drop(stream);
    wait_for_presence(server, &path, "\"count\":0");
}

/// The cursor is a header that proxies pass on.
fn resumes(proxy: &ReverseProxy) {
    let url = proxy.http("/c/resumed");
    let at = publish(&url, "seen");
    publish(&url, "missed");
    let last = format!("Last-Event-ID: {at}");
    let mut stream = Stream::open(&["-H", "Accept: text/event-stream", "-H", &last, &url]);
    assert!(!stream.until("data: missed\n\n").contains("data: seen"));
}

/// A WebSocket gets what is published, and publishes.
fn websockets(proxy: &ReverseProxy) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let talk = async {
            let mut socket = sockeye::connect(proxy.ws("/c/talk")).await.expect("a WebSocket");
            socket.send("hello").await.expect("it is open");
            socket.recv().await.expect("it is open").expect("a message")
        };
        let echo = tokio::time::timeout(PATIENCE, talk).await.expect("it comes in time");
        assert_eq!(echo, Message::text("hello"));
    });
    assert!(curl(&[&proxy.http("/c/talk")]).contains("\"data\":\"hello\""));
}

/// Waits until the channel's presence, as the server itself tells it, has this in it.
fn wait_for_presence(server: &Sockeye, path: &str, wanted: &str) {
    let url = server.http(&format!("{path}/presence"));
    eventually(format!("{wanted} is present"), || {
        let presence = curl(&[&url]);
        if presence.contains(wanted) { Ok(()) } else { Err(presence) }
    });
}

/// Waits until the server lists a connection from this address.
fn wait_for_address(server: &Sockeye, address: &str) {
    let wanted = format!("\"address\":\"{address}\"");
    eventually(format!("a connection from {address}"), || {
        let connections = server.shows_operators("/connections");
        if connections.contains(&wanted) { Ok(()) } else { Err(connections) }
    });
}

#[test]
fn an_nginx_that_is_made_to_buffer_holds_streams_back_but_no_polls() {
    let server = Sockeye::serve(&[]);
    // HTTP/1.0 towards the server is what nginx speaks unless it is told.
    let ignoring = |guide: String| {
        guide.replace("proxy_http_version 1.1;", "proxy_ignore_headers X-Accel-Buffering;")
    };
    let proxy = ReverseProxy::start_with(Kind::Nginx, server.address(), ignoring);
    let url = proxy.http("/c/held");
    let mut stream = Stream::open(&["-H", "Accept: text/event-stream", &format!("{url}?as=ann")]);
    wait_for_presence(&server, "/c/held", "\"ann\"");
    let mut parked = Stream::open(&[&format!("{url}?wait=60&as=bob")]);
    wait_for_presence(&server, "/c/held", "\"bob\"");
    publish(&url, "news");
    parked.until("\"data\":\"news\"");
    assert_eq!(stream.so_far(), "");
    // At the end of the stream all of it comes.
    server.interrupt();
    assert!(stream.rest().contains("data: news\n\n"));
}

/// HAProxy takes the client's address from a header here, so that it differs from its own.
#[test]
fn haproxy_gives_the_clients_address_by_the_proxy_protocol() {
    for send in ["send-proxy", "send-proxy-v2"] {
        let server = Sockeye::serve(&["--trust-proxy", "127.0.0.1", "--proxy-protocol"]);
        let change = |guide: String| {
            let guide = guide.replace("127.0.0.1:8080", &format!("127.0.0.1:8080 {send}"));
            let client = "bind :80\n    http-request set-src hdr(x-client)";
            guide.replace("bind :80", client)
        };
        let proxy = ReverseProxy::start_with(Kind::Haproxy, server.address(), change);
        let url = proxy.http("/c/chat?wait=60");
        let mut parked = Stream::open(&["-H", "X-Client: 203.0.113.9", &url]);
        wait_for_address(&server, "203.0.113.9");
        publish(&proxy.http("/c/chat"), "news");
        parked.until("\"data\":\"news\"");
        websockets(&proxy);
    }
}

/// Pages of the name that the proxy has, by TLS, are the server's own without being named.
#[test]
fn nginx_says_what_its_clients_asked_for() {
    let server = Sockeye::serve(&["--trust-proxy", "127.0.0.1"]);
    let change = |guide: String| {
        let headers = "proxy_set_header X-Forwarded-For 203.0.113.9:4711;\n\
                       proxy_set_header X-Forwarded-Proto https;\n\
                       proxy_set_header X-Forwarded-Host live.example.org;\n\
                       proxy_set_header Host";
        guide.replace("proxy_set_header Host", headers)
    };
    let proxy = ReverseProxy::start_with(Kind::Nginx, server.address(), change);
    let ask = |origin: &str| {
        let (origin, url) = (format!("Origin: {origin}"), proxy.http("/c/chat"));
        curl(&["-o", "/dev/null", "-w", "%{http_code}", "--no-fail-with-body", "-H", &origin, &url])
    };
    assert_eq!(ask("https://live.example.org"), "200");
    assert_eq!(ask("http://live.example.org"), "403");
    let _parked = Stream::open(&[&proxy.http("/c/chat?wait=60")]);
    wait_for_address(&server, "203.0.113.9");
}
