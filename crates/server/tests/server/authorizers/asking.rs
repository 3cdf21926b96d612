//! How an authoriser of the program's own is asked: what is open is asked for again, and whatever is no answer is
//! a no. The clock is paused, and the connections are in memory.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::serve::Listener;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sockeye::{Client, WebSocket};
use sockeye_server::{
    BindError, BuildError, ChannelOptions, Channels, ClientAddresses, Hub, Publication, Right,
    Server, ServerOptions,
};
use sockeye_testing::eventually_async;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::shop::{Mood, Shop};
use super::{GRANTED, command};
use crate::auth::key;

/// Nothing takes that long, by the clock of the test.
const LONG: Duration = Duration::from_hours(1);

/// Connections in memory.
struct InMemory(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for InMemory {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(stream) => (stream, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A program whose authoriser is the shop.
pub(super) struct Program {
    pub(super) shop: Shop,
    hub: Hub,
    connections: mpsc::UnboundedSender<DuplexStream>,
}

impl Program {
    pub(super) fn start(shop: Shop) -> Self {
        Self::with(shop, ChannelOptions::default())
    }

    fn with(shop: Shop, options: ChannelOptions) -> Self {
        let here = |_: &axum::extract::Request| Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let channels = Channels::builder()
            .options(options.authorizer(shop.clone()))
            .client_addresses(ClientAddresses::hook(here))
            .build()
            .unwrap();
        let (connections, incoming) = mpsc::unbounded_channel();
        let (hub, router) = (channels.hub().clone(), channels.router());
        tokio::spawn(async move { axum::serve(InMemory(incoming), router).await });
        Self { shop, hub, connections }
    }

    fn connect(&self) -> DuplexStream {
        let (near, far) = duplex(64 << 10);
        self.connections.send(far).unwrap();
        near
    }

    /// A WebSocket of `ann`.
    pub(super) async fn open(&self, path: &str, subprotocol: Option<&str>) -> WebSocket {
        let client = Client::new(format!("ws://shop.example{path}").as_str()).unwrap();
        let mut client = client.header("cookie", "session=ann");
        if let Some(subprotocol) = subprotocol {
            client = client.subprotocol(subprotocol);
        }
        client.open_over(self.connect()).await.unwrap().socket
    }

    /// The status of the response, and its body once that has ended.
    async fn get(&self, path: &str) -> (u16, impl Future<Output = String> + use<>) {
        self.get_as("ann", path).await
    }

    async fn get_as(&self, name: &str, path: &str) -> (u16, impl Future<Output = String> + use<>) {
        let request = Request::get(path).header("cookie", format!("session={name}"));
        self.ask(request.body(Full::default()).unwrap()).await
    }

    /// The status of the answer of `ann`'s request to publish, and its body.
    pub(super) async fn post(&self, path: &str, kind: &str, body: String) -> (u16, String) {
        let request = Request::post(path).header("cookie", "session=ann");
        let request = request.header("content-type", kind).body(Full::from(body)).unwrap();
        let (status, body) = self.ask(request).await;
        (status, body.await)
    }

    async fn ask(
        &self,
        mut request: Request<Full<bytes::Bytes>>,
    ) -> (u16, impl Future<Output = String> + use<>) {
        request.headers_mut().insert("host", "shop.example".parse().unwrap());
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(self.connect())).await.unwrap();
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = async move {
            let body = timeout(LONG, body.collect()).await.expect("it ends").unwrap();
            drop(sender);
            String::from_utf8(body.to_bytes().to_vec()).unwrap()
        };
        (head.status.as_u16(), body)
    }

    pub(super) async fn publish(&self, channel: &str, text: &str) {
        self.hub.publish(&channel.parse().unwrap(), Publication::text(text)).await.unwrap();
    }
}

/// The code with which the WebSocket closes, and what came before.
async fn closed(mut socket: WebSocket) -> (Option<u16>, Vec<String>) {
    let mut came = Vec::new();
    while let Some(Ok(message)) = timeout(LONG, socket.recv()).await.expect("it closes") {
        came.push(message.as_text().unwrap_or_default().to_owned());
    }
    let frame = socket.closed().and_then(|closed| closed.received.frame().cloned());
    (frame.map(|frame| frame.code().into()), came)
}

/// The next frame of `sockeye.v1`.
pub(super) async fn frame(socket: &mut WebSocket) -> Value {
    let frame = timeout(LONG, socket.recv()).await.expect("a frame").unwrap().unwrap();
    serde_json::from_str(frame.as_text().unwrap()).unwrap()
}

const STREAMS: [&str; 5] = [
    "/c/open?stream=sse",
    "/c/open?stream=sse&meta=1",
    "/c/open?stream=ndjson",
    "/c/open,also?stream=sse",
    "/c/also,open?stream=ndjson",
];

#[tokio::test(start_paused = true)]
async fn what_is_open_ends_within_the_time_that_a_yes_was_good_for() {
    for path in STREAMS {
        let program = Program::start(Shop::new(GRANTED));
        let (status, body) = program.get(path).await;
        assert_eq!(status, 200, "{path}");
        let opened = Instant::now();
        program.shop.revoke("open", Right::Read);
        program.publish("open", "before").await;
        let body = body.await;
        assert!(body.contains("before"), "{path}: {body}");
        assert!(opened.elapsed() <= Duration::from_mins(1), "{path}: {:?}", opened.elapsed());
        assert_eq!(program.get(path).await.0, 403, "and stays out");
    }
    for path in ["/c/open?wait=60", "/c/also,open?wait=60"] {
        let shop = Shop::new(GRANTED).good_for(Duration::from_secs(20));
        let program = Program::start(shop.clone());
        let (asked, revoking) = (program.get(path), async {
            eventually_async("it waits", async || match program.hub.figures().readers {
                0 => Err(()),
                _ => Ok(()),
            })
            .await;
            shop.revoke("open", Right::Read);
        });
        let ((status, body), ()) = tokio::join!(asked, revoking);
        assert_eq!(status, 403, "{path}");
        assert!(body.await.contains("forbidden"), "{path}");
    }
    let program = Program::start(Shop::new(GRANTED));
    let socket = program.open("/c/open", None).await;
    program.shop.revoke("open", Right::Read);
    let opened = Instant::now();
    assert_eq!(closed(socket).await.0, Some(4403));
    assert!(opened.elapsed() <= Duration::from_mins(1), "{:?}", opened.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_revoked_ends_and_the_others_go_on() {
    let program = Program::start(Shop::new(GRANTED));
    let mut socket = program.open("/connect", Some("sockeye.v1")).await;
    let subscribe = |channel: &str, presence: bool| json!({"id": channel, "op": "sub", "ch": channel, "presence": presence});
    assert!(command(&mut socket, subscribe("open", true)).await["ok"].is_object());
    assert!(command(&mut socket, subscribe("news", false)).await["ok"].is_object());
    let opened = Instant::now();
    // Being told who comes and goes is a right of its own.
    program.shop.revoke("open", Right::Presence);
    let ended = loop {
        let frame = frame(&mut socket).await;
        if frame["err"].is_object() {
            break frame;
        }
    };
    assert_eq!((&ended["ch"], &ended["err"]["code"]), (&json!("open"), &json!("forbidden")));
    assert!(opened.elapsed() <= Duration::from_mins(1), "{:?}", opened.elapsed());
    sleep(Duration::from_mins(10)).await;
    program.publish("open", "not for it").await;
    program.publish("news", "for it").await;
    let next = frame(&mut socket).await;
    assert_eq!((&next["ch"], &next["data"]), (&json!("news"), &json!("for it")));
}

#[tokio::test(start_paused = true)]
async fn commands_do_not_put_off_that_a_subscription_is_asked_for_again() {
    let program = Program::start(Shop::new(GRANTED));
    let mut socket = program.open("/connect", Some("sockeye.v1")).await;
    let on = |op: &str, channel: &str| json!({"id": 1, "op": op, "ch": channel});
    assert!(command(&mut socket, on("sub", "open")).await["ok"].is_object());
    let opened = Instant::now();
    sleep(Duration::from_secs(40)).await;
    assert!(command(&mut socket, on("sub", "news")).await["ok"].is_object());
    program.shop.set(Mood::IsSilent);
    let mut ended = None;
    while ended.is_none() && opened.elapsed() < Duration::from_secs(75) {
        for op in ["unsub", "sub"] {
            socket.send(on(op, "news").to_string()).await.unwrap();
            loop {
                let frame = frame(&mut socket).await;
                if frame["ch"] == "open" && frame["err"].is_object() {
                    ended = Some(frame.clone());
                }
                if frame["id"] == 1 {
                    break;
                }
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ended.expect("it ends")["err"]["code"], "unavailable");
    assert!(opened.elapsed() < Duration::from_secs(62), "{:?}", opened.elapsed());
}

#[tokio::test(start_paused = true)]
async fn answers_that_take_the_place_of_others_put_off_nothing() {
    let names = names(600);
    let rights = names.iter().map(|name| (name.clone(), Right::Write));
    let rights = rights.chain(GRANTED.map(|(name, right)| (name.to_owned(), right)));
    let takes = |name: &str| Duration::from_secs(if name == "open" { 5 } else { 0 });
    let program = Program::start(Shop::new(rights).takes(takes));
    let mut socket = program.open("/connect", Some("sockeye.v1")).await;
    let on = |op: &str, channel: &str| json!({"id": 1, "op": op, "ch": channel, "data": 1});
    assert!(command(&mut socket, on("sub", "open")).await["ok"].is_object());
    let opened = Instant::now();
    for name in &names {
        assert!(command(&mut socket, on("pub", name)).await["ok"].is_object());
    }
    program.shop.revoke("open", Right::Read);
    let mut ended = false;
    while !ended && opened.elapsed() < Duration::from_secs(75) {
        for op in ["sub", "unsub"] {
            socket.send(on(op, "news").to_string()).await.unwrap();
            loop {
                let frame = frame(&mut socket).await;
                ended |= frame["ch"] == "open" && frame["err"].is_object();
                if frame["id"] == 1 {
                    break;
                }
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(ended && opened.elapsed() < Duration::from_secs(62), "{:?}", opened.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_still_granted_stays_open() {
    let program = Program::start(Shop::new(GRANTED));
    let mut socket = program.open("/c/open", None).await;
    let (status, body) = program.get("/c/open?stream=ndjson").await;
    assert_eq!(status, 200);
    let body = tokio::spawn(body);
    let asked = program.shop.asked();
    sleep(Duration::from_mins(10)).await;
    assert!(program.shop.asked() > asked + 20, "both were asked for again");
    program.publish("open", "hello").await;
    assert_eq!(socket.recv().await.unwrap().unwrap(), "hello".into());
    program.shop.revoke("open", Right::Read);
    assert!(body.await.unwrap().contains("hello"));
}

#[tokio::test(start_paused = true)]
async fn an_authoriser_that_fails_for_a_moment_ends_nothing_and_one_that_goes_on_ends_everything() {
    for mood in [Mood::Fails, Mood::Panics, Mood::IsSilent] {
        let program = Program::start(Shop::new(GRANTED));
        let mut socket = program.open("/c/open", None).await;
        let opened = Instant::now();
        sleep(Duration::from_secs(40)).await;
        program.shop.set(mood);
        sleep(Duration::from_secs(12)).await;
        program.shop.set(Mood::Answers);
        sleep(Duration::from_mins(5)).await;
        program.publish("open", "hello").await;
        assert_eq!(socket.recv().await.unwrap().unwrap(), "hello".into(), "{mood:?}");
        program.shop.set(mood);
        let failing = Instant::now();
        assert_eq!(closed(socket).await.0, Some(1013), "{mood:?}: it has not said no");
        assert!(failing.elapsed() <= Duration::from_mins(1), "{mood:?} {:?}", opened.elapsed());
    }
}

/// Names of that many channels.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn many_channels_stay_open_however_long_each_answer_takes() {
    let names = names(64);
    let rights = names.iter().map(|name| (name.clone(), Right::Read));
    let program = Program::start(Shop::new(rights).takes(|_| Duration::from_millis(500)));
    let (status, body) = program.get(&format!("/c/{}?stream=ndjson", names.join(","))).await;
    assert_eq!(status, 200);
    let body = tokio::spawn(body);
    sleep(Duration::from_mins(10)).await;
    program.publish("c63", "hello").await;
    sleep(Duration::from_secs(1)).await;
    assert!(!body.is_finished(), "{:?}", body.await);
    program.shop.revoke("c63", Right::Read);
    assert!(body.await.unwrap().contains("hello"));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_stays_open_however_many_answers_came_after_its_own() {
    let names = names(600);
    let rights = names.iter().map(|name| (name.clone(), Right::Write));
    let rights = rights.chain(GRANTED.map(|(name, right)| (name.to_owned(), right)));
    let program = Program::start(Shop::new(rights).takes(|_| Duration::from_millis(1)));
    let mut socket = program.open("/connect", Some("sockeye.v1")).await;
    let subscribe = |name: &str| json!({"id": name, "op": "sub", "ch": name});
    assert!(command(&mut socket, subscribe("open")).await["ok"].is_object());
    for name in &names {
        let publish = json!({"id": name, "op": "pub", "ch": name, "data": 1});
        assert!(command(&mut socket, publish).await["ok"].is_object());
    }
    assert!(command(&mut socket, subscribe("news")).await["ok"].is_object());
    sleep(Duration::from_secs(1)).await;
    program.publish("open", "hello").await;
    let next = frame(&mut socket).await;
    assert_eq!((&next["ch"], &next["data"]), (&json!("open"), &json!("hello")), "{next}");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_lost_while_another_is_asked_for_opens_nothing() {
    for query in ["", "?wait=5", "?stream=sse", "?stream=ndjson"] {
        let rights = [("open", Right::Read), ("slow", Right::Read)];
        let takes = |name: &str| Duration::from_secs(if name == "slow" { 5 } else { 0 });
        let program =
            Program::start(Shop::new(rights).good_for(Duration::from_secs(1)).takes(takes));
        program.publish("open", "secret").await;
        let revoking = async {
            sleep(Duration::from_secs(2)).await;
            program.shop.revoke("open", Right::Read);
        };
        let path = format!("/c/open,slow{query}");
        let ((status, body), ()) = tokio::join!(program.get(&path), revoking);
        let body = body.await;
        assert!(status == 403 && !body.contains("secret"), "{path}: {status} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_a_no() {
    for mood in [Mood::Fails, Mood::Panics, Mood::IsSilent] {
        let program = Program::start(Shop::new(GRANTED));
        program.shop.set(mood);
        let asked = Instant::now();
        for path in
            ["/c/open", "/c/open?stream=sse", "/c/open?wait=5", "/c/open/presence", "/c/also,open"]
        {
            let (status, body) = program.get(path).await;
            assert_eq!(status, 503, "{mood:?} {path}");
            let body = body.await;
            assert!(body.contains("unavailable") && !body.contains("database"), "{body}");
        }
        let all = asked.elapsed();
        assert!(all <= Duration::from_secs(51), "{mood:?}: {all:?}");
        program.shop.set(Mood::Answers);
        assert_eq!(program.get("/c/open").await.0, 200, "it is asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_not_asked_more_than_so_much_at_once() {
    let program = Program::start(Shop::new(GRANTED));
    program.shop.set(Mood::IsSilent);
    let asking = futures_util::future::join_all((0..600).map(|_| program.get("/c/open")));
    let answering = async {
        eventually_async("256 are asked", async || match program.shop.waiting() {
            256 => Ok(()),
            waiting => Err(waiting),
        })
        .await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
            assert_eq!(program.shop.waiting(), 256);
        }
        program.shop.set(Mood::Answers);
    };
    let (answers, ()) = tokio::join!(asking, answering);
    assert!(answers.iter().all(|(status, _)| *status == 200));
    assert_eq!(program.shop.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_publishes_asks_once_until_the_answer_lapses() {
    let program = Program::start(Shop::new(GRANTED));
    let mut socket = program.open("/c/open", None).await;
    let asked = program.shop.asked();
    for number in 0..100 {
        socket.send(format!("{number}")).await.unwrap();
        assert_eq!(socket.recv().await.unwrap().unwrap(), format!("{number}").into());
    }
    assert_eq!(program.shop.asked(), asked + 1);
    program.shop.revoke("open", Right::Write);
    sleep(Duration::from_secs(61)).await;
    socket.send("too late").await.unwrap();
    assert_eq!(closed(socket).await, (Some(4403), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn what_a_session_has_opened_ends_with_it_unless_a_fresh_one_came() {
    let shop = || Shop::new(GRANTED).sessions_good_for(Duration::from_secs(30));
    let program = Program::start(shop());
    let opened = Instant::now();
    let socket = program.open("/c/open", None).await;
    assert_eq!(closed(socket).await.0, Some(4401));
    assert_eq!(opened.elapsed().as_secs(), 30);
    let (_, body) = program.get("/c/open?stream=ndjson").await;
    body.await;
    assert_eq!(opened.elapsed().as_secs(), 60);
    let (status, _) = program.get("/c/open?wait=60").await;
    assert_eq!((status, opened.elapsed().as_secs()), (401, 90));

    let mut socket = program.open("/c/open", Some("sockeye.v1")).await;
    sleep(Duration::from_secs(20)).await;
    let auth = |token: &str| json!({"id": 1, "op": "auth", "token": token});
    let other = command(&mut socket, auth("ben-token")).await;
    assert_eq!(other["err"]["code"], "forbidden", "{other}");
    assert!(command(&mut socket, auth("ann-token")).await["ok"].is_object());
    let fresh = Instant::now();
    program.publish("open", "hello").await;
    let (code, came) = closed(socket).await;
    assert_eq!((code, fresh.elapsed().as_secs()), (Some(4401), 30));
    assert!(came.iter().any(|frame| frame.contains("hello")), "{came:?}");
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_not_good_are_counted_by_address() {
    let options = ChannelOptions::default().max_bad_tokens_per_address(1);
    let program = Program::with(Shop::new(GRANTED), options);
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(program.get_as("bad", "/c/open").await.0);
    }
    assert_eq!(seen, [401, 401, 429, 429, 429]);
    assert_eq!(program.get("/c/open").await.0, 200, "good ones are accepted");
}

#[tokio::test(start_paused = true)]
async fn presence_shows_the_subject() {
    let program = Program::start(Shop::new(GRANTED));
    let _socket = program.open("/c/open", None).await;
    let (status, body) = program.get("/c/open/presence").await;
    let body = body.await;
    assert!(status == 200 && body.contains(r#""id":"ann""#), "{body}");
    // A name that cannot be shown is a mistake of the program, and names none.
    assert_eq!(program.get_as("", "/c/open").await.0, 500);
}

#[tokio::test]
async fn two_authorisers_are_refused() {
    let options = ChannelOptions::default().auth_key(key()).authorizer(Shop::new(GRANTED));
    let here = |_: &axum::extract::Request| None;
    let builder = || Channels::builder().options(options.clone());
    let refused = builder().client_addresses(ClientAddresses::hook(here)).build().unwrap_err();
    assert!(matches!(refused, BuildError::TwoAuthorizers), "{refused}");
    let options = ServerOptions::default().channels(options.clone());
    let refused = Server::bind(options).await.unwrap_err();
    assert!(matches!(refused, BindError::TwoAuthorizers), "{refused}");
    // The guard against guessed sessions needs addresses, too.
    let unknown = ChannelOptions::default().authorizer(Shop::new(GRANTED));
    let refused = Channels::builder().options(unknown).build().unwrap_err();
    assert!(matches!(refused, BuildError::NoAddresses(_)), "{refused}");
}
