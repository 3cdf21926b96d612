//! Handshakes that a server must refuse (RFC 6455 §4.2), each with the HTTP answer it earns.

use sockeye_testing::handshake::{Head, KEY, request};
use sockeye_tests::peer::Chunks;

use crate::{Scene, rows};

/// How many headers a correct request has.
const HEADERS: usize = 5;

rows! { refuses:
    /// Rule: W19.
    a_request_line_of_two_words => 400, &with("GET / HTTP/1.1", "GET /");
    /// Rule: W19.
    a_line_without_a_colon => 400, &with_line("what is this");
    /// Rule: W19.
    a_space_before_the_colon => 400, &with_line("X-Note : spaced");
    /// Rule: W19.
    a_folded_line => 400, &with_line("X-Note: one\r\n two");
    /// Rule: W19.
    a_nul_in_a_value => 400, &with_line("X-Note: a\0b");
    /// Rule: W20.
    a_post => 405, &with("GET /", "POST /");
    /// Rule: W20.
    a_head => 405, &with("GET /", "HEAD /");
    /// Rule: W20.
    http_1_0 => 505, &with("HTTP/1.1", "HTTP/1.0");
    /// Rule: W21.
    a_fragment_in_the_target => 400, &with("GET /", "GET /#here");
    /// Rule: W22.
    no_host => 400, &with("Host: localhost\r\n", "");
    /// Rule: W22.
    two_hosts => 400, &with_line("Host: elsewhere");
    /// Rule: W23.
    no_upgrade => 426, &with("Upgrade: websocket\r\n", "");
    /// Rule: W23.
    another_upgrade => 426, &with("Upgrade: websocket", "Upgrade: h2c");
    /// Rule: W24.
    no_connection => 400, &with("Connection: Upgrade\r\n", "");
    /// Rule: W24.
    another_connection => 400, &with("Connection: Upgrade", "Connection: keep-alive");
    /// Rule: W25.
    no_key => 400, &with(&format!("Sec-WebSocket-Key: {KEY}\r\n"), "");
    /// Rule: W25.
    an_empty_key => 400, &with(KEY, "");
    /// Rule: W26.
    a_key_that_is_no_base64 => 400, &with(KEY, "!!!!!!!!!!!!!!!!!!!!!!==");
    /// Rule: W26.
    a_key_of_15_bytes => 400, &with(KEY, "AAAAAAAAAAAAAAAAAAAA");
    /// Rule: W26.
    a_key_of_17_bytes => 400, &with(KEY, "AAAAAAAAAAAAAAAAAAAAAAA=");
    /// Rule: W26.
    a_key_without_padding => 400, &with(KEY, "dGhlIHNhbXBsZSBub25jZQ");
    /// Rule: W29.
    no_version => 400, &with("Sec-WebSocket-Version: 13\r\n", "");
    /// Rule: W31.
    a_subprotocol_of_two_words => 400, &with_line("Sec-WebSocket-Protocol: a b");
    /// Rule: W31.
    a_subprotocol_twice => 400, &with_line("Sec-WebSocket-Protocol: a, b, a");
    /// Rule: W44.
    version_8 => 426, &with("Version: 13", "Version: 8");
    /// Rule: W44.
    version_14 => 426, &with("Version: 13", "Version: 14");
    /// Rule: W115.
    a_malformed_extension => 400, &with_line("Sec-WebSocket-Extensions: a;;=b");
    /// Rule: W115.
    an_unclosed_quote => 400, &with_line("Sec-WebSocket-Extensions: a;b=\"c");
    /// Rule: W128.
    two_keys => 400, &with_line("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==");
    /// Rule: W132.
    two_versions => 400, &with_line("Sec-WebSocket-Version: 13");
    n_an_upgrade_with_a_body => 400, &(with_line("Content-Length: 5") + "hello");
    n_an_upgrade_with_chunks => 400, &with_line("Transfer-Encoding: chunked");
    /// Rule: N2.
    a_target_of_9_kib => 414, &with("GET /", &format!("GET /{}", "a".repeat(9 << 10)));
    /// Rule: N2.
    a_header_of_17_kib => 431, &with_line(&format!("X-Note: {}", "a".repeat(17 << 10)));
    /// Rule: N2.
    a_head_of_101_headers => 431, &with_line("X-Note: a\r\n".repeat(101 - HEADERS).trim_end());
    /// Rule: N2.
    headers_without_end => 431, &("GET / HTTP/1.1\r\n".to_owned() + &"A: b\r\n".repeat(9_000));
}

/// Sends the request, whole and byte by byte, and with another one behind it: the server answers
/// once, with this status, and ends the connection. The author of what follows a refused upgrade,
/// perhaps through a proxy, did not write it to this server.
fn refuses(status: u16, refused: &str) {
    let mut scene = Scene::new();
    let with_another = format!("{refused}{}", request("/"));
    for (bytes, pace) in [
        (refused, Chunks::Whole),
        (refused, Chunks::ByteByByte),
        (with_another.as_str(), Chunks::Whole),
    ] {
        let mut peer = scene.connect();
        peer.send(bytes.as_bytes(), pace);
        assert_refusal(&peer.read_head(), status);
        let body = String::from_utf8(peer.read_to_end()).expect("a text");
        assert!(!body.contains("HTTP/1.1"), "what followed was answered: {body}");
        scene.assert_serves_others();
    }
}

/// The status, and the headers that go with it.
fn assert_refusal(head: &Head, status: u16) {
    assert_eq!(head.status(), status, "{head:?}");
    let connection = head.header("connection").unwrap_or_default().to_ascii_lowercase();
    assert!(connection.contains("close"), "{head:?}");
    let allow = (status == 405).then_some("GET");
    assert_eq!(head.header("allow"), allow, "RFC 9110 §15.5.6");
    let upgrade = (status == 426).then_some("websocket");
    assert_eq!(head.header("upgrade"), upgrade, "RFC 9110 §15.5.22");
    if status == 426 {
        assert_eq!(head.header("sec-websocket-version"), Some("13"), "RFC 6455 §4.4");
    }
}

/// A correct request with one thing replaced.
fn with(good: &str, bad: &str) -> String {
    let request = request("/");
    assert!(request.contains(good), "{request} has no {good}");
    request.replacen(good, bad, 1)
}

/// A correct request with one more line.
fn with_line(line: &str) -> String {
    with("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"))
}
