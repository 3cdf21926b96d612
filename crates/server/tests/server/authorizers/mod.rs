//! Each authoriser refuses what it does not grant on every transport and resource, over HTTP/1.1 and HTTP/2, in a
//! server and inside another program.

mod asking;
mod rules;
mod shop;
mod slow;

use std::net::SocketAddr;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use sockeye::{Client, ConnectError, Message, ResponseError, WebSocket};
use sockeye_server::{ChannelOptions, ChannelRule, Channels, ClientAddresses, Right};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use self::shop::Shop;
use crate::auth::{key, token};
use crate::client::{SOON, TestServer};

/// What everyone with credentials may do: all with `open`, read `news` and `also`, and nothing with any other.
const GRANTED: [(&str, Right); 5] = [
    ("open", Right::Read),
    ("open", Right::Write),
    ("open", Right::Presence),
    ("news", Right::Read),
    ("also", Right::Read),
];
const CLAIM: &str = r#"{"open":["read","write","presence"],"news":["read"],"also":["read"]}"#;

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decides {
    /// The server's key, by tokens.
    Key,
    /// The program's sessions, by cookies.
    Sessions,
    /// A key that the program's authoriser is made of.
    KeyOfProgram,
}

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Server,
    Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Http {
    One,
    Two,
}

impl Decides {
    fn options(self, options: &mut ChannelOptions) {
        *options = match self {
            Self::Key => options.clone().auth_key(key()),
            Self::Sessions => options.clone().authorizer(Shop::new(GRANTED)),
            Self::KeyOfProgram => options.clone().authorizer(key()),
        };
    }

    /// The header with good credentials.
    fn credentials(self) -> (&'static str, String) {
        match self {
            Self::Sessions => ("cookie", "session=ann".to_owned()),
            Self::Key | Self::KeyOfProgram => ("authorization", format!("Bearer {}", token(CLAIM))),
        }
    }

    /// One with credentials that are not good.
    fn bad_credentials(self) -> (&'static str, String) {
        match self {
            Self::Sessions => ("cookie", "session=bad".to_owned()),
            _ => ("authorization", format!("Bearer {}x", token(CLAIM))),
        }
    }
}

/// Where it is served, and what has to live as long.
struct Served {
    address: SocketAddr,
    base: &'static str,
    http: Http,
    _server: Option<TestServer>,
}

impl Served {
    /// A server or a program with these rules for some channels.
    async fn start(host: Host, decides: Decides, http: Http, rules: &[ChannelRule]) -> Self {
        match host {
            Host::Server => {
                let server = TestServer::with(|options| {
                    decides.options(&mut options.channels);
                    options.channels.channel = rules.to_vec();
                });
                let server = server.await;
                Self { address: server.address, base: "", http, _server: Some(server) }
            }
            Host::Program => {
                let mut options = ChannelOptions::default().channel(rules.to_vec());
                decides.options(&mut options);
                Self { address: embed(options).await, base: "/live", http, _server: None }
            }
        }
    }

    /// The status and the beginning of the body, which is whole unless it goes on.
    async fn ask(&self, of: &Use, channel: &str, header: Option<&(&str, String)>) -> (u16, String) {
        let path = format!("{}{}", self.base, of.path.replace("{}", channel));
        let authority = format!("localhost:{}", self.address.port());
        let uri = match self.http {
            Http::One => path,
            Http::Two => format!("http://{authority}{path}"),
        };
        let mut request = Request::builder().method(of.method.clone()).uri(uri);
        if self.http == Http::One {
            request = request.header("host", authority);
        }
        for (name, value) in of.headers.iter().copied() {
            request = request.header(name, value);
        }
        if let Some((name, value)) = header {
            request = request.header(*name, value);
        }
        let body = Full::new(bytes::Bytes::from(of.body.replace("{}", channel)));
        let request = request.body(body).unwrap();
        let io = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let asking = async {
            let response = match self.http {
                Http::One => {
                    let (mut sender, connection) = http1::handshake(io).await.unwrap();
                    tokio::spawn(connection);
                    sender.send_request(request).await.unwrap()
                }
                Http::Two => {
                    let opened = http2::handshake(TokioExecutor::new(), io).await;
                    let (mut sender, connection) = opened.unwrap();
                    tokio::spawn(connection);
                    sender.send_request(request).await.unwrap()
                }
            };
            let (head, body) = response.into_parts();
            let goes_on = of.streams && head.status == StatusCode::OK;
            let body = match goes_on {
                true => bytes::Bytes::new(),
                false => body.collect().await.unwrap().to_bytes(),
            };
            (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
        };
        timeout(SOON, asking).await.expect("an answer")
    }

    /// Opens a WebSocket, or gives the status of the refusal.
    async fn open(
        &self,
        path: &str,
        subprotocol: Option<&str>,
        header: Option<&(&'static str, String)>,
    ) -> Result<WebSocket, u16> {
        let url = format!("ws://localhost:{}{}{path}", self.address.port(), self.base);
        let mut client = Client::new(&url).unwrap();
        if let Some((name, value)) = header {
            client = client.header(*name, value.as_str());
        }
        if let Some(subprotocol) = subprotocol {
            client = client.subprotocol(subprotocol);
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        let opening = async {
            match self.http {
                Http::One => Ok(client.open_over(stream).await?.socket),
                Http::Two => {
                    let connection = sockeye::http2::Connection::over(stream).await?;
                    Ok(connection.open(client).await?.socket)
                }
            }
        };
        match timeout(SOON, opening).await.expect("an answer") {
            Ok(socket) => Ok(socket),
            Err(ConnectError::Response(ResponseError::Status(response))) => {
                Err(response.status().as_u16())
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Serves the channels in an axum program, below `/live`.
async fn embed(options: ChannelOptions) -> SocketAddr {
    let channels = Channels::builder().options(options);
    let channels = channels.client_addresses(ClientAddresses::ConnectInfo).build().unwrap();
    let program = axum::Router::new().nest("/live", channels.router());
    let program = program.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, program).await });
    address
}

/// One use of a channel, `{}`.
struct Use {
    right: Right,
    method: Method,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    /// The status when it is granted.
    granted: u16,
    /// Whether the response goes on then.
    streams: bool,
    /// Whether a message of several is refused alone, with 207.
    alone: bool,
}

const EVENTS: &[(&str, &str)] = &[("accept", "text/event-stream")];
const RESUMED: &[(&str, &str)] = &[("accept", "text/event-stream"), ("last-event-id", "k3f9.1")];
const LINES: &[(&str, &str)] = &[("accept", "application/x-ndjson")];
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const MANY: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];
const WAIT: &[(&str, &str)] = &[("prefer", "wait=0")];

/// Every use there is over plain HTTP, live and from the history.
fn uses() -> Vec<Use> {
    let of = |right, method: Method, path, headers, granted| Use {
        right,
        method,
        path,
        headers,
        body: "",
        granted,
        streams: false,
        alone: false,
    };
    let read = |path, headers| of(Right::Read, Method::GET, path, headers, 200);
    let live = |path, headers| Use { streams: true, ..read(path, headers) };
    let write =
        |path, headers, body| Use { body, ..of(Right::Write, Method::POST, path, headers, 201) };
    vec![
        of(Right::Presence, Method::GET, "/c/{}/presence", &[], 200),
        of(Right::Presence, Method::HEAD, "/c/{}/presence", &[], 200),
        read("/c/{}", &[]),
        read("/c/{}?after=earliest", &[]),
        read("/c/{}?after=k3f9.1", &[]),
        read("/c/{}", WAIT),
        of(Right::Read, Method::GET, "/c/{}?at=k3f9.1", &[], 404),
        of(Right::Read, Method::HEAD, "/c/{}?at=k3f9.1", &[], 404),
        of(Right::Read, Method::HEAD, "/c/{}", &[], 200),
        live("/c/{}", EVENTS),
        live("/c/{}?after=earliest&meta=1", EVENTS),
        live("/c/{}", RESUMED),
        live("/c/{}?after=-5", LINES),
        read("/c/also,{}", &[]),
        read("/c/{},also?after=earliest", WAIT),
        live("/c/{},also", EVENTS),
        live("/c/also,{}", LINES),
        of(Right::Read, Method::HEAD, "/c/also,{}", &[], 200),
        write("/c/{}", &[], "hello"),
        write("/c/{}", MANY, "{\"data\":1}\n{\"data\":2}\n"),
        Use { alone: true, ..write("/publish", JSON, "[{\"ch\":\"{}\",\"data\":1}]") },
        Use { alone: true, ..write("/publish", MANY, "{\"ch\":\"{}\",\"data\":1}\n") },
        of(Right::Write, Method::DELETE, "/c/{}", &[], 204),
    ]
}

/// Every authoriser, in a server and in a program, over HTTP/1.1 and HTTP/2.
async fn in_each_way(check: impl AsyncFn(&Served, Decides)) {
    in_each_way_with(&[], check).await;
}

/// The same with rules for some channels.
async fn in_each_way_with(rules: &[ChannelRule], check: impl AsyncFn(&Served, Decides)) {
    for decides in [Decides::Key, Decides::Sessions, Decides::KeyOfProgram] {
        for host in [Host::Server, Host::Program] {
            for http in [Http::One, Http::Two] {
                let served = Served::start(host, decides, http, rules).await;
                check(&served, decides).await;
            }
        }
    }
}

#[tokio::test]
async fn every_use_of_a_channel_is_granted_or_refused() {
    in_each_way(async |served, decides| {
        let (good, bad) = (decides.credentials(), decides.bad_credentials());
        for of in uses() {
            let Use { method, path, headers, right, .. } = &of;
            let what = format!("{decides:?} {:?} {method} {path} {headers:?}", served.http);
            let (status, body) = served.ask(&of, "open", Some(&good)).await;
            assert_eq!(status, of.granted, "{what}: {body}");
            for credentials in [None, Some(&bad)] {
                for channel in ["open", "shut"] {
                    let (status, body) = served.ask(&of, channel, credentials).await;
                    assert_eq!(status, 401, "{what} {credentials:?}: {body}");
                }
            }
            // `news` may be read, and no more.
            for channel in ["shut", "news"] {
                let (status, body) = served.ask(&of, channel, Some(&good)).await;
                match (channel, right, of.alone) {
                    ("news", Right::Read, _) => assert_eq!(status, of.granted, "{what}"),
                    (_, _, true) => {
                        assert_eq!(status, 207, "{what}");
                        assert!(body.contains(r#""code":"forbidden""#), "{what}: {body}");
                    }
                    _ => assert_eq!(status, 403, "{what}: {body}"),
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_channel_needs_the_right_to_write() {
    let close = Use { path: "/c/{}?close=1", body: "", ..uses().remove(18) };
    assert_eq!(close.method, Method::POST);
    in_each_way(async |served, decides| {
        let good = decides.credentials();
        for (channel, credentials, expected) in
            [("open", None, 401), ("shut", Some(&good), 403), ("news", Some(&good), 403)]
        {
            let (status, body) = served.ask(&close, channel, credentials).await;
            assert_eq!(status, expected, "{decides:?} {channel}: {body}");
        }
        let (status, _) = served.ask(&close, "open", Some(&good)).await;
        // A cluster ends no channels.
        assert!([200, 501].contains(&status), "{status}");
    })
    .await;
}

#[tokio::test]
async fn websockets_on_a_channel_are_granted_or_refused() {
    in_each_way(async |served, decides| {
        let (good, bad) = (decides.credentials(), decides.bad_credentials());
        for subprotocol in [None, Some("sockeye.v1")] {
            for rest in ["", "?after=earliest", "?after=k3f9.1"] {
                let open = async |channel: &str, credentials: Option<&(&'static str, String)>| {
                    let path = format!("/c/{channel}{rest}");
                    served.open(&path, subprotocol, credentials).await.err()
                };
                assert_eq!(open("open", Some(&good)).await, None, "{decides:?} {rest}");
                assert_eq!(open("news", Some(&good)).await, None, "{decides:?} {rest}");
                assert_eq!(open("shut", Some(&good)).await, Some(403), "{decides:?} {rest}");
                assert_eq!(open("open", None).await, Some(401), "{decides:?} {rest}");
                assert_eq!(open("open", Some(&bad)).await, Some(401), "{decides:?} {rest}");
            }
        }
        // A reader that may not publish is told so when it does.
        let mut socket = served.open("/c/news", None, Some(&good)).await.unwrap();
        socket.send("hello").await.unwrap();
        assert!(timeout(SOON, socket.recv()).await.unwrap().is_none_or(|last| last.is_err()));
        let closed = socket.closed().unwrap();
        let code = closed.received.frame().map(|frame| u16::from(frame.code()));
        assert_eq!(code, Some(4403), "{decides:?} {closed:?}");
        let mut socket = served.open("/c/open", None, Some(&good)).await.unwrap();
        socket.send("hello").await.unwrap();
        let echo = timeout(SOON, socket.recv()).await.unwrap().unwrap().unwrap();
        assert_eq!(echo, Message::from("hello"));
    })
    .await;
}

/// The answer to a command.
async fn command(socket: &mut WebSocket, command: Value) -> Value {
    let id = command["id"].clone();
    socket.send(command.to_string()).await.unwrap();
    loop {
        let frame = timeout(SOON, socket.recv()).await.unwrap().unwrap().unwrap();
        let frame: Value = serde_json::from_str(frame.as_text().unwrap()).unwrap();
        if frame["id"] == id {
            return frame;
        }
    }
}

#[tokio::test]
async fn commands_are_granted_or_refused() {
    let commands = [
        json!({"op": "read", "after": "earliest"}),
        json!({"op": "sub"}),
        json!({"op": "unsub"}),
        json!({"op": "sub", "after": "earliest"}),
        json!({"op": "unsub"}),
        json!({"op": "sub", "presence": true}),
        json!({"op": "pub", "data": 1}),
        json!({"op": "who"}),
        json!({"op": "close"}),
    ];
    in_each_way(async |served, decides| {
        let good = decides.credentials();
        let mut known = served.open("/connect", Some("sockeye.v1"), Some(&good)).await.unwrap();
        let mut anonymous = served.open("/connect", Some("sockeye.v1"), None).await.unwrap();
        for (id, of) in commands.iter().enumerate() {
            let on = |channel: &str| {
                let mut of = of.clone();
                (of["id"], of["ch"]) = (json!(id), json!(channel));
                of
            };
            let is = |answer: &Value, code: &str| answer["err"]["code"] == code;
            let granted = command(&mut known, on("open")).await;
            assert!(granted["ok"].is_object(), "{decides:?} {of}: {granted}");
            if of["op"] == "unsub" {
                continue;
            }
            let refused = command(&mut known, on("shut")).await;
            assert!(is(&refused, "forbidden"), "{decides:?} {of}: {refused}");
            let refused = command(&mut anonymous, on("open")).await;
            assert!(is(&refused, "unauthorized"), "{decides:?} {of}: {refused}");
        }
        let token = match decides {
            Decides::Sessions => "ann-token".to_owned(),
            _ => token(CLAIM),
        };
        let wrong = json!({"id": "a", "op": "auth", "token": format!("{token}x")});
        let refused = command(&mut anonymous, wrong).await;
        assert_eq!(refused["err"]["code"], "unauthorized", "{decides:?}");
        let right = json!({"id": "b", "op": "auth", "token": token});
        assert!(command(&mut anonymous, right).await["ok"].is_object(), "{decides:?}");
        let read = command(&mut anonymous, json!({"id": "c", "op": "read", "ch": "open"})).await;
        assert!(read["ok"].is_object(), "{decides:?}: {read}");
        let read = command(&mut anonymous, json!({"id": "d", "op": "read", "ch": "shut"})).await;
        assert_eq!(read["err"]["code"], "forbidden", "{decides:?}: {read}");
    })
    .await;
}
