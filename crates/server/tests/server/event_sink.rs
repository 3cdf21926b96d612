//! Events of who comes and goes, on every transport, over HTTP/1.1 and HTTP/2, in a server and inside another program.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use sockeye::{Client, WebSocket};
use sockeye_server::{
    AnyEventSink, ChannelOptions, ChannelRule, Channels, Event, EventBatch, EventError, EventSink,
    Listen, Server, ServerOptions,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::auth::{key, token};
use crate::client::{SOON, TestServer};
use crate::tls::Secure;
#[cfg(feature = "prometheus")]
use crate::unix::UnixServer;

/// Takes everything, and passes it on.
struct Sink(mpsc::UnboundedSender<Event>);

impl EventSink for Sink {
    async fn take(&self, batch: &EventBatch) -> Result<(), EventError> {
        for event in &batch.events {
            self.0.send(event.clone()).map_err(EventError::unavailable)?;
        }
        Ok(())
    }
}

/// What was told, each event as `NAME CHANNEL MEMBER`, and what of it no test has asked for yet.
struct Told {
    events: mpsc::UnboundedReceiver<Event>,
    before: HashMap<String, VecDeque<String>>,
}

fn sink() -> (AnyEventSink, Told) {
    let (events, told) = mpsc::unbounded_channel();
    (AnyEventSink::new(Sink(events)), Told { events: told, before: HashMap::new() })
}

impl Told {
    /// The next event, with its channel, or nothing for one of the server.
    async fn next(&mut self) -> (String, String) {
        let event = timeout(SOON, self.events.recv()).await.expect("an event").unwrap();
        let channel = event.kind.channel().map_or("", |channel| channel.as_str()).to_owned();
        let line = format!("{} {channel} {}", event.kind.name(), event.kind.member().unwrap_or(""));
        (channel, line.trim_end().to_owned())
    }

    /// Expects these of one channel, in this order, whatever is told of others meanwhile.
    async fn expect(&mut self, channel: &str, lines: &[&str]) {
        for line in lines {
            let told = loop {
                if let Some(told) = self.before.get_mut(channel).and_then(VecDeque::pop_front) {
                    break told;
                }
                let (of, told) = self.next().await;
                self.before.entry(of).or_default().push_back(told);
            };
            let (name, member) = line.split_once(' ').unwrap_or((line, ""));
            assert_eq!(told, format!("{name} {channel} {member}").trim_end());
        }
    }

    /// What is told of each channel until the server has stopped.
    async fn rest(mut self) -> HashMap<String, VecDeque<String>> {
        loop {
            let (of, told) = self.next().await;
            if told == "server.stopped" {
                return self.before;
            }
            self.before.entry(of).or_default().push_back(told);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Http {
    One,
    Two,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    Sse,
    Ndjson,
    Several,
    WebSocket,
    V1,
    LongPoll,
    Poll,
}

impl Road {
    const ALL: [Self; 7] = [
        Self::Sse,
        Self::Ndjson,
        Self::Several,
        Self::WebSocket,
        Self::V1,
        Self::LongPoll,
        Self::Poll,
    ];

    /// Whether the client is gone with its connection, and not only when it does not poll again.
    fn stays_open(self) -> bool {
        !matches!(self, Self::LongPoll | Self::Poll)
    }
}

/// What is open as long as this is held.
type Open = Box<dyn Any + Send>;

/// Reads a channel as a member, or without a name.
async fn read(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (http, road): (Http, Road),
    (base, channel, id): (&str, &str, Option<&str>),
) -> Open {
    let named = id.map_or_else(String::new, |id| format!("as={id}"));
    let path = match road {
        Road::Sse => format!("/c/{channel}?stream=sse&{named}"),
        Road::Ndjson => format!("/c/{channel}?stream=ndjson&{named}"),
        Road::Several => format!("/c/{channel},{channel}-too?stream=sse&{named}"),
        Road::WebSocket => format!("/c/{channel}?{named}"),
        Road::V1 => format!("/connect?{named}"),
        Road::LongPoll => format!("/c/{channel}?wait=1&{named}"),
        Road::Poll => format!("/c/{channel}?presence=1&{named}"),
    };
    let reading = async {
        match road {
            Road::WebSocket | Road::V1 => {
                let socket = open(stream, http, &format!("{base}{path}"), road).await;
                subscribed(socket, road, channel).await
            }
            _ => ask(stream, http, &format!("{base}{path}")).await,
        }
    };
    timeout(SOON, reading).await.expect("an answer")
}

async fn open(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http: Http,
    path: &str,
    road: Road,
) -> WebSocket {
    let mut client = Client::new(format!("ws://localhost{path}")).unwrap();
    if road == Road::V1 {
        client = client.subprotocol("sockeye.v1");
    }
    match http {
        Http::One => client.open_over(stream).await.unwrap().socket,
        Http::Two => {
            let connection = sockeye::http2::Connection::over(stream).await.unwrap();
            connection.open(client).await.unwrap().socket
        }
    }
}

async fn subscribed(mut socket: WebSocket, road: Road, channel: &str) -> Open {
    if road == Road::V1 {
        let command = json!({"op": "sub", "id": 1, "ch": channel});
        socket.send(command.to_string()).await.unwrap();
    }
    Box::new(socket)
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http: Http,
    path: &str,
) -> Open {
    let uri = match http {
        Http::One => path.to_owned(),
        Http::Two => format!("http://localhost{path}"),
    };
    let mut request = Request::builder().method(Method::GET).uri(uri);
    if http == Http::One {
        request = request.header("host", "localhost");
    }
    let request = request.body(Full::new(bytes::Bytes::new())).unwrap();
    let io = TokioIo::new(stream);
    match http {
        Http::One => {
            let (mut sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            let response = sender.send_request(request).await.unwrap();
            assert!(matches!(response.status(), StatusCode::OK | StatusCode::NOT_MODIFIED));
            Box::new((sender, response))
        }
        Http::Two => {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            let response = sender.send_request(request).await.unwrap();
            assert!(matches!(response.status(), StatusCode::OK | StatusCode::NOT_MODIFIED));
            Box::new((sender, response))
        }
    }
}

/// Reads by every road, one after the other, and expects what is told of it.
async fn each_road(address: SocketAddr, base: &str, told: &mut Told) {
    told.expect("", &["server.started"]).await;
    let mut left = Vec::new();
    for http in [Http::One, Http::Two] {
        for road in Road::ALL {
            let channel = format!("{http:?}-{road:?}");
            let mut channels = vec![channel.clone()];
            if road == Road::Several {
                channels.push(format!("{channel}-too"));
            }
            let stream = TcpStream::connect(address).await.unwrap();
            let open = read(stream, (http, road), (base, &channel, Some("ann"))).await;
            for channel in &channels {
                told.expect(channel, &["channel.occupied", "member.joined ann"]).await;
            }
            drop(open);
            if road.stays_open() {
                for channel in &channels {
                    told.expect(channel, &["member.left ann"]).await;
                }
                left.extend(channels);
            }
        }
    }
    // Those that are polled are vacated when their time is over.
    for channel in left {
        told.expect(&channel, &["channel.vacated"]).await;
    }
}

#[tokio::test]
async fn readers_on_every_road_are_told() {
    let (events, mut told) = sink();
    let server = TestServer::with(|options| options.channels.events = Some(events)).await;
    Box::pin(each_road(server.address, "", &mut told)).await;
    server.stop().await;
    told.expect("", &["server.stopped"]).await;
}

/// Serves the channels in an axum program, below `/live`.
async fn embed(options: ChannelOptions) -> (SocketAddr, Channels) {
    let channels = Channels::builder().options(options).build().unwrap();
    let program = axum::Router::new().nest("/live", channels.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, program).await });
    (address, channels)
}

#[tokio::test]
async fn readers_inside_another_program_are_told() {
    let (events, mut told) = sink();
    let mut options = ChannelOptions::default().max_bad_tokens_per_address(None);
    options.events = Some(events);
    let (address, channels) = embed(options).await;
    Box::pin(each_road(address, "/live", &mut told)).await;
    channels.drain(Duration::from_secs(1)).await;
    told.expect("", &["server.stopped"]).await;
}

#[tokio::test]
async fn readers_over_tls_and_on_a_unix_socket_are_told() {
    let (events, mut told) = sink();
    let secure = Secure::with(|options| options.channels.events = Some(events)).await;
    told.expect("", &["server.started"]).await;
    let stream = secure.connect().await;
    let open = read(stream, (Http::One, Road::Sse), ("", "chat", Some("ann"))).await;
    told.expect("chat", &["channel.occupied", "member.joined ann"]).await;
    drop(open);
    told.expect("chat", &["member.left ann", "channel.vacated"]).await;
    #[cfg(feature = "prometheus")]
    {
        let (events, mut told) = sink();
        let server = UnixServer::with(|options| options.channels.events = Some(events)).await;
        told.expect("", &["server.started"]).await;
        let stream = server.connect().await;
        let open = read(stream, (Http::Two, Road::V1), ("", "chat", None)).await;
        told.expect("chat", &["channel.occupied"]).await;
        drop(open);
        told.expect("chat", &["channel.vacated"]).await;
    }
}

#[tokio::test]
async fn of_several_readers_the_first_and_the_last_are_told_and_of_unnamed_ones_no_member() {
    let (events, mut told) = sink();
    let server = TestServer::with(|options| options.channels.events = Some(events)).await;
    told.expect("", &["server.started"]).await;
    let connect = async |road, id| {
        let stream = TcpStream::connect(server.address).await.unwrap();
        read(stream, (Http::One, road), ("", "chat", id)).await
    };
    let first = connect(Road::Sse, None).await;
    told.expect("chat", &["channel.occupied"]).await;
    let second = connect(Road::WebSocket, None).await;
    let ann = connect(Road::V1, Some("ann")).await;
    told.expect("chat", &["member.joined ann"]).await;
    let again = connect(Road::Ndjson, Some("ann")).await;
    drop((first, second, ann));
    let bob = connect(Road::Sse, Some("bob")).await;
    told.expect("chat", &["member.joined bob"]).await;
    drop((again, bob));
    // The last two go at once, in whichever order.
    let rest = async {
        server.stop().await;
        told.rest().await
    };
    let mut rest: Vec<_> = rest.await.remove("chat").unwrap().into();
    assert_eq!(rest.pop().unwrap(), "channel.vacated chat");
    rest.sort();
    assert_eq!(rest, ["member.left chat ann", "member.left chat bob"]);
}

#[tokio::test]
async fn a_channel_without_presence_has_readers_and_no_members() {
    let (events, mut told) = sink();
    let rules = [
        ChannelRule::new("hidden".parse().unwrap()).presence(false),
        ChannelRule::new("quiet".parse().unwrap()).events(false),
    ];
    let server = TestServer::with(|options| {
        options.channels.events = Some(events);
        options.channels.channel = rules.to_vec();
    })
    .await;
    told.expect("", &["server.started"]).await;
    let mut open = Vec::new();
    for road in Road::ALL {
        for channel in ["quiet", "hidden"] {
            let stream = TcpStream::connect(server.address).await.unwrap();
            open.push(read(stream, (Http::One, road), ("", channel, Some("ann"))).await);
        }
    }
    server.get("/c/hidden/presence").await.assert_problem(403, "forbidden");
    for channel in ["quiet-too", "hidden-too"] {
        told.expect(channel, &["channel.occupied", "member.joined ann"]).await;
    }
    drop(open);
    server.stop().await;
    let rest = told.rest().await;
    assert_eq!(rest.get("quiet"), None);
    // A client that polls is not seen leaving.
    assert_eq!(rest["hidden"], ["channel.occupied hidden"]);
}

#[tokio::test]
async fn who_is_refused_and_who_only_looks_is_not_told() {
    let (events, mut told) = sink();
    let server = TestServer::with(|options| {
        options.channels.events = Some(events);
        options.channels.auth_key = Some(key());
    })
    .await;
    told.expect("", &["server.started"]).await;
    let granted = token(r#"{"chat":["read","write","presence"]}"#);
    let bearer = |path: &str| {
        server.request(Method::GET, path).header("authorization", format!("Bearer {granted}"))
    };
    for path in ["/c/chat?stream=sse", "/c/chat?wait=1", "/c/chat?presence=1", "/c/chat"] {
        server.get(path).await.assert_problem(401, "unauthorized");
    }
    for path in ["/c/other?stream=sse", "/c/other?wait=1", "/c/chat,other?wait=1"] {
        server.send(bearer(path), "").await.assert_problem(403, "forbidden");
    }
    for path in ["/c/chat", "/c/chat/presence", "/c/chat?after=earliest"] {
        assert_eq!(server.send(bearer(path), "").await.status, StatusCode::OK, "{path}");
    }
    let post = server.request(Method::POST, "/c/chat");
    let post = post.header("authorization", format!("Bearer {granted}"));
    assert_eq!(server.send(post, "hello").await.status, StatusCode::CREATED);
    server.send(bearer("/c/chat?presence=1"), "").await;
    told.expect("chat", &["channel.occupied"]).await;
}

#[cfg(feature = "prometheus")]
#[tokio::test]
async fn events_are_counted_for_operators() {
    let (events, mut told) = sink();
    let server = TestServer::with(|options| options.channels.events = Some(events)).await;
    server.get("/c/chat?presence=1&as=ann").await;
    told.expect("chat", &["channel.occupied", "member.joined ann"]).await;
    sockeye_testing::eventually_async("the counters say so", async || {
        let metrics = server.operate("/metrics").await.text().to_owned();
        let says = |line: &str| metrics.contains(line);
        (says("sockeye_events_sent_total 3\n") && says("sockeye_events_queued 0\n"))
            .then_some(())
            .ok_or(metrics)
    })
    .await;
    let metrics = server.operate("/metrics").await.text().to_owned();
    for line in ["sockeye_events_retried_total 0\n", "sockeye_events_dropped_total 0\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn a_server_tells_nothing_before_it_serves() {
    let (events, mut told) = sink();
    let mut options = ServerOptions::default();
    options.listen = vec![Listen::Tcp("127.0.0.1:0".to_owned())];
    options.channels.events = Some(events);
    let server = Server::bind(options).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(told.events.try_recv().is_err(), "it may not come to serve");
    tokio::spawn(server.run());
    told.expect("", &["server.started"]).await;
}
