//! Frames: broken ones fail the connection with 1002, unusual ones do not (RFC 6455 §5).

use sockeye_tests::frame::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, header, header_with, masked, unmasked,
};
use sockeye_tests::peer::Pace;

use crate::{Scene, answers, assert_close, fails, rows};

rows! { fails:
    w054_an_unmasked_text => 1002, &unmasked(TEXT, b"hi");
    w054_an_unmasked_ping => 1002, &unmasked(PING, b"");
    w054_an_unmasked_close => 1002, &unmasked(CLOSE, b"");
    w057_reserved_bit_1 => 1002, &masked(TEXT | 0x40, b"hi");
    w057_reserved_bit_2 => 1002, &masked(BINARY | 0x20, b"hi");
    w057_reserved_bit_3 => 1002, &masked(TEXT | 0x10, b"hi");
    w057_a_reserved_bit_of_a_ping => 1002, &masked(PING | 0x40, b"");
    w057_a_reserved_bit_of_a_continuation => 1002, &two(TEXT & !FIN, CONTINUATION | 0x40);
    w059_opcode_3 => 1002, &masked(0x83, b"");
    w059_opcode_4 => 1002, &masked(0x84, b"hi");
    w059_opcode_5 => 1002, &masked(0x85, b"hi");
    w059_opcode_6 => 1002, &masked(0x86, b"hi");
    w059_opcode_7 => 1002, &masked(0x87, b"hi");
    w059_opcode_b => 1002, &masked(0x8B, b"");
    w059_opcode_c => 1002, &masked(0x8C, b"hi");
    w059_opcode_d => 1002, &masked(0x8D, b"hi");
    w059_opcode_e => 1002, &masked(0x8E, b"hi");
    w059_opcode_f => 1002, &masked(0x8F, b"hi");
    w060_a_length_of_2_to_the_63 => 1002, &header(BINARY, 1 << 63);
    w060_a_length_of_2_to_the_64_less_1 => 1002, &header(BINARY, u64::MAX);
    w061_125_bytes_in_the_16_bit_form => 1002, &header_with(BINARY, 126, &125_u16.to_be_bytes());
    w061_0_bytes_in_the_64_bit_form => 1002, &header_with(BINARY, 127, &0_u64.to_be_bytes());
    w061_65535_bytes_in_the_64_bit_form => 1002, &header_with(TEXT, 127, &65_535_u64.to_be_bytes());
    w069_a_ping_in_fragments => 1002, &masked(PING & !FIN, b"hi");
    w069_a_close_in_fragments => 1002, &masked(CLOSE & !FIN, b"");
    w069_a_ping_of_126_bytes => 1002, &header(PING, 126);
    w069_a_pong_of_64_kib => 1002, &header(PONG, 65_536);
    w069_a_close_of_126_bytes => 1002, &header(CLOSE, 126);
    w071_a_continuation_of_nothing => 1002, &masked(CONTINUATION, b"hi");
    w071_a_first_fragment_of_nothing => 1002, &masked(CONTINUATION & !FIN, b"hi");
    w071_a_text_within_a_text => 1002, &two(TEXT & !FIN, TEXT);
    w071_a_binary_within_a_text => 1002, &two(TEXT & !FIN, BINARY);
    w071_a_text_within_a_binary => 1002, &two(BINARY & !FIN, TEXT & !FIN);
}

rows! { answers:
    w065_an_empty_text => TEXT, b"", &masked(TEXT, b"");
    w065_an_empty_binary => BINARY, b"", &masked(BINARY, b"");
    w070_a_text_in_two_fragments => TEXT, b"aa", &two(TEXT & !FIN, CONTINUATION);
    w070_a_binary_in_two_fragments => BINARY, b"aa", &two(BINARY & !FIN, CONTINUATION);
    w070_empty_fragments => TEXT, b"", &[
        masked(TEXT & !FIN, b""), masked(CONTINUATION & !FIN, b""), masked(CONTINUATION, b""),
    ].concat();
    w072_a_pong_within_a_message => TEXT, b"aa", &[
        masked(TEXT & !FIN, b"a"), masked(PONG, b"?"), masked(CONTINUATION, b"a"),
    ].concat();
    w086_an_empty_ping => PONG, b"", &masked(PING, b"");
    w086_a_ping_of_125_bytes => PONG, &[7; 125], &masked(PING, &[7; 125]);
    w086_a_pong_nobody_asked_for => TEXT, b"a", &[masked(PONG, b"?"), masked(TEXT, b"a")].concat();
}

/// Two frames, each with the payload `a`.
fn two(first: u8, second: u8) -> Vec<u8> {
    [masked(first, b"a"), masked(second, b"a")].concat()
}

#[test]
fn w072_a_ping_within_a_message_is_answered_before_the_message() {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    peer.send(&[masked(TEXT & !FIN, b"a"), masked(PING, b"now")].concat(), Pace::Whole);
    let pong = peer.read();
    assert_eq!((pong.first, pong.payload.as_slice()), (PONG, &b"now"[..]));
    peer.send(&masked(CONTINUATION, b"b"), Pace::Whole);
    assert_eq!(peer.read().payload, b"ab");
    scene.assert_serves_others();
}

#[test]
fn w105_nothing_is_served_after_the_connection_failed() {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    let bytes = [masked(TEXT, b"before"), masked(0x83, b""), masked(TEXT, b"after")].concat();
    peer.send(&bytes, Pace::Whole);
    assert_eq!(peer.read().payload, b"before");
    assert_close(&peer.read(), 1002);
    peer.assert_end();
    scene.assert_serves_others();
}

#[test]
fn w107_a_connection_that_ends_within_a_frame_leaves_nothing_behind() {
    let mut scene = Scene::new();
    let frame = masked(BINARY, &[0; 200]);
    for end in [1, 3, 7, 100] {
        scene.open().send(&frame[..end], Pace::Whole);
    }
    scene.assert_serves_others();
}
