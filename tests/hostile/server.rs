//! Servers that answer `sockeye connect` wrongly: it tells them where it can, and gives up with
//! one line that says why.

use std::net::TcpListener;

use sockeye_testing::frame::{BINARY, CLOSE, CONTINUATION, PING, TEXT, close_payload};
use sockeye_testing::frame::{masked, unmasked};
use sockeye_testing::handshake::{accept_for, response};
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Running, assert_fails};

use crate::rows;

rows! { gives_up_on_answer:
    /// Rule: W33.
    status_200 => "101 Switching Protocols", "200 OK";
    /// Rule: W33.
    status_404 => "101 Switching Protocols", "404 Not Found";
    /// Rule: W33.
    not_http => "HTTP/1.1 101 Switching Protocols", "SSH-2.0-OpenSSH_9.9";
    /// Rule: W34.
    no_upgrade => "Upgrade: websocket\r\n", "";
    /// Rule: W34.
    another_upgrade => "Upgrade: websocket", "Upgrade: h2c";
    /// Rule: W35.
    no_connection => "Connection: Upgrade\r\n", "";
    /// Rule: W35.
    another_connection => "Connection: Upgrade", "Connection: close";
    /// Rule: W36.
    another_accept => "Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x";
    /// Rule: W36.
    no_accept => "Sec-WebSocket-Accept", "X-Accept";
    /// Rule: W37.
    an_extension_not_offered => "\r\n\r\n", "\r\nSec-WebSocket-Extensions: x-not-offered\r\n\r\n";
    /// Rule: W38.
    a_subprotocol_not_offered => "\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    /// Rule: W130.
    two_accepts => "\r\n\r\n", "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    /// Rule: N2.
    a_header_of_17_kib => "\r\n\r\n", &format!("\r\nX-Note: {}\r\n\r\n", "a".repeat(17 << 10));
    /// Rule: N2.
    a_head_of_101_headers => "\r\n\r\n", &format!("\r\n{}\r\n", "X-Note: a\r\n".repeat(98));
}

rows! { fails_connection:
    /// Rule: W56.
    a_masked_text => 1002, &masked(TEXT, b"hi");
    /// Rule: W56.
    a_masked_close => 1002, &masked(CLOSE, b"");
    /// Rule: W57.
    a_reserved_bit => 1002, &unmasked(TEXT | 0x40, b"hi");
    /// Rule: W59.
    an_unknown_opcode => 1002, &unmasked(0x83, b"hi");
    /// Rule: W61.
    a_length_in_a_longer_form => 1002, &[BINARY, 126, 0, 1, b'x'];
    /// Rule: W69.
    a_ping_of_126_bytes => 1002, &unmasked(PING, &[0; 126]);
    /// Rule: W71.
    a_continuation_of_nothing => 1002, &unmasked(CONTINUATION, b"hi");
    /// Rule: W80.
    a_close_of_1_byte => 1002, &unmasked(CLOSE, &[3]);
    /// Rule: W87.
    text_that_is_no_utf8 => 1007, &unmasked(TEXT, b"\xFF");
    /// Rule: W109.
    code_1005 => 1002, &unmasked(CLOSE, &close_payload(1005, b""));
    /// Rule: W121.
    an_announced_length_of_2_to_the_62 => 1009, &[&[TEXT, 127][..], &(1_u64 << 62).to_be_bytes()].concat();
}

/// Makes the change to a correct answer: the program ends with a failure and says why in a line.
fn gives_up_on_answer(right: &str, wrong: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = Running::start(&["connect", &url(&listener)]);
    let mut peer = Peer::accept(&listener);
    let key = peer.read_head().header("sec-websocket-key").expect("a key").to_owned();
    let answer = response(&accept_for(&key)).replacen(right, wrong, 1);
    assert!(answer.contains(wrong), "the change was made");
    peer.send(answer.as_bytes(), Chunks::Whole);
    peer.assert_end();
    assert_fails(&client.finish(), 1);
}

/// Sends the frame: the program answers with a close frame of this code and ends with a failure.
fn fails_connection(code: u16, frame: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = Running::start(&["connect", &url(&listener)]);
    let mut peer = Peer::accept_open(&listener);
    peer.send(frame, Chunks::Whole);
    let close = peer.read();
    assert_eq!(close.close_code(), Some(code), "{close:?}");
    assert!(close.mask.is_some(), "W53: a client always masks");
    drop(peer);
    assert_fails(&client.finish(), 1);
}

fn url(listener: &TcpListener) -> String {
    format!("ws://{}/", listener.local_addr().expect("an address"))
}
