//! The channels inside an axum program: what protects them in a server of their own protects them there, or
//! there are no channels.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use sockeye::Client;
use sockeye_server::{BuildError, ChannelOptions, Channels, ClientAddresses, Publication};
use sockeye_testing::eventually_async;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::auth::{key, token};
use crate::client::{SOON, read_to_end};

const CHAT: &str = r#"{"chat":["read"]}"#;

/// Options with which tokens can be guessed.
fn options() -> ChannelOptions {
    ChannelOptions::default().auth_key(key()).max_bad_tokens_per_address(1)
}

/// Channels with these options, and addresses from there.
fn build(options: &ChannelOptions, addresses: ClientAddresses) -> Result<Channels, BuildError> {
    Channels::builder().options(options.clone()).client_addresses(addresses).build()
}

/// A program that serves the channels, with or without the addresses of its clients.
async fn program(channels: &Channels, tells_addresses: bool) -> SocketAddr {
    serve(axum::Router::new().nest("/live", channels.router()), tells_addresses).await
}

/// Serves a program.
async fn serve(program: axum::Router, tells_addresses: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    match tells_addresses {
        true => {
            let program = program.into_make_service_with_connect_info::<SocketAddr>();
            tokio::spawn(async move { axum::serve(listener, program).await });
        }
        false => drop(tokio::spawn(async move { axum::serve(listener, program).await })),
    }
    address
}

/// The status of the response to a request with this token.
async fn show(address: SocketAddr, token: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /live/c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_end(stream).await[9..12].to_owned()
}

/// The error code of a token on a connection of `sockeye.v1`.
async fn show_later(address: SocketAddr, token: &str) -> String {
    let url = format!("ws://{address}/live/connect");
    let client = Client::new(&url).unwrap().subprotocol("sockeye.v1").connect();
    let mut socket = timeout(SOON, client).await.unwrap().unwrap();
    socket.send(json!({"op": "auth", "id": 1, "token": token}).to_string()).await.unwrap();
    loop {
        let frame = timeout(SOON, socket.recv()).await.unwrap().unwrap().unwrap();
        let frame: serde_json::Value = serde_json::from_str(frame.as_text().unwrap()).unwrap();
        if let Some(code) = frame["err"]["code"].as_str() {
            return code.to_owned();
        }
    }
}

#[tokio::test]
async fn guesses_are_slowed_down_wherever_the_address_comes_from() {
    let here = |_: &axum::extract::Request| Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    for addresses in [ClientAddresses::ConnectInfo, ClientAddresses::hook(here)] {
        let channels = build(&options(), addresses).unwrap();
        let address = program(&channels, true).await;
        let good = token(CHAT);
        let mut seen = Vec::new();
        for _ in 0..20 {
            seen.push(show(address, &format!("{good}x")).await);
        }
        assert!(seen.contains(&"401".to_owned()) && seen.contains(&"429".to_owned()), "{seen:?}");
        let mut seen = Vec::new();
        for _ in 0..20 {
            seen.push(show_later(address, &format!("{good}x")).await);
        }
        assert!(seen.contains(&"too_many".to_owned()), "{seen:?}");
        assert_eq!(show(address, &good).await, "200", "valid ones are accepted");
    }
}

#[tokio::test]
async fn where_nothing_tells_subjects_an_option_that_counts_by_them_is_an_error() {
    let of_connections = ChannelOptions::default().max_connections_per_subject(4);
    let of_publications = ChannelOptions::default().max_publications_per_subject(4);
    for options in [of_connections, of_publications] {
        let refused = Channels::builder().options(options).build().unwrap_err();
        assert!(matches!(refused, BuildError::NoSubjects(_)), "{refused}");
    }
}

#[tokio::test]
async fn where_nothing_tells_addresses_an_option_that_needs_them_is_an_error() {
    let refused = build(&options(), ClientAddresses::Unknown).unwrap_err();
    assert!(matches!(refused, BuildError::NoAddresses(_)));
    let refused = refused.to_string();
    for part in ["max_bad_tokens_per_address", "ConnectInfo", "hook", "None"] {
        assert!(refused.contains(part), "{refused}");
    }
    let mut unguarded = options();
    unguarded.max_bad_tokens_per_address = None;
    assert!(build(&unguarded, ClientAddresses::Unknown).is_ok());
    let mut limited = ChannelOptions::default();
    limited.max_requests_per_address = Some(1);
    assert!(build(&limited, ClientAddresses::Unknown).is_err());
    limited.max_requests_per_address = None;
    limited.max_connections_per_address = Some(1);
    assert!(build(&limited, ClientAddresses::Unknown).is_err());
}

#[tokio::test]
async fn a_request_without_a_required_address_fails() {
    for addresses in [ClientAddresses::ConnectInfo, ClientAddresses::hook(|_| None)] {
        let channels = build(&options(), addresses).unwrap();
        let address = program(&channels, false).await;
        assert_eq!(show(address, &token(CHAT)).await, "500");
    }
}

/// The response to a request with these header lines.
async fn ask(address: SocketAddr, line: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_end(stream).await
}

#[tokio::test]
async fn connections_are_limited_in_all() {
    let channels = build(&ChannelOptions::default().max_connections(1), ClientAddresses::Unknown);
    let channels = channels.unwrap();
    let address = program(&channels, false).await;
    let reading = sockeye::connect(format!("ws://{address}/live/c/chat")).await.unwrap();
    let refused = ask(address, "GET /live/c/chat", "Host: localhost\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("connection limit"), "{refused}");
    drop(reading);
    eventually_async("the connection is free again", async || {
        let answer = ask(address, "GET /live/c/chat", "Host: localhost\r\n").await;
        if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(answer) }
    })
    .await;
}

/// Publishes one message that is old at once, and waits until it is gone.
async fn swept(channels: &Channels) {
    let chat = "chat".parse().unwrap();
    channels.hub().publish(&chat, Publication::text("old")).await.unwrap();
    eventually_async("it is swept", async || match channels.hub().figures().entries {
        0 => Ok(()),
        entries => Err(entries),
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn idle_channels_are_swept_without_a_server() {
    let options = ChannelOptions::default().history_age(std::time::Duration::from_millis(1));
    let channels = build(&options, ClientAddresses::Unknown).unwrap();
    swept(&channels).await;
    let (hub, router) = (channels.hub().clone(), channels.router());
    drop(channels);
    let chat = "chat".parse().unwrap();
    hub.publish(&chat, Publication::text("old")).await.unwrap();
    eventually_async("a router is enough", async || match hub.figures().entries {
        0 => Ok(()),
        entries => Err(entries),
    })
    .await;
    drop(router);
    hub.publish(&chat, Publication::text("old")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_mins(1)).await;
    assert_eq!(hub.figures().entries, 1, "it ends with the channels");
}

#[test]
fn channels_that_outlive_their_runtime_are_swept_on_the_next_one() {
    let options = ChannelOptions::default().history_age(std::time::Duration::from_millis(1));
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    // Outside of a runtime, and then inside of two.
    let channels = build(&options, ClientAddresses::Unknown).unwrap();
    for _ in 0..2 {
        runtime().unwrap().block_on(async {
            let request = axum::extract::Request::get("/c/chat").header("host", "localhost");
            let request = request.body(axum::body::Body::empty()).unwrap();
            TowerToHyperService::new(channels.router()).call(request).await.unwrap();
            swept(&channels).await;
        });
    }
}

#[tokio::test]
async fn pages_of_the_public_origin_are_the_program_s_own_whatever_host_a_proxy_asks_for() {
    let builder = || Channels::builder().public_origin("https://shop.example");
    let channels = builder().unwrap().build().unwrap();
    let address = program(&channels, false).await;
    let post = async |host: &str, origin: &str| {
        let headers = format!("Host: {host}\r\nOrigin: {origin}\r\nContent-Length: 0\r\n");
        ask(address, "POST /live/c/chat", &headers).await
    };
    for host in ["localhost:3000", "127.0.0.1", "shop.example"] {
        let taken = post(host, "https://shop.example").await;
        assert!(taken.starts_with("HTTP/1.1 201 "), "{taken}");
        assert!(taken.contains("strict-transport-security"), "{taken}");
        let own = format!("http://{host}");
        for other in ["http://shop.example", "https://evil.example", &own] {
            let refused = post(host, other).await;
            assert!(refused.starts_with("HTTP/1.1 403 "), "{host} {other}: {refused}");
        }
    }
    // A page that rebinds its name to this address.
    let rebound = ask(address, "GET /live/c/chat", "Host: evil.example\r\n").await;
    assert!(rebound.starts_with("HTTP/1.1 403 "), "{rebound}");
    assert!(Channels::builder().public_origin("shop.example").is_err());
}

#[tokio::test]
async fn with_tls_in_front_pages_of_the_host_come_by_https() {
    let channels = Channels::builder().secure(true).build().unwrap();
    let address = program(&channels, false).await;
    for (origin, status) in [("https://localhost", "201"), ("http://localhost", "403")] {
        let headers = format!("Host: localhost\r\nOrigin: {origin}\r\nContent-Length: 0\r\n");
        let answer = ask(address, "POST /live/c/chat", &headers).await;
        assert_eq!(&answer[9..12], status, "{origin}");
    }
}

#[tokio::test]
async fn below_a_path_with_a_parameter_of_the_same_name_the_channel_is_that_of_its_own_path() {
    let channels = build(&ChannelOptions::default(), ClientAddresses::Unknown).unwrap();
    let program = axum::Router::new().nest("/of/{channel}", channels.router());
    let address = serve(program, false).await;
    for (channel, text) in [("chat", "in the chat"), ("other", "elsewhere")] {
        let publication = Publication::text(text);
        channels.hub().publish(&channel.parse().unwrap(), publication).await.unwrap();
    }
    let answer = ask(address, "GET /of/other/c/chat", "Host: localhost\r\n").await;
    assert!(answer.contains("in the chat") && !answer.contains("elsewhere"), "{answer}");
}

#[tokio::test]
async fn the_api_is_merged_with_the_program_s_own_paths() {
    let channels = Channels::builder().build().unwrap();
    let program = axum::Router::new()
        .route("/", axum::routing::get(async || "the program's page"))
        .merge(channels.api_router())
        .fallback(async || "the program's fallback");
    let address = serve(program, false).await;
    let get = async |path: &str| ask(address, &format!("GET {path}"), "Host: localhost\r\n").await;
    assert!(get("/").await.ends_with("the program's page"));
    for path in ["/index.html", "/sockeye.js", "/nothing"] {
        assert!(get(path).await.ends_with("the program's fallback"), "{path}");
    }
    assert!(get("/c/chat").await.contains("\"messages\":[]"));
    assert!(get("/c/chat/presence").await.contains("\"count\":0"));
}

#[tokio::test]
async fn what_a_library_says_names_its_options_and_no_flags() {
    let channels = build(&ChannelOptions::default().max_message(4), ClientAddresses::Unknown);
    let channels = channels.unwrap();
    let address = program(&channels, false).await;
    let host = "Host: localhost\r\n";
    let large = format!("{host}Content-Length: 5\r\n");
    let foreign = format!("{host}Origin: https://evil.example\r\n");
    for (line, headers, option) in [
        ("POST /live/c/chat", &*large, "`max_message`"),
        ("GET /live/c/chat", &*foreign, "`allow_origin`"),
        ("GET /live/c/chat", "Host: evil.example\r\n", "`auth_key`"),
    ] {
        let told = ask(address, line, headers).await;
        assert!(told.contains(option) && !told.contains("--"), "{told}");
    }
}

/// The program's own listener and runtime of HTTP serve both.
#[tokio::test]
async fn an_operator_of_the_program_ends_what_is_open() {
    let channels = Channels::builder().build().unwrap();
    let routes = axum::Router::new().nest("/live", channels.router());
    let address = serve(routes.nest("/operators", channels.admin_router()), false).await;
    let get = |path: &str, accept: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n")
    };
    let mut open = Vec::new();
    for request in [
        get("/live/c/chat?as=ann", "text/event-stream"),
        get("/live/c/chat,news?as=ann", "application/x-ndjson"),
        get("/live/c/chat?wait=60&as=ann", "application/json"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        open.push(stream);
    }
    let url = format!("ws://{address}/live/c/chat?as=ann");
    let mut socket = sockeye::connect(&url).await.unwrap();
    eventually_async("all read", async || {
        let readers = channels.hub().figures().readers;
        if readers == 5 { Ok(()) } else { Err(readers) }
    })
    .await;
    let mut operator = TcpStream::connect(address).await.unwrap();
    let order = format!(
        "POST /operators/disconnect?subject=ann HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    );
    operator.write_all(order.as_bytes()).await.unwrap();
    assert!(read_to_end(operator).await.ends_with(r#"{"disconnected":4}"#));
    assert!(timeout(SOON, socket.recv()).await.unwrap().is_none_or(|got| got.is_err()));
    assert_eq!(socket.closed().unwrap().code(), 4403);
    eventually_async("nothing reads", async || {
        let readers = channels.hub().figures().readers;
        if readers == 0 { Ok(()) } else { Err(readers) }
    })
    .await;
    // Its connection ends with the answer to the poll.
    let answer = read_to_end(open.pop().unwrap()).await;
    assert!(answer.contains("\"messages\":[]"), "{answer}");
}
