//! Handshakes that are unusual and right: the server must accept them (RFC 6455 §4.2).

use sockeye_testing::frame::{TEXT, masked};
use sockeye_testing::handshake::{ACCEPT, Head, KEY, request};
use sockeye_tests::peer::Chunks;

use crate::{Scene, rows};

rows! { accepts:
    /// Rule: W21.
    an_absolute_target => "GET / ", "GET http://localhost/ ";
    /// Rule: W21.
    a_target_with_a_query => "GET / ", "GET /a%20b?c=d&e ";
    /// Rule: W22.
    a_host_with_a_port => "Host: localhost", "Host: localhost:9001";
    /// Rule: W23.
    upgrade_in_other_case => "Upgrade: websocket", "uPgRaDe:WebSocket";
    /// Rule: W23.
    websocket_among_others => "Upgrade: websocket", "Upgrade: h2c, websocket";
    /// Rule: W24.
    upgrade_among_others => "Connection: Upgrade", "Connection: keep-alive, UPGRADE";
    /// Rule: W24.
    connection_in_two_lines =>
        "Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade";
    /// Rule: W25.
    spaces_round_the_key => KEY, &format!(" \t{KEY} \t");
    /// Rule: W30.
    a_name_in_other_case => "Sec-WebSocket-Version: 13", "SEC-WEBSOCKET-VERSION:13";
    /// Rule: W47.
    a_subprotocol_not_known => "\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat, x.v2\r\n\r\n";
    /// Rule: W47.
    subprotocols_in_two_lines =>
        "\r\n\r\n", "\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n";
    /// Rule: W49.
    an_extension_not_known =>
        "\r\n\r\n", "\r\nSec-WebSocket-Extensions: x; y=\"z\", w\r\n\r\n";
    /// Rule: W19.
    bytes_beyond_ascii_in_a_value => "\r\n\r\n", "\r\nX-Note: Zürich\r\n\r\n";
    /// Rule: N2.
    a_head_of_100_headers => "\r\n\r\n", &format!("\r\n{}\r\n", "X-Note: a\r\n".repeat(95));
}

/// Makes the change to a correct request, sends it whole and byte by byte, and is let in.
fn accepts(usual: &str, unusual: &str) {
    let request = request("/").replacen(usual, unusual, 1);
    assert!(request.contains(unusual), "the change was made");
    let mut scene = Scene::new();
    for pace in [Chunks::Whole, Chunks::ByteByByte] {
        let mut peer = scene.connect();
        peer.send(request.as_bytes(), pace);
        assert_acceptance(&peer.read_head());
        peer.echo("let in");
        scene.assert_serves_others();
    }
}

/// Exactly what RFC 6455 §4.2.2 wants, and neither a subprotocol nor an extension.
fn assert_acceptance(head: &Head) {
    assert_eq!(head.status(), 101, "{head:?}");
    assert_eq!(head.header("upgrade"), Some("websocket"), "W50");
    let connection = head.header("connection").map(str::to_ascii_lowercase);
    assert_eq!(connection.as_deref(), Some("upgrade"), "W50");
    assert_eq!(head.header("sec-websocket-accept"), Some(ACCEPT), "W50");
    assert_eq!(head.header("sec-websocket-protocol"), None, "W47");
    assert_eq!(head.header("sec-websocket-extensions"), None, "W49");
}

/// A client that sends its first messages with the request has not waited as it should; what it
/// sent belongs to the WebSocket all the same.
///
/// Rule: N12.
#[test]
fn frames_in_one_segment_with_the_request_are_served() {
    let mut scene = Scene::new();
    let mut peer = scene.connect();
    let bytes = [request("/").into_bytes(), masked(TEXT, b"early"), masked(TEXT, b"too")].concat();
    peer.send(&bytes, Chunks::Whole);
    assert_acceptance(&peer.read_head());
    assert_eq!(peer.read().payload, b"early");
    assert_eq!(peer.read().payload, b"too");
    scene.assert_serves_others();
}

/// Rule: N4.
#[test]
fn a_connection_that_ends_within_the_request_leaves_nothing_behind() {
    let mut scene = Scene::new();
    let request = request("/");
    for end in [1, 20, request.len() - 1] {
        let mut peer = scene.connect();
        peer.send(&request.as_bytes()[..end], Chunks::Whole);
        drop(peer);
    }
    scene.assert_serves_others();
}
