//! Frames: broken ones fail the connection with 1002, unusual ones do not (RFC 6455 §5).

use sockeye_testing::frame::{
    BINARY, CLOSE, CONTINUATION, FIN, Form, Frame, PING, PONG, TEXT, header, masked, unmasked,
};
use sockeye_tests::peer::Chunks;

use crate::{Scene, answers, assert_close, fails, rows};

rows! { fails:
    /// Rule: W54.
    an_unmasked_text => 1002, &unmasked(TEXT, b"hi");
    /// Rule: W54.
    an_unmasked_ping => 1002, &unmasked(PING, b"");
    /// Rule: W54.
    an_unmasked_close => 1002, &unmasked(CLOSE, b"");
    /// Rule: W57.
    reserved_bit_1 => 1002, &masked(TEXT | 0x40, b"hi");
    /// Rule: W57.
    reserved_bit_2 => 1002, &masked(BINARY | 0x20, b"hi");
    /// Rule: W57.
    reserved_bit_3 => 1002, &masked(TEXT | 0x10, b"hi");
    /// Rule: W57.
    a_reserved_bit_of_a_ping => 1002, &masked(PING | 0x40, b"");
    /// Rule: W57.
    a_reserved_bit_of_a_continuation => 1002, &two(TEXT & !FIN, CONTINUATION | 0x40);
    /// Rule: W59.
    opcode_3 => 1002, &masked(0x83, b"");
    /// Rule: W59.
    opcode_4 => 1002, &masked(0x84, b"hi");
    /// Rule: W59.
    opcode_5 => 1002, &masked(0x85, b"hi");
    /// Rule: W59.
    opcode_6 => 1002, &masked(0x86, b"hi");
    /// Rule: W59.
    opcode_7 => 1002, &masked(0x87, b"hi");
    /// Rule: W59.
    opcode_b => 1002, &masked(0x8B, b"");
    /// Rule: W59.
    opcode_c => 1002, &masked(0x8C, b"hi");
    /// Rule: W59.
    opcode_d => 1002, &masked(0x8D, b"hi");
    /// Rule: W59.
    opcode_e => 1002, &masked(0x8E, b"hi");
    /// Rule: W59.
    opcode_f => 1002, &masked(0x8F, b"hi");
    /// Rule: W60.
    a_length_of_2_to_the_63 => 1002, &header(BINARY, 1 << 63);
    /// Rule: W60.
    a_length_of_2_to_the_64_less_1 => 1002, &header(BINARY, u64::MAX);
    /// Rule: W61.
    a_length_of_125_in_the_16_bit_form => 1002, &length_in(Form::Bits16, 125);
    /// Rule: W61.
    a_length_of_0_in_the_64_bit_form => 1002, &length_in(Form::Bits64, 0);
    /// Rule: W61.
    a_length_of_65535_in_the_64_bit_form => 1002, &length_in(Form::Bits64, 65_535);
    /// Rule: W69.
    a_ping_in_fragments => 1002, &masked(PING & !FIN, b"hi");
    /// Rule: W69.
    a_close_in_fragments => 1002, &masked(CLOSE & !FIN, b"");
    /// Rule: W69.
    a_ping_of_126_bytes => 1002, &header(PING, 126);
    /// Rule: W69.
    a_pong_of_64_kib => 1002, &header(PONG, 65_536);
    /// Rule: W69.
    a_close_of_126_bytes => 1002, &header(CLOSE, 126);
    /// Rule: W71.
    a_continuation_of_nothing => 1002, &masked(CONTINUATION, b"hi");
    /// Rule: W71.
    a_first_fragment_of_nothing => 1002, &masked(CONTINUATION & !FIN, b"hi");
    /// Rule: W71.
    a_text_within_a_text => 1002, &two(TEXT & !FIN, TEXT);
    /// Rule: W71.
    a_binary_within_a_text => 1002, &two(TEXT & !FIN, BINARY);
    /// Rule: W71.
    a_text_within_a_binary => 1002, &two(BINARY & !FIN, TEXT & !FIN);
}

rows! { answers:
    /// Rule: W65.
    an_empty_text => TEXT, b"", &masked(TEXT, b"");
    /// Rule: W65.
    an_empty_binary => BINARY, b"", &masked(BINARY, b"");
    /// Rule: W70.
    a_text_in_two_fragments => TEXT, b"aa", &two(TEXT & !FIN, CONTINUATION);
    /// Rule: W70.
    a_binary_in_two_fragments => BINARY, b"aa", &two(BINARY & !FIN, CONTINUATION);
    /// Rule: W70.
    empty_fragments => TEXT, b"", &[
        masked(TEXT & !FIN, b""), masked(CONTINUATION & !FIN, b""), masked(CONTINUATION, b""),
    ].concat();
    /// Rule: W72.
    a_pong_within_a_message => TEXT, b"aa", &[
        masked(TEXT & !FIN, b"a"), masked(PONG, b"?"), masked(CONTINUATION, b"a"),
    ].concat();
    /// Rule: W86.
    an_empty_ping => PONG, b"", &masked(PING, b"");
    /// Rule: W86.
    a_ping_of_125_bytes => PONG, &[7; 125], &masked(PING, &[7; 125]);
    /// Rule: W86.
    an_unsolicited_pong => TEXT, b"a", &[masked(PONG, b"?"), masked(TEXT, b"a")].concat();
}

/// A header with a length in this form.
fn length_in(form: Form, length: u64) -> Vec<u8> {
    Frame::masked(BINARY, []).announce(length).form(form).header()
}

/// Two frames, each with the payload `a`.
fn two(first: u8, second: u8) -> Vec<u8> {
    [masked(first, b"a"), masked(second, b"a")].concat()
}

/// Rule: W72.
#[test]
fn a_ping_within_a_message_is_answered_before_the_message() {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    peer.send(&[masked(TEXT & !FIN, b"a"), masked(PING, b"now")].concat(), Chunks::Whole);
    let pong = peer.read();
    assert_eq!((pong.first, pong.payload.as_slice()), (PONG, &b"now"[..]));
    peer.send(&masked(CONTINUATION, b"b"), Chunks::Whole);
    assert_eq!(peer.read().payload, b"ab");
    scene.assert_serves_others();
}

/// Rule: W105.
#[test]
fn nothing_is_served_after_the_connection_failed() {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    let bytes = [masked(TEXT, b"before"), masked(0x83, b""), masked(TEXT, b"after")].concat();
    peer.send(&bytes, Chunks::Whole);
    assert_eq!(peer.read().payload, b"before");
    assert_close(&peer.read(), 1002);
    peer.assert_end();
    scene.assert_serves_others();
}

/// Rule: W107.
#[test]
fn a_connection_that_ends_within_a_frame_leaves_nothing_behind() {
    let mut scene = Scene::new();
    let frame = masked(BINARY, &[0; 200]);
    for end in [1, 3, 7, 100] {
        scene.open().send(&frame[..end], Chunks::Whole);
    }
    scene.assert_serves_others();
}
