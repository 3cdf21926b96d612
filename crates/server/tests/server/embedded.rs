//! The channels inside an axum program: the limit of guessed tokens works there too, or there are no
//! channels.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::json;
use sockeye::Client;
use sockeye_server::{BuildError, Channels, ClientAddresses, ServerOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::auth::{key, token};
use crate::client::{SOON, read_to_end};

const CHAT: &str = r#"{"chat":["read"]}"#;

/// Options with which tokens can be guessed.
fn options() -> ServerOptions {
    let mut options = ServerOptions::default();
    options.auth_key = Some(key());
    options.max_bad_tokens_per_address = Some(1);
    options
}

/// A program that serves the channels, with or without the addresses of its clients.
async fn program(channels: &Channels, tells_addresses: bool) -> SocketAddr {
    let program = axum::Router::new().nest("/live", channels.router());
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
        let channels = Channels::new(&options(), addresses).unwrap();
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
async fn where_nothing_tells_addresses_an_option_that_needs_them_is_an_error() {
    let refused = Channels::new(&options(), ClientAddresses::Unknown).unwrap_err();
    assert!(matches!(refused, BuildError::NoAddresses(_)));
    let refused = refused.to_string();
    for part in ["max_bad_tokens_per_address", "ConnectInfo", "hook", "None"] {
        assert!(refused.contains(part), "{refused}");
    }
    let mut unguarded = options();
    unguarded.max_bad_tokens_per_address = None;
    assert!(Channels::new(&unguarded, ClientAddresses::Unknown).is_ok());
    let mut limited = ServerOptions::default();
    limited.max_requests_per_address = Some(1);
    assert!(Channels::open(&limited, ClientAddresses::Unknown).is_err());
    limited.max_requests_per_address = None;
    limited.max_connections_per_address = Some(1);
    assert!(Channels::open(&limited, ClientAddresses::Unknown).is_err());
}

#[tokio::test]
async fn a_request_without_a_required_address_fails() {
    for addresses in [ClientAddresses::ConnectInfo, ClientAddresses::hook(|_| None)] {
        let channels = Channels::new(&options(), addresses).unwrap();
        let address = program(&channels, false).await;
        assert_eq!(show(address, &token(CHAT)).await, "500");
    }
}
