//! Text is UTF-8, and what is not is noticed at its first wrong byte (RFC 6455 §5.6, §8.1).

use sockeye_proto::Violation;

use crate::harness::{binary, both_every_cut, text, wire, wire_header};

/// Characters of one to four bytes, and the first and last of each length.
const SAMPLE: &str =
    "κόσμε \u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}";

/// What no text may have, and how many of its bytes could still have belonged to some text.
const INVALID: [(&[u8], usize); 14] = [
    (b"\x80", 0),
    (b"\xbf", 0),
    (b"\xc0\xaf", 0),
    (b"\xc1\xbf", 0),
    (b"\xc3\x28", 1),
    (b"\xe0\x80\xaf", 1),
    (b"\xe2\x82\x28", 2),
    (b"\xed\xa0\x80", 1),
    (b"\xed\xbf\xbf", 1),
    (b"\xf0\x80\x80\xaf", 1),
    (b"\xf0\x9f\x92\x28", 3),
    (b"\xf4\x90\x80\x80", 1),
    (b"\xf5\x80\x80\x80", 0),
    (b"\xff", 0),
];

/// Rule: W87.
#[test]
fn valid_text_is_received_wherever_frames_and_reads_cut_its_characters() {
    for cut in 0..=SAMPLE.len() {
        both_every_cut(|end| {
            let (first, second) = SAMPLE.as_bytes().split_at(cut);
            end.feed_frame(0x01, first);
            end.feed_frame(0x89, b"");
            end.feed_frame(0x80, second);
            end.feed_frame(0x81, SAMPLE.as_bytes());
            let events = end.events();
            assert_eq!(events[1..], [text(SAMPLE), text(SAMPLE)]);
        });
    }
}

/// Rules: W87, W112.
#[test]
fn invalid_text_fails_at_its_first_wrong_byte_inside_a_frame_still_arriving() {
    for (bytes, good) in INVALID {
        both_every_cut(|end| {
            let peer = end.role.peer();
            let payload = [b"good \xe2\x98\x83 ", bytes, &[b'x'; 1000]].concat();
            let frame = wire(peer, 0x81, &payload);
            let header = wire_header(peer, 0x81, payload.len() as u64).len();
            let wrong = header + 9 + good;
            end.feed(&frame[..wrong]);
            assert_eq!(end.events(), []);
            end.feed(&frame[wrong..=wrong]);
            end.expect_failure(Violation::InvalidUtf8, 1007);
        });
    }
}

/// Rule: W87.
#[test]
fn invalid_text_is_noticed_in_every_fragment() {
    for (bytes, _) in INVALID {
        for fragment in 0..3 {
            both_every_cut(|end| {
                for i in 0..=fragment {
                    let payload = if i == fragment { bytes } else { "é".as_bytes() };
                    end.feed_frame([0x01, 0x00, 0x80][i], payload);
                    end.feed_frame(0x8a, b"");
                }
                assert_eq!(end.closed().failure, Some(Violation::InvalidUtf8.into()));
                assert_eq!(end.frames()[0].1[..2], 1007u16.to_be_bytes());
            });
        }
    }
}

/// Rule: W87.
#[test]
fn a_character_may_not_go_wrong_across_a_fragment() {
    both_every_cut(|end| {
        end.feed_frame(0x01, b"\xf0\x9f");
        assert_eq!(end.events(), []);
        end.feed_frame(0x80, b"\x9f");
        end.expect_failure(Violation::InvalidUtf8, 1007);
    });
}

/// Rule: W87.
#[test]
fn text_may_not_end_inside_a_character() {
    for tail in [&b"\xc3"[..], b"\xe2\x98", b"\xf0\x9f\x90"] {
        both_every_cut(|end| {
            end.feed_frame(0x81, &[b"text ", tail].concat());
            end.expect_failure(Violation::InvalidUtf8, 1007);
        });
        both_every_cut(|end| {
            end.feed_frame(0x01, tail);
            end.feed_frame(0x80, b"");
            end.expect_failure(Violation::InvalidUtf8, 1007);
        });
    }
}

/// Rule: W87.
#[test]
fn what_one_text_leaves_open_is_not_the_next_ones_beginning() {
    both_every_cut(|end| {
        end.feed_frame(0x81, "é".as_bytes());
        end.feed_frame(0x81, b"");
        end.feed_frame(0x81, "ü".as_bytes());
        assert_eq!(end.events(), [text("é"), text(""), text("ü")]);
    });
}

/// Rule: W87.
#[test]
fn binary_messages_may_have_any_bytes() {
    both_every_cut(|end| {
        for (bytes, _) in INVALID {
            end.feed_frame(0x82, bytes);
            assert_eq!(end.events(), [binary(bytes)]);
            end.feed_frame(0x02, bytes);
            end.feed_frame(0x80, bytes);
            assert_eq!(end.events(), [binary(&bytes.repeat(2))]);
        }
    });
}
