//! The server's answer to the opening handshake (RFC 6455 §4.2.2): what it agrees to, and how it
//! refuses.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use sockeye_proto::{
    DeflateConfig,
    handshake::{AnswerError, Offer, Refusal, encode_response},
};

fn offer(subprotocols: &'static str) -> Offer {
    let request = Request::get("/")
        .header("Host", "a")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Protocol", subprotocols)
        .header("Sec-WebSocket-Extensions", "permessage-deflate, x-other")
        .body(())
        .unwrap();
    Offer::from_request(&request).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Rule: W50.
#[test]
fn the_answer_is_101_with_upgrade_connection_and_accept() {
    let response = offer("chat").accept(None, HeaderMap::new()).unwrap();
    let mut bytes: Vec<String> =
        text(&encode_response(&response.map(|()| ""))).split("\r\n").map(str::to_owned).collect();
    assert_eq!(bytes.remove(0), "HTTP/1.1 101 Switching Protocols");
    assert_eq!(bytes.split_off(bytes.len() - 2), ["", ""]);
    bytes.sort();
    let expected = [
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Upgrade: websocket",
    ];
    assert_eq!(bytes, expected);
}

/// Rules: W46, W47, W131.
#[test]
fn the_subprotocol_is_one_of_those_offered_or_is_not_there() {
    let offer = offer("chat, superchat");
    let response = offer.accept(Some("superchat"), HeaderMap::new()).unwrap();
    let chosen: Vec<_> = response.headers().get_all("sec-websocket-protocol").iter().collect();
    assert_eq!(chosen, ["superchat"]);
    let response = offer.accept(None, HeaderMap::new()).unwrap();
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
    for wrong in ["other", "", "Chat", "chat, superchat", "chat\r\nX: y"] {
        let error = offer.accept(Some(wrong), HeaderMap::new()).unwrap_err();
        assert_eq!(error, AnswerError::NotOffered);
    }
}

/// Rules: W48, W49, W113, W119.
#[test]
fn extensions_are_those_of_the_clients_list_that_the_server_wants() {
    let extensions = |offered: &'static str, wanted: bool| {
        let request = Request::get("/")
            .header("Host", "a")
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Extensions", offered)
            .body(())
            .unwrap();
        let mut offer = Offer::from_request(&request).unwrap();
        let agreed = wanted.then(|| offer.agree_deflate(&DeflateConfig::default())).flatten();
        let response = offer.accept(None, HeaderMap::new()).unwrap();
        let field = response.headers().get("sec-websocket-extensions").cloned();
        assert_eq!(agreed.is_some(), field.is_some(), "{offered}");
        field.map(|field| text(field.as_bytes()))
    };
    // Offered and not wanted, wanted and not offered, one that is unknown here.
    assert_eq!(extensions("permessage-deflate", false), None);
    assert_eq!(extensions("x-other", true), None);
    let agreed = extensions("x-other; a=1, permessage-deflate", true).unwrap();
    assert!(agreed.starts_with("permessage-deflate") && !agreed.contains("x-other"), "{agreed}");
}

/// Rule: W50.
#[test]
fn the_applications_headers_go_with_it_but_not_those_of_the_handshake() {
    let offer = offer("chat");
    let mut headers = HeaderMap::new();
    headers.append(header::SET_COOKIE, HeaderValue::from_static("a=1"));
    headers.append(header::SET_COOKIE, HeaderValue::from_static("b=2"));
    let response = offer.accept(None, headers).unwrap();
    let head = text(&encode_response(&response.map(|()| "")));
    assert!(head.contains("\r\nSet-Cookie: a=1\r\n") && head.contains("\r\nSet-Cookie: b=2\r\n"));

    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_EXTENSIONS,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(name.clone(), HeaderValue::from_static("x"));
        let error = offer.accept(None, headers).unwrap_err();
        assert_eq!(error, AnswerError::ReservedHeader(name));
    }
}

/// Rules: W43, W45, WS2.
#[test]
fn the_application_may_refuse_with_any_status_of_failure() {
    for status in [401, 403, 404, 408, 429, 500, 503, 307] {
        let refusal = Refusal::new(StatusCode::from_u16(status).unwrap(), "no");
        assert_eq!(refusal.status().as_u16(), status);
        let bytes = text(&refusal.encode());
        assert!(bytes.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes}");
    }
    let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "come back")
        .header(header::RETRY_AFTER, HeaderValue::from_static("5"));
    let bytes = text(&refusal.encode());
    assert!(bytes.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{bytes}");
    for field in [
        "Retry-After: 5",
        "Connection: close",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Length: 10",
    ] {
        assert!(bytes.contains(&format!("\r\n{field}\r\n")), "{bytes}");
    }
    assert!(bytes.ends_with("\r\n\r\ncome back\n"), "{bytes}");
}

/// Rule: W43.
#[test]
fn a_refusal_cannot_look_like_consent() {
    for status in [100, 101, 200, 204] {
        let refusal = Refusal::new(StatusCode::from_u16(status).unwrap(), "no");
        assert_eq!(refusal.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}

/// Rule: W43.
#[test]
fn a_refusal_is_an_http_response_for_programs_that_speak_http_already() {
    let response: Response<String> = Refusal::new(StatusCode::FORBIDDEN, "not from there").into();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.body(), "not from there\n");
    assert_eq!(response.headers()["connection"], "close");
}

/// Rule: N8.
#[test]
fn no_header_can_be_injected_into_an_answer() {
    for value in ["a\r\nX: y", "a\nX: y", "a\rb", "a\0b"] {
        assert!(HeaderValue::from_str(value).is_err());
    }
    // The text of a refusal stays in its body.
    let refusal = Refusal::new(StatusCode::FORBIDDEN, "a\r\nX-Injected: y\r\n\r\n");
    let bytes = text(&refusal.encode());
    let (head, body) = bytes.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("X-Injected"));
    assert!(body.contains("X-Injected"));
}

#[test]
fn a_status_without_a_name_is_written_all_the_same() {
    let mut response = Response::new("");
    *response.status_mut() = StatusCode::from_u16(599).unwrap();
    let name = HeaderName::from_static("x-web-thing");
    response.headers_mut().insert(name, HeaderValue::from_static("1"));
    let bytes = text(&encode_response(&response));
    assert_eq!(bytes, "HTTP/1.1 599 Unknown\r\nX-Web-Thing: 1\r\n\r\n");
}
