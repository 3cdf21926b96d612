//! The server's reading of the opening handshake (RFC 6455 §4.2.1): what is accepted, and the HTTP
//! answer that each defect earns.

use bytes::BytesMut;
use http::{Request, StatusCode};
use sockeye_proto::handshake::{HeadLimits, Offer, Refusal, ServerHandshake};

use crate::harness::every_cut_of_head;

/// The request of RFC 6455 §1.2, less what is optional.
const VALID: [&str; 6] = [
    "GET /chat HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn head(lines: &[&str]) -> Vec<u8> {
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

/// The valid request with its `line`th line replaced; by nothing if there are no new ones.
fn with(line: usize, new: &[&str]) -> Vec<u8> {
    head(&[&VALID[..line], new, &VALID[line + 1..]].concat())
}

/// The valid request with further lines.
fn plus(lines: &[&str]) -> Vec<u8> {
    head(&[&VALID[..], lines].concat())
}

/// Reads a request cut in every way, with bytes behind it that are to stay in the input. Refused, it
/// is so at the same byte or before, and with the same words.
#[track_caller]
fn read(head: &[u8], limits: HeadLimits) -> Result<Request<()>, Refusal> {
    let new = || ServerHandshake::new(limits);
    every_cut_of_head(head, b"\x81\x85behind", new, ServerHandshake::poll_request)
}

#[track_caller]
fn offer(head: &[u8]) -> Result<Offer, Refusal> {
    read(head, HeadLimits::default()).and_then(|request| Offer::from_request(&request))
}

#[track_caller]
fn accepts(head: &[u8]) -> Offer {
    offer(head).unwrap_or_else(|refusal| panic!("refused: {}", refusal.text()))
}

/// Expects a refusal of this status, with everything that every refusal has.
#[track_caller]
fn refuses(head: &[u8], status: u16) -> Refusal {
    let refusal = offer(head).expect_err("it was accepted");
    assert_eq!(refusal.status().as_u16(), status, "{}", refusal.text());
    let connection = refusal.headers()["connection"].to_str().unwrap();
    assert!(connection.split(", ").any(|option| option == "close"));
    assert!(!refusal.text().is_empty() && !refusal.text().contains('\n'));
    refusal
}

/// Rules: W40, W50.
#[test]
fn the_request_of_the_rfc_is_accepted_with_its_accept() {
    let offer =
        accepts(&plus(&["Origin: http://example.com", "Sec-WebSocket-Protocol: chat, superchat"]));
    assert_eq!(offer.subprotocols().collect::<Vec<_>>(), ["chat", "superchat"]);
    let response = offer.accept(None, Default::default()).unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["connection"], "Upgrade");
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/// Rules: W40, WS1.
#[test]
fn no_other_header_is_needed() {
    accepts(&head(&VALID));
}

/// Rules: W21, W40.
#[test]
fn the_target_may_be_a_path_or_an_absolute_uri() {
    for target in ["/", "/a/b?c=d&e", "//x", "/%20", "http://server.example.com/chat"] {
        let line = format!("GET {target} HTTP/1.1");
        accepts(&with(0, &[&line]));
    }
    for target in ["*", "server.example.com:80", "/a#b", "/\u{1}", "#", ""] {
        let line = format!("GET {target} HTTP/1.1");
        refuses(&with(0, &[&line]), 400);
    }
}

/// Rules: W20, W40.
#[test]
fn any_method_but_get_is_405_with_allow() {
    for method in ["POST", "HEAD", "OPTIONS", "get", "CONNECT", "BREW"] {
        let line = format!("{method} /chat HTTP/1.1");
        let refusal = refuses(&with(0, &[&line]), 405);
        assert_eq!(refusal.headers()["allow"], "GET");
    }
}

/// Rule: W20.
#[test]
fn the_answer_to_head_has_no_body() {
    let request = Request::head("/").body(()).unwrap();
    let answer = Offer::from_request(&request).unwrap_err().encode();
    assert!(answer.starts_with(b"HTTP/1.1 405 "), "{answer:?}");
    assert!(answer.ends_with(b"\r\n\r\n"), "{answer:?}");
}

/// Rules: W20, W40.
#[test]
fn any_version_but_http_1_1_is_505() {
    for version in ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.2"] {
        let line = format!("GET /chat {version}");
        refuses(&with(0, &[&line]), 505);
    }
}

/// Rules: W19, W40.
#[test]
fn a_target_with_a_space_is_400_and_no_version() {
    for line in
        ["GET /a b HTTP/1.1", "GET /a HTTP/1.1 HTTP/1.1", "GET / HTTX/1.1", "GET /  HTTP/1.1"]
    {
        refuses(&with(0, &[line]), 400);
    }
}

/// Rules: W19, W40, WS8.
#[test]
fn what_is_not_http_is_400() {
    for line in ["GET /chat", "GET", "\u{16}\u{3}\u{1}", "GET  /chat HTTP/1.1", "hello there"] {
        refuses(&with(0, &[line]), 400);
    }
    for line in
        ["No colon", ": no name", "Spa ce: x", "Space : x", " folded", "Nul: a\0b", "CR: a\rb"]
    {
        refuses(&plus(&[line]), 400);
    }
}

/// Rule: W19.
#[test]
fn a_line_that_ends_without_cr_is_400() {
    refuses(b"GET /chat HTTP/1.1\nHost: x\n\n", 400);
    refuses(b"GET /chat HTTP/1.1\r\nHost: x\n\r\n", 400);
    refuses(b"\n", 400);
}

/// Rule: W19.
#[test]
fn empty_lines_before_the_request_are_passed_over() {
    accepts(&[b"\r\n\r\n", &head(&VALID)[..]].concat());
}

/// Rules: W22, W40.
#[test]
fn there_must_be_one_host() {
    for host in ["Host: a", "host:a:8080", "Host: [::1]:80", "HOST:   127.0.0.1  "] {
        accepts(&with(1, &[host]));
    }
    refuses(&with(1, &[]), 400);
    for host in ["Host:", "Host: a, b", "Host: user@a", "Host: a/b", "Host: é", "Host: a b"] {
        refuses(&with(1, &[host]), 400);
    }
    refuses(&with(1, &["Host: a", "Host: a"]), 400);
}

/// Rules: W23, W40.
#[test]
fn without_upgrade_websocket_it_is_426_that_says_what_to_upgrade_to() {
    for upgrade in [
        &["Upgrade: WebSocket"][..],
        &["upgrade:WEBSOCKET"],
        &["Upgrade: h2c, websocket"],
        &["Upgrade: h2c", "Upgrade: , websocket ,"],
    ] {
        accepts(&with(2, upgrade));
    }
    for upgrade in [&[][..], &["Upgrade:"], &["Upgrade: h2c"], &["Upgrade: websockets"]] {
        let refusal = refuses(&with(2, upgrade), 426);
        assert_eq!(refusal.headers()["upgrade"], "websocket");
        assert_eq!(refusal.headers()["sec-websocket-version"], "13");
        assert_eq!(refusal.headers()["connection"], "Upgrade, close");
    }
}

/// Rules: W24, W40.
#[test]
fn connection_must_have_upgrade_in_any_case_on_any_line() {
    for connection in [
        &["Connection: keep-alive, Upgrade"][..],
        &["connection: UPGRADE"],
        &["Connection: keep-alive", "Connection: upgrade"],
        &["Connection: ,upgrade,,"],
    ] {
        accepts(&with(3, connection));
    }
    for connection in [&[][..], &["Connection: keep-alive"], &["Connection: Upgrades"]] {
        refuses(&with(3, connection), 400);
    }
}

/// Rules: W25, W40, W128.
#[test]
fn the_key_must_be_16_bytes_in_base64_and_there_once() {
    accepts(&with(4, &["Sec-WebSocket-Key:   AAAAAAAAAAAAAAAAAAAAAA==  "]));
    for key in [
        "",
        "AAAAAAAAAAAAAAAAAAAA",            // 15 bytes
        "AAAAAAAAAAAAAAAAAAAAAAA=",        // 17 bytes
        "AAAAAAAAAAAAAAAAAAAAAA",          // no padding
        "AAAAAAAAAAAAAAAAAAAAAA=",         // half of it
        "AAAAAAAAAAAAAAAAAAAAA!==",        // not base64
        "AAAAAAAAAAA AAAAAAAAAAA==",       // a space inside
        "____________________-A==",        // the other alphabet
        "dGhlIHNhbXBsZSBub25jZQ==, again", // a list
    ] {
        refuses(&with(4, &[&format!("Sec-WebSocket-Key: {key}")]), 400);
    }
    refuses(&with(4, &[]), 400);
    refuses(&with(4, &[VALID[4], VALID[4]]), 400);
}

/// Rules: W29, W44, W52, W132.
#[test]
fn a_version_other_than_13_is_answered_with_the_one_supported() {
    for version in ["0", "8", "12", "14", "013", "13, 8", "thirteen", ""] {
        let line = format!("Sec-WebSocket-Version: {version}");
        let refusal = refuses(&with(5, &[&line]), 426);
        assert_eq!(refusal.headers()["sec-websocket-version"], "13");
        assert_eq!(refusal.headers()["upgrade"], "websocket");
    }
    for lines in [&[][..], &[VALID[5], VALID[5]], &["Sec-WebSocket-Version: \u{e9}"]] {
        let refusal = refuses(&with(5, lines), 400);
        assert_eq!(refusal.headers()["sec-websocket-version"], "13");
    }
}

/// Rules: W31, W128.
#[test]
fn subprotocols_are_joined_from_all_lines_in_order() {
    let offer = accepts(&plus(&[
        "Sec-WebSocket-Protocol: a,b ,, c",
        "Sec-WebSocket-Extensions: x",
        "sec-websocket-protocol: v1.d.example",
    ]));
    assert_eq!(offer.subprotocols().collect::<Vec<_>>(), ["a", "b", "c", "v1.d.example"]);
    assert_eq!(accepts(&plus(&["Sec-WebSocket-Protocol:"])).subprotocols().count(), 0);
}

/// Rules: W31, W40.
#[test]
fn subprotocols_must_be_unique_tokens() {
    for bad in ["a b", "a, a", "a/b", "\"a\"", "é", "a, (b)", "a;b", "a\tb"] {
        refuses(&plus(&[&format!("Sec-WebSocket-Protocol: {bad}")]), 400);
    }
    refuses(&plus(&["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"]), 400);
    // Subprotocols are compared as they are, with their case.
    assert_eq!(accepts(&plus(&["Sec-WebSocket-Protocol: a, A"])).subprotocols().count(), 2);
}

/// Rules: W51, W115, W116.
#[test]
fn extensions_are_read_from_all_lines_or_refused() {
    let offer = accepts(&plus(&[
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; x=\"10\", y",
        "Sec-WebSocket-Extensions: z",
    ]));
    let extensions: Vec<_> = offer.extensions().iter().map(ToString::to_string).collect();
    assert_eq!(extensions, ["permessage-deflate; client_max_window_bits; x=10", "y", "z"]);
    for bad in ["a b", "a;", "a; b=", "a; b=\"c d\"", "a; b=\"c", "é", "a=b", "; a"] {
        refuses(&plus(&[&format!("Sec-WebSocket-Extensions: {bad}")]), 400);
    }
}

/// Rule: W40.
#[test]
fn a_request_with_a_body_is_400() {
    accepts(&plus(&["Content-Length: 0"]));
    for body in ["Content-Length: 5", "Content-Length: x", "Transfer-Encoding: chunked"] {
        refuses(&plus(&[body]), 400);
    }
    refuses(&plus(&["Content-Length: 0", "Content-Length: 0"]), 400);
}

/// Rule: W41.
#[test]
fn the_first_defect_decides_the_answer() {
    // All wrong: the version of HTTP comes first, then the method, then what is asked for.
    let http10 = head(&["POST * HTTP/1.0", "Sec-WebSocket-Version: 8"]);
    refuses(&http10, 505);
    refuses(&head(&["POST * HTTP/1.1", "Sec-WebSocket-Version: 8"]), 405);
    refuses(&head(&["GET / HTTP/1.1", "Host: a", "Sec-WebSocket-Version: 8"]), 426);
}

/// Pads the valid request with a header to `size` bytes in all.
fn padded(size: usize) -> Vec<u8> {
    let room = size - plus(&["Pad: "]).len();
    plus(&[&format!("Pad: {}", "x".repeat(room))])
}

/// Rules: N2, WS8.
#[test]
fn a_head_may_be_as_large_as_the_limit_one_byte_more_is_431() {
    assert_eq!(padded(16 << 10).len(), 16 << 10);
    accepts(&padded(16 << 10));
    refuses(&padded((16 << 10) + 1), 431);
    for (size, fits) in [(1000, true), (1001, false)] {
        let limits = HeadLimits::default().bytes(1000);
        assert_eq!(read(&padded(size), limits).is_ok(), fits);
    }
}

/// Rule: N2.
#[test]
fn a_head_that_does_not_end_is_refused_at_the_limit() {
    refuses(&[&head(&VALID)[..100], &[b'x'; 20_000]].concat(), 431);
    refuses(&[&head(&VALID)[..100], &b"X: y\r\n".repeat(5000)[..]].concat(), 431);
    refuses(&[&head(&VALID)[..100], &[b'x'; 20_000], b"\n"].concat(), 431);
    refuses(&[b'x'; 20_000], 414);
    refuses(&b"\r\n".repeat(10_000), 414);
}

/// Rule: N2.
#[test]
fn a_first_line_may_be_as_long_as_the_limit_one_byte_more_is_414() {
    let line = |size: usize| {
        let target = "x".repeat(size - "GET / HTTP/1.1\r\n".len());
        with(0, &[&format!("GET /{target} HTTP/1.1")])
    };
    accepts(&line(8 << 10));
    refuses(&line((8 << 10) + 1), 414);
}

/// Rule: N2.
#[test]
fn a_head_may_have_a_hundred_fields_one_more_is_431() {
    let fields = |count: usize| {
        let further = vec!["X: y"; count + 1 - VALID.len()];
        plus(&further)
    };
    accepts(&fields(100));
    refuses(&fields(101), 431);
}

/// Rule: N2.
#[test]
fn more_fields_than_any_map_can_hold_are_431_whatever_the_limits() {
    let limits = HeadLimits::default().bytes(10 << 20).line(1000).fields(1 << 20);
    let bytes = plus(&vec!["X: y"; 40_000]);
    let mut handshake = ServerHandshake::new(limits);
    let refusal = handshake.poll_request(&mut BytesMut::from(&bytes[..])).unwrap_err();
    assert_eq!(refusal.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

/// Rules: N2, N4.
#[test]
fn a_head_that_comes_byte_by_byte_is_searched_once() {
    // One line of 4 MiB: looked through again for each byte, it would take hours.
    let limits = HeadLimits::default().bytes(5 << 20).line(5 << 20).fields(100);
    let mut handshake = ServerHandshake::new(limits);
    let mut input = BytesMut::with_capacity(5 << 20);
    for _ in 0..4 << 20 {
        input.extend_from_slice(b"x");
        assert!(handshake.poll_request(&mut input).unwrap().is_none());
    }
}

#[test]
fn a_field_may_be_empty_and_stand_last() {
    for lines in [&["X-Empty:"][..], &["X-Empty: "], &["X-Empty:", "X-Last: a"]] {
        let request = read(&plus(lines), HeadLimits::default()).unwrap();
        assert_eq!(request.headers()["x-empty"], "");
    }
}

/// Rule: N12.
#[test]
fn frames_behind_the_request_stay_for_the_connection() {
    use crate::harness::{Cut, End, Role, text, wire};
    let bytes = [head(&VALID), wire(Role::Client, 0x81, b"early")].concat();
    let mut input = BytesMut::from(&bytes[..]);
    let request = ServerHandshake::default().poll_request(&mut input).unwrap().unwrap();
    Offer::from_request(&request).unwrap();
    let mut end = End::new(Role::Server, Default::default(), Cut::Whole);
    end.feed(&input);
    assert_eq!(end.events(), [text("early")]);
}
