//! The opening handshake over HTTP/2 and HTTP/3: extended CONNECT (RFC 8441 §5, RFC 9220).
#![allow(clippy::unwrap_used, reason = "a failing helper is to fail its test")]

use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use sockeye_proto::{
    DeflateConfig,
    handshake::{ClientRequest, ExtendedConnect, Offer, Refusal, ResponseError},
};

/// The request that a browser sends, less the pseudo-header `:protocol`.
fn request(fields: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::connect("https://example.org/chat?a=b").version(Version::HTTP_2);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

const VERSION: (&str, &str) = ("sec-websocket-version", "13");

fn offer(fields: &[(&str, &str)]) -> Result<Offer, Refusal> {
    Offer::from_extended_connect(&request(fields), "websocket")
}

/// What every refusal over HTTP/2 has in common.
#[track_caller]
fn refuses(refused: Result<Offer, Refusal>, status: u16) {
    let refusal = refused.unwrap_err();
    assert_eq!(refusal.status(), status, "{}", refusal.text());
    for name in ["connection", "upgrade"] {
        assert!(!refusal.headers().contains_key(name), "{name} has no place in HTTP/2");
    }
}

/// Rule: H8.
#[test]
fn a_request_is_accepted_with_200_and_no_key() {
    let response = offer(&[VERSION]).unwrap().accept(None, HeaderMap::new()).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().is_empty(), "{:?}", response.headers());
}

/// Rule: H8.
#[test]
fn a_request_with_a_key_gets_the_answer_to_it() {
    let accept = |key| {
        let offer = offer(&[VERSION, ("sec-websocket-key", key)]).unwrap();
        let response = offer.accept(None, HeaderMap::new()).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("upgrade"));
        response.headers().get("sec-websocket-accept").map(|it| it.to_str().unwrap().to_owned())
    };
    // The example of RFC 6455 §1.3.
    let answer = accept("dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(answer.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(accept("none"), None);
}

/// Rule: H7.
#[test]
fn subprotocols_and_compression_are_agreed_on_as_over_http_1() {
    let mut offer = offer(&[
        VERSION,
        ("origin", "https://example.org"),
        ("sec-websocket-protocol", "chat, superchat"),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
    ])
    .unwrap();
    assert_eq!(offer.subprotocols().collect::<Vec<_>>(), ["chat", "superchat"]);
    assert!(offer.agree_deflate(&DeflateConfig::default()).is_some());
    let response = offer.accept(Some("chat"), HeaderMap::new()).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    let agreed = response.headers()["sec-websocket-extensions"].to_str().unwrap();
    assert!(agreed.starts_with("permessage-deflate"), "{agreed}");
    assert!(offer.accept(Some("other"), HeaderMap::new()).is_err());
}

/// Rule: H7.
#[test]
fn the_version_must_be_13() {
    refuses(offer(&[]), 400);
    refuses(offer(&[VERSION, VERSION]), 400);
    refuses(offer(&[("sec-websocket-version", "8")]), 400);
    let refusal = offer(&[("sec-websocket-version", "8")]).unwrap_err();
    assert_eq!(refusal.headers()["sec-websocket-version"], "13");
    refuses(offer(&[VERSION, ("sec-websocket-protocol", "a b")]), 400);
    refuses(offer(&[VERSION, ("sec-websocket-extensions", "a b")]), 400);
    refuses(offer(&[VERSION, ("content-length", "5")]), 400);
}

/// Rule: H6.
#[test]
fn connection_and_upgrade_are_refused_and_keys_ignored() {
    refuses(offer(&[VERSION, ("connection", "Upgrade")]), 400);
    refuses(offer(&[VERSION, ("upgrade", "websocket")]), 400);
    let offer = offer(&[VERSION, ("sec-websocket-key", "no key at all")]).unwrap();
    let response = offer.accept(None, HeaderMap::new()).unwrap();
    assert!(!response.headers().contains_key("sec-websocket-accept"));
}

/// Rule: H11.
#[test]
fn another_protocol_is_not_implemented() {
    for other in ["connect-udp", "WebSocket", "", "websocket, websocket"] {
        refuses(Offer::from_extended_connect(&request(&[VERSION]), other), 501);
    }
}

/// Rule: H5.
#[test]
fn only_connect_with_a_path_opens_a_websocket() {
    let mut get = request(&[VERSION]);
    *get.method_mut() = Method::GET;
    refuses(Offer::from_extended_connect(&get, "websocket"), 405);
    // Without `:protocol`: an ordinary request, and one for a tunnel to somewhere else.
    refuses(Offer::from_request(&get), 405);
    refuses(Offer::from_request(&request(&[VERSION])), 501);
    let tunnel = Request::connect("example.org:443").version(Version::HTTP_2);
    let tunnel = tunnel.header(VERSION.0, VERSION.1).body(()).unwrap();
    refuses(Offer::from_extended_connect(&tunnel, "websocket"), 400);
}

fn client() -> ClientRequest {
    let mut request =
        ClientRequest::new("example.org".parse().unwrap(), "/chat?a=b".parse().unwrap());
    request.subprotocols = vec!["chat".to_owned(), "superchat".to_owned()];
    request
}

/// Rules: H5, H6, H7.
#[test]
fn the_request_of_a_client() {
    let mut request = client();
    request.deflate = Some(DeflateConfig::default());
    request.headers.insert("origin", "https://example.org".parse().unwrap());
    for (secure, uri) in
        [(true, "https://example.org/chat?a=b"), (false, "http://example.org/chat?a=b")]
    {
        let handshake = ExtendedConnect::new(request.clone(), secure).unwrap();
        let request = handshake.request();
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.uri(), uri);
        let headers = request.headers();
        assert_eq!(headers["sec-websocket-version"], "13");
        assert_eq!(headers["sec-websocket-protocol"], "chat, superchat");
        assert_eq!(headers["origin"], "https://example.org");
        assert!(headers.contains_key("sec-websocket-extensions"));
        assert_eq!(headers.len(), 4, "no Host, Connection, Upgrade, key: {headers:?}");
        assert!(Offer::from_extended_connect(request, "websocket").is_ok());
    }
    request.headers.insert("upgrade", "websocket".parse().unwrap());
    assert!(ExtendedConnect::new(request, true).is_err());
}

fn answer(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut builder = Response::builder().status(status).version(Version::HTTP_2);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

/// Rule: H8.
#[test]
fn any_2xx_opens_and_anything_else_does_not() {
    let handshake = ExtendedConnect::new(client(), true).unwrap();
    for status in [200, 204, 299] {
        assert!(handshake.check(answer(status, &[])).is_ok());
    }
    let accepted = handshake.check(answer(200, &[("sec-websocket-protocol", "chat")])).unwrap();
    assert_eq!(accepted.subprotocol.as_deref(), Some("chat"));
    for status in [101, 302, 404, 501] {
        let error = handshake.check(answer(status, &[])).unwrap_err();
        assert!(matches!(&error, ResponseError::Status(answer) if answer.status() == status));
        assert!(error.to_string().ends_with(", not 200"), "{error}");
    }
}

/// Rule: H8.
#[test]
fn what_was_not_offered_cannot_be_chosen() {
    let handshake = ExtendedConnect::new(client(), true).unwrap();
    for field in [("sec-websocket-protocol", "other"), ("sec-websocket-extensions", "x")] {
        assert!(handshake.check(answer(200, &[field])).is_err(), "{field:?}");
    }
}
