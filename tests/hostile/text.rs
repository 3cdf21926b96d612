//! Text that is not UTF-8 fails the connection with 1007 at its first bad byte (RFC 6455 §8.1).

use sockeye_testing::frame::{CONTINUATION, FIN, PING, PONG, TEXT, header, mask, masked};

use crate::{answers, fails, rows};

rows! { fails:
    /// Rule: W87.
    a_byte_that_never_occurs => 1007, &masked(TEXT, b"a\xFFb");
    /// Rule: W87.
    a_stray_continuation_byte => 1007, &masked(TEXT, b"\x80");
    /// Rule: W87.
    an_overlong_slash => 1007, &masked(TEXT, b"\xC0\xAF");
    /// Rule: W87.
    an_overlong_nul => 1007, &masked(TEXT, b"\xE0\x80\x80");
    /// Rule: W87.
    a_surrogate => 1007, &masked(TEXT, b"\xED\xA0\x80");
    /// Rule: W87.
    beyond_the_last_character => 1007, &masked(TEXT, b"\xF4\x90\x80\x80");
    /// Rule: W87.
    a_character_cut_at_the_end => 1007, &masked(TEXT, b"Z\xC3");
    /// Rule: W87.
    a_character_cut_at_the_end_of_the_last_fragment => 1007, &fragments(b"a", b"\xF0\x9F\x90");
    /// Rule: W87.
    a_character_broken_between_fragments => 1007, &fragments(b"\xC3", b"x");
    /// Rule: W87.
    a_bad_byte_in_a_first_fragment => 1007, &masked(TEXT & !FIN, b"\xFF");
    /// Rules: W87, W112.
    a_bad_byte_in_a_frame_still_arriving => 1007, &partial(b"abc\xFF");
    /// Rules: W87, W112.
    a_bad_second_byte_in_a_frame_still_arriving => 1007, &partial(b"abc\xF4\x90");
    /// Rules: W87, W112.
    a_bad_byte_in_a_fragment_still_arriving => 1007, &[
        masked(TEXT & !FIN, b"\xE2\x82"), header(CONTINUATION, 1000), mask(b"\xACok\xFE"),
    ].concat();
}

rows! { answers:
    /// Rule: W87.
    characters_of_every_length =>
        TEXT, "aé€🐟".as_bytes(), &masked(TEXT, "aé€🐟".as_bytes());
    /// Rule: W87.
    the_last_character => TEXT, b"\xF4\x8F\xBF\xBF", &masked(TEXT, b"\xF4\x8F\xBF\xBF");
    /// Rule: W87.
    a_nul => TEXT, b"\0", &masked(TEXT, b"\0");
    /// Rule: W87.
    a_character_across_fragments =>
        TEXT, "🐟".as_bytes(), &fragments(b"\xF0\x9F", b"\x90\x9F");
    /// Rule: W87.
    bytes_of_a_ping_need_not_be_text => PONG, b"\xFF", &masked(PING, b"\xFF");
}

/// A text message in two fragments.
fn fragments(first: &[u8], second: &[u8]) -> Vec<u8> {
    [masked(TEXT & !FIN, first), masked(CONTINUATION, second)].concat()
}

/// The beginning of a text frame that announces more.
fn partial(payload: &[u8]) -> Vec<u8> {
    [header(TEXT, 1000), mask(payload)].concat()
}
