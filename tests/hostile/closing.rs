//! The closing handshake, and close frames that break it (RFC 6455 §5.5.1, §7).

use sockeye_tests::frame::{CLOSE, TEXT, close_payload, masked};
use sockeye_tests::peer::Pace;

use crate::{Scene, fails, rows};

rows! { fails:
    w080_a_body_of_1_byte => 1002, &masked(CLOSE, &[3]);
    w109_code_0 => 1002, &close(0);
    w109_code_999 => 1002, &close(999);
    w109_code_1004 => 1002, &close(1004);
    w109_code_1005 => 1002, &close(1005);
    w109_code_1006 => 1002, &close(1006);
    w109_code_1015 => 1002, &close(1015);
    w109_code_1016 => 1002, &close(1016);
    w109_code_2999 => 1002, &close(2999);
    w109_code_5000 => 1002, &close(5000);
    w109_code_65535 => 1002, &close(65_535);
    w087_a_reason_that_is_no_utf8 => 1007, &masked(CLOSE, &close_payload(1000, b"so\xFFlong"));
    w087_a_reason_cut_within_a_character => 1007, &masked(CLOSE, &close_payload(1000, b"\xE2\x82"));
}

rows! { closes:
    w083_code_1000 => 1000, "";
    w083_code_1001 => 1001, "on my way";
    w083_code_1002 => 1002, "";
    w083_code_1003 => 1003, "";
    w083_code_1007 => 1007, "";
    w083_code_1011 => 1011, "";
    w083_code_1012 => 1012, "";
    w083_code_1014 => 1014, "";
    w083_code_3000 => 3000, "";
    w083_code_4999_and_the_longest_reason => 4999, &"x".repeat(123);
    w083_a_reason_beyond_ascii => 1000, "tschüß 🐟";
}

/// A close frame with this code, as a client sends it.
fn close(code: u16) -> Vec<u8> {
    masked(CLOSE, &close_payload(code, b""))
}

/// The server answers with the same code, and ends the connection first (RFC 6455 §7.1.1).
fn closes(code: u16, reason: &str) {
    let mut scene = Scene::new();
    for pace in [Pace::Whole, Pace::ByteByByte] {
        let mut peer = scene.open();
        peer.send(&masked(CLOSE, &close_payload(code, reason.as_bytes())), pace);
        assert_eq!(peer.read().close_code(), Some(code), "{pace:?}");
        peer.assert_end();
        scene.assert_serves_others();
    }
}

#[test]
fn w080_a_close_without_a_body_is_answered_by_another() {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    peer.send(&masked(CLOSE, b""), Pace::Whole);
    let answer = peer.read();
    assert_eq!((answer.first, answer.payload.as_slice()), (CLOSE, &b""[..]));
    peer.assert_end();
    scene.assert_serves_others();
}

#[test]
fn w082_what_follows_a_close_is_not_served() {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    let bytes =
        [masked(TEXT, b"before"), close(1000), masked(TEXT, b"after"), close(1001)].concat();
    peer.send(&bytes, Pace::Whole);
    assert_eq!(peer.read().payload, b"before");
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.assert_end();
    scene.assert_serves_others();
}
