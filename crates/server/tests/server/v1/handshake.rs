//! How a connection begins.

use http::StatusCode;
use serde_json::json;
use sockeye::Client;

use super::V1;
use crate::client::TestServer;

#[tokio::test]
async fn hello_comes_first() {
    let server = TestServer::with(|options| options.channels.max_message = 1234).await;
    let connection = V1::connect(&server, "/connect").await;
    assert_eq!(connection.hello, json!({"ping": 25, "max_message": 1234}));
}

#[tokio::test]
async fn on_a_channel_it_is_subscribed_already_and_hello_says_where() {
    let server = TestServer::start().await;
    let first = server.publish("/c/chat", "1").await;
    for text in ["2", "3"] {
        server.publish("/c/chat", text).await;
    }
    let mut here = V1::connect(&server, &format!("/c/chat?after={first}")).await;
    let position = server.head("/c/chat").await.header("etag").trim_matches('"').to_owned();
    assert_eq!(here.hello["ch"], "chat");
    assert_eq!(here.hello["at"], position);
    assert_eq!((&here.hello["recovered"], &here.hello["missed"]), (&json!(true), &json!(2)));
    assert_eq!(here.data("chat").await, "2");
    assert_eq!(here.data("chat").await, "3");
    server.publish("/c/chat", "4").await;
    assert_eq!(here.data("chat").await, "4");
}

#[tokio::test]
async fn on_a_channel_commands_need_not_name_it_and_may_name_another() {
    let server = TestServer::start().await;
    let mut here = V1::connect(&server, "/c/chat").await;
    let (_, message) = here.publish(r#"{"op":"pub","data":"hi"}"#).await;
    assert_eq!((&message["ch"], &message["data"]), (&json!("chat"), &json!("hi")));
    assert_eq!(here.done(json!({"op": "read"})).await["messages"][0]["data"], "hi");

    here.subscribe("other").await;
    server.publish("/c/other", "there").await;
    assert_eq!(here.data("other").await, "there");

    here.done(json!({"op": "unsub"})).await;
    server.publish("/c/chat", "unheard").await;
    here.assert_silent().await;
}

#[tokio::test]
async fn of_several_subprotocols_sockeye_v1_is_chosen_and_no_token_is_echoed() {
    let server = TestServer::start().await;
    for path in ["/connect", "/c/chat"] {
        let url = format!("ws://{}{path}", server.address);
        let offered = ["bearer.abc", "chat", "sockeye.v1"];
        let client = offered
            .iter()
            .fold(Client::new(&url).unwrap(), |client, name| client.subprotocol(*name));
        let opened = client.open().await.unwrap();
        assert_eq!(opened.socket.subprotocol(), Some("sockeye.v1"));
        assert!(!format!("{:?}", opened.response).contains("abc"), "{:?}", opened.response);
    }
}

#[tokio::test]
async fn connect_without_sockeye_v1_says_what_to_offer() {
    let server = TestServer::start().await;
    let head = "GET /connect HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Sec-WebSocket-Version: 13\r\n";
    for offer in ["", "Sec-WebSocket-Protocol: bearer.abc\r\n", "Sec-WebSocket-Protocol: mqtt\r\n"]
    {
        let answer = server.send_raw(format!("{head}{offer}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 406 "), "{answer}");
        assert!(answer.contains("Offer the subprotocol sockeye.v1"), "{answer}");
    }
    let plain = server.get("/connect").await;
    assert_eq!(plain.status, StatusCode::UPGRADE_REQUIRED);
    plain.assert_problem(426, "upgrade_required");
    assert_eq!(plain.header("upgrade"), "websocket");
}
