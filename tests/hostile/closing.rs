//! The closing handshake, and close frames that break it (RFC 6455 §5.5.1, §7).

use sockeye_testing::frame::{CLOSE, TEXT, close_payload, masked};
use sockeye_tests::peer::Chunks;

use crate::{Scene, fails, rows};

rows! { fails:
    /// Rule: W80.
    a_body_of_1_byte => 1002, &masked(CLOSE, &[3]);
    /// Rule: W109.
    code_0 => 1002, &close(0);
    /// Rule: W109.
    code_999 => 1002, &close(999);
    /// Rule: W109.
    code_1004 => 1002, &close(1004);
    /// Rule: W109.
    code_1005 => 1002, &close(1005);
    /// Rule: W109.
    code_1006 => 1002, &close(1006);
    /// Rule: W109.
    code_1015 => 1002, &close(1015);
    /// Rule: W109.
    code_1016 => 1002, &close(1016);
    /// Rule: W109.
    code_2999 => 1002, &close(2999);
    /// Rule: W109.
    code_5000 => 1002, &close(5000);
    /// Rule: W109.
    code_65535 => 1002, &close(65_535);
    /// Rule: W87.
    a_reason_that_is_no_utf8 => 1007, &masked(CLOSE, &close_payload(1000, b"so\xFFlong"));
    /// Rule: W87.
    a_reason_cut_within_a_character => 1007, &masked(CLOSE, &close_payload(1000, b"\xE2\x82"));
}

rows! { closes:
    /// Rule: W83.
    code_1000 => 1000, "";
    /// Rule: W83.
    code_1001 => 1001, "on my way";
    /// Rule: W83.
    code_1002 => 1002, "";
    /// Rule: W83.
    code_1003 => 1003, "";
    /// Rule: W83.
    code_1007 => 1007, "";
    /// Rule: W83.
    code_1011 => 1011, "";
    /// Rule: W83.
    code_1012 => 1012, "";
    /// Rule: W83.
    code_1014 => 1014, "";
    /// Rule: W83.
    code_3000 => 3000, "";
    /// Rule: W83.
    code_4999_and_the_longest_reason => 4999, &"x".repeat(123);
    /// Rule: W83.
    a_reason_beyond_ascii => 1000, "tschüß 🐟";
}

/// A close frame with this code, as a client sends it.
fn close(code: u16) -> Vec<u8> {
    masked(CLOSE, &close_payload(code, b""))
}

/// The server answers with the same code, and ends the connection first (RFC 6455 §7.1.1).
fn closes(code: u16, reason: &str) {
    let mut scene = Scene::new();
    for pace in [Chunks::Whole, Chunks::ByteByByte] {
        let mut peer = scene.open();
        peer.send(&masked(CLOSE, &close_payload(code, reason.as_bytes())), pace);
        assert_eq!(peer.read().close_code(), Some(code), "{pace:?}");
        peer.assert_end();
        scene.assert_serves_others();
    }
}

/// Rule: W80.
#[test]
fn a_close_without_a_body_is_answered_by_another() {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    peer.send(&masked(CLOSE, b""), Chunks::Whole);
    let answer = peer.read();
    assert_eq!((answer.first, answer.payload.as_slice()), (CLOSE, &b""[..]));
    peer.assert_end();
    scene.assert_serves_others();
}

/// Rule: W82.
#[test]
fn what_follows_a_close_is_not_served() {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    let bytes =
        [masked(TEXT, b"before"), close(1000), masked(TEXT, b"after"), close(1001)].concat();
    peer.send(&bytes, Chunks::Whole);
    assert_eq!(peer.read().payload, b"before");
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.assert_end();
    scene.assert_serves_others();
}
