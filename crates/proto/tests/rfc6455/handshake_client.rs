//! The client's half of the opening handshake (RFC 6455 §4.1): the request it writes, and the
//! responses it refuses.

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, header};
use sockeye_proto::handshake::{
    Accepted, ClientHandshake, ClientRequest, HeadLimits, InvalidRequest, MalformedHead, Offer,
    ResponseError, ServerHandshake,
};

use crate::harness::{CUTS, Cut, End, Role, every_cut_of_head, text, wire};

const NONCE: [u8; 16] = *b"the sample nonce";

/// The response of RFC 6455 §1.2, to the nonce of its request.
const VALID: [&str; 4] = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

fn request() -> ClientRequest {
    let mut request = ClientRequest::new("h:8080".parse().unwrap(), "/a?b".parse().unwrap());
    request.subprotocols = vec!["chat".to_owned(), "superchat".to_owned()];
    request
}

fn encode(request: ClientRequest) -> String {
    let handshake = ClientHandshake::new(request, NONCE).unwrap();
    String::from_utf8(handshake.request().to_vec()).unwrap()
}

/// Rules: W18, W19, W20, W22, W23, W24, W25, W29.
#[test]
fn the_request_is_what_the_rfc_asks_for() {
    let expected = "GET /a?b HTTP/1.1\r\n\
                    Host: h:8080\r\n\
                    Upgrade: websocket\r\n\
                    Connection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                    Sec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Protocol: chat, superchat\r\n\
                    \r\n";
    assert_eq!(encode(request()), expected);
}

/// Rules: W3, W21.
#[test]
fn the_target_is_a_path_without_a_fragment() {
    for (target, line) in [
        ("/", "GET / HTTP/1.1\r\n"),
        ("/?x=1", "GET /?x=1 HTTP/1.1\r\n"),
        ("?x=1", "GET /?x=1 HTTP/1.1\r\n"),
        ("/a#fragment", "GET /a HTTP/1.1\r\n"),
        ("/a%23b", "GET /a%23b HTTP/1.1\r\n"),
    ] {
        let mut request = request();
        request.target = target.parse().unwrap();
        assert!(encode(request).starts_with(line), "{target}");
    }
    let uri: http::Uri = "ws://h?x=1".parse().unwrap();
    let mut request = request();
    request.target = uri.path_and_query().unwrap().clone();
    assert!(encode(request).starts_with("GET /?x=1 HTTP/1.1\r\n"));
}

/// Rule: W22.
#[test]
fn credentials_do_not_get_into_host() {
    let mut request = request();
    request.host = "user:password@h:8080".parse().unwrap();
    let error = ClientHandshake::new(request, NONCE).unwrap_err();
    assert_eq!(error, InvalidRequest::Credentials);
}

/// Rule: W28.
#[test]
fn headers_of_ones_own_go_with_it() {
    let mut request = request();
    request.headers.insert(header::ORIGIN, HeaderValue::from_static("https://example.com"));
    request.headers.append(header::COOKIE, HeaderValue::from_static("a=1"));
    let head = encode(request);
    assert!(head.contains("\r\nOrigin: https://example.com\r\n"));
    assert!(head.contains("\r\nCookie: a=1\r\n"));
}

/// Rules: W22, W128, W132.
#[test]
fn the_handshakes_own_headers_are_there_once() {
    for name in [
        header::HOST,
        header::UPGRADE,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_EXTENSIONS,
    ] {
        let mut request = request();
        request.headers.insert(name.clone(), HeaderValue::from_static("x"));
        let error = ClientHandshake::new(request, NONCE).unwrap_err();
        assert_eq!(error, InvalidRequest::ReservedHeader(name));
    }
}

/// Rules: W31, N8.
#[test]
fn subprotocols_are_unique_tokens() {
    for bad in ["", "a b", "a,b", "a\r\nX: y", "é", "a/b"] {
        let mut request = request();
        request.subprotocols = vec![bad.to_owned()];
        let error = ClientHandshake::new(request, NONCE).unwrap_err();
        assert_eq!(error, InvalidRequest::Subprotocol(bad.to_owned()));
    }
    let mut request = request();
    request.subprotocols.push("chat".to_owned());
    let error = ClientHandshake::new(request, NONCE).unwrap_err();
    assert_eq!(error, InvalidRequest::RepeatedSubprotocol("chat".to_owned()));
}

fn head(lines: &[&str]) -> Vec<u8> {
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

/// The valid response with its `line`th line replaced.
fn with(line: usize, new: &[&str]) -> Vec<u8> {
    head(&[&VALID[..line], new, &VALID[line + 1..]].concat())
}

/// The valid response with further lines.
fn plus(lines: &[&str]) -> Vec<u8> {
    head(&[&VALID[..], lines].concat())
}

/// Reads a response cut in every way, with bytes behind it that are to stay in the input.
#[track_caller]
fn read_with(head: &[u8], limits: HeadLimits) -> Result<Accepted, ResponseError> {
    let new = || {
        let mut request = request();
        request.limits = limits;
        ClientHandshake::new(request, NONCE).unwrap()
    };
    every_cut_of_head(head, b"\x81\x06behind", new, ClientHandshake::poll_response)
}

#[track_caller]
fn accepts(head: &[u8]) -> Accepted {
    read_with(head, HeadLimits::default()).unwrap()
}

#[track_caller]
fn refuses(head: &[u8]) -> ResponseError {
    read_with(head, HeadLimits::default()).unwrap_err()
}

/// Rules: W5, W33.
#[test]
fn the_response_of_the_rfc_opens_the_websocket() {
    let accepted = accepts(&plus(&["Sec-WebSocket-Protocol: chat", "Set-Cookie: a=1"]));
    assert_eq!(accepted.subprotocol.as_deref(), Some("chat"));
    assert_eq!(accepted.response.headers()["set-cookie"], "a=1");
    assert_eq!(accepts(&head(&VALID)).subprotocol, None);
    accepts(&with(0, &["HTTP/1.1 101 "]));
    accepts(&with(0, &["HTTP/1.1 101 Whatever you say"]));
}

/// Rule: W33.
#[test]
fn another_status_is_told_with_its_headers() {
    for status in [200, 204, 301, 401, 403, 404, 426, 500, 503] {
        let line = format!("HTTP/1.1 {status} X");
        let bytes = head(&[&line, "Location: /there", "Content-Length: 6"]);
        let error = refuses(&bytes);
        let ResponseError::Status(response) = &error else { panic!("{error}") };
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["location"], "/there");
        assert_eq!(error.to_string(), format!("its status is {}, not 101", response.status()));
    }
    // An answer of HTTP/1.0 can refuse as well.
    assert!(matches!(refuses(&head(&["HTTP/1.0 403 No"])), ResponseError::Status(_)));
}

/// Rule: W34.
#[test]
fn upgrade_must_be_websocket_in_any_case() {
    accepts(&with(1, &["UPGRADE:   WebSocket "]));
    for upgrade in [&[][..], &["Upgrade:"], &["Upgrade: h2c"], &["Upgrade: websocket, h2c"]] {
        assert!(matches!(refuses(&with(1, upgrade)), ResponseError::Upgrade));
    }
    assert!(matches!(refuses(&with(1, &[VALID[1], VALID[1]])), ResponseError::Upgrade));
}

/// Rule: W35.
#[test]
fn connection_must_have_upgrade_in_any_case_on_any_line() {
    for connection in [
        &["Connection: keep-alive, upgrade"][..],
        &["connection: UPGRADE"],
        &["Connection: keep-alive", "Connection: Upgrade"],
    ] {
        accepts(&with(2, connection));
    }
    for connection in [&[][..], &["Connection: close"], &["Connection: upgraded"]] {
        assert!(matches!(refuses(&with(2, connection)), ResponseError::Connection));
    }
}

/// Rules: W36, W130.
#[test]
fn accept_must_answer_our_key_and_be_there_once() {
    accepts(&with(3, &["sec-websocket-accept: \t s3pPLMBiTxaQ9kYGzzhZRbK+xOo= "]));
    for accept in [
        &[][..],
        &["Sec-WebSocket-Accept:"],
        &["Sec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO="],
        &["Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo"],
        &["Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk="],
        &[VALID[3], VALID[3]],
    ] {
        assert!(matches!(refuses(&with(3, accept)), ResponseError::Accept));
    }
}

/// Rules: W37, W115, W119, W129.
#[test]
fn an_extension_that_was_not_offered_is_refused() {
    for (lines, told) in [
        (&["Sec-WebSocket-Extensions: permessage-deflate"][..], "permessage-deflate"),
        (&["Sec-WebSocket-Extensions: ", "Sec-WebSocket-Extensions: x; y=1"], "x"),
        (&["Sec-WebSocket-Extensions: a b"], "something that is not an extension"),
    ] {
        let error = refuses(&plus(lines));
        assert!(matches!(&error, ResponseError::Extension(name) if name == told), "{error}");
    }
    accepts(&plus(&["Sec-WebSocket-Extensions: "]));
}

/// Rules: W38, W131.
#[test]
fn a_subprotocol_must_be_one_that_was_offered() {
    for (lines, told) in [
        (&["Sec-WebSocket-Protocol: other"][..], "other"),
        (&["Sec-WebSocket-Protocol: Chat"], "Chat"),
        (&["Sec-WebSocket-Protocol:"], ""),
        (&["Sec-WebSocket-Protocol: chat, superchat"], "chat, superchat"),
        (&["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: superchat"], "several"),
        (&["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: chat"], "several"),
    ] {
        let error = refuses(&plus(lines));
        assert!(matches!(&error, ResponseError::Subprotocol(name) if name == told), "{error}");
    }
}

/// Rule: W39.
#[test]
fn what_is_not_http_1_1_is_refused() {
    for line in ["HTTP/1.0 101 Switching Protocols", "HTTP/2.0 101 Switching Protocols"] {
        let error = refuses(&with(0, &[line]));
        assert!(matches!(error, ResponseError::Head(MalformedHead::Version)), "{error}");
    }
    for line in ["SSH-2.0-OpenSSH_9.2", "HTTP/1.1", "HTTP/1.1 1 X", "101 HTTP/1.1", "\u{7f}"] {
        let error = refuses(&with(0, &[line]));
        assert!(matches!(error, ResponseError::Head(_)), "{error}");
    }
    for line in ["No colon", "Space : x", " folded", "Nul: a\0b"] {
        let error = refuses(&plus(&[line]));
        assert!(matches!(error, ResponseError::Head(MalformedHead::Syntax(_))), "{error}");
    }
    let bare = b"HTTP/1.1 101 X\nUpgrade: websocket\n\n";
    assert!(matches!(refuses(bare), ResponseError::Head(MalformedHead::Syntax(_))));
}

/// Rule: N2.
#[test]
fn the_responses_head_has_limits_too() {
    let limits = HeadLimits::default().bytes(1000).line(100).fields(10);
    let padded = |size: usize| {
        let room = size - plus(&["Pad: "]).len();
        plus(&[&format!("Pad: {}", "x".repeat(room))])
    };
    read_with(&padded(1000), limits).unwrap();
    let error = read_with(&padded(1001), limits).unwrap_err();
    assert!(matches!(error, ResponseError::Head(MalformedHead::Size(1000))), "{error}");

    read_with(&plus(&["X: y"; 7]), limits).unwrap();
    let error = read_with(&plus(&["X: y"; 8]), limits).unwrap_err();
    assert!(matches!(error, ResponseError::Head(MalformedHead::Fields(10))), "{error}");

    let error = read_with(&[b'x'; 200], limits).unwrap_err();
    assert!(matches!(error, ResponseError::Head(MalformedHead::Line(100))), "{error}");
}

/// Rules: W18, W32, N12.
#[test]
fn the_two_halves_open_a_websocket_and_frames_behind_the_head_are_kept() {
    for mut cut in CUTS {
        let mut client = ClientHandshake::new(request(), NONCE).unwrap();
        let mut server = ServerHandshake::default();
        let mut input = BytesMut::from(&client.request()[..]);
        let http = server.poll_request(&mut input).unwrap().unwrap();
        assert!(input.is_empty());
        assert_eq!((http.uri().path(), http.uri().query()), ("/a", Some("b")));
        let offer = Offer::from_request(&http).unwrap();
        let response = offer.accept(Some("superchat"), HeaderMap::new()).unwrap();
        let answer = sockeye_proto::handshake::encode_response(&response.map(|()| ""));

        let bytes = [&answer[..], &wire(Role::Server, 0x81, b"hello")].concat();
        let (mut input, mut rest) = (BytesMut::new(), &bytes[..]);
        let accepted = loop {
            let (piece, later) = rest.split_at(cut.next(rest.len()));
            input.extend_from_slice(piece);
            rest = later;
            if let Some(accepted) = client.poll_response(&mut input).unwrap() {
                break accepted;
            }
        };
        assert_eq!(accepted.subprotocol.as_deref(), Some("superchat"));
        let mut end = End::new(Role::Client, Default::default(), Cut::Whole);
        end.feed(&input);
        end.feed(rest);
        assert_eq!(end.events(), [text("hello")]);
    }
}

/// Rule: W33.
#[test]
fn interim_responses_are_skipped_a_few_of_them() {
    let valid = VALID.join("\r\n") + "\r\n\r\n";
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let answer = |before: &str| {
        let mut handshake = ClientHandshake::new(request(), NONCE).unwrap();
        let (mut input, text) = (BytesMut::new(), format!("{before}{valid}"));
        let (last, rest) = text.as_bytes().split_last().unwrap();
        for byte in rest {
            input.extend_from_slice(&[*byte]);
            let response = handshake.poll_response(&mut input)?;
            assert!(response.is_none(), "it is not whole");
        }
        input.extend_from_slice(&[*last, 0x89, 0]);
        let response = handshake.poll_response(&mut input);
        assert_eq!(&input[..], [0x89, 0], "what follows is the WebSocket's");
        response
    };
    assert!(answer("HTTP/1.1 100 Continue\r\n\r\n").unwrap().is_some());
    assert!(answer(&format!("{hints}{hints}HTTP/1.1 102 x\r\n\r\n")).unwrap().is_some());
    assert!(answer(&hints.repeat(16)).unwrap().is_some());
    let Err(ResponseError::Status(response)) = answer(&hints.repeat(17)) else {
        panic!("they have no end")
    };
    assert_eq!(response.status(), 103);
}
