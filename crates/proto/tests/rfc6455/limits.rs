//! Limits (RFC 6455 §10.4), each at its edge.

use sockeye_proto::{Config, Limit};

use crate::harness::{
    BOTH, Cut, End, binary, both_every_cut, every_cut_with, read_frames, wire, wire_header,
};

/// Rules: W121, N2.
#[test]
fn a_message_may_be_as_large_as_the_limit() {
    for max in [0, 1, 125, 126, 1000, 65536] {
        for role in BOTH {
            every_cut_with(role, Config::default().max_message_size(max), |end| {
                let payload = vec![7; max];
                end.feed_frame(0x82, &payload);
                end.feed_frame(0x02, &payload[..max / 2]);
                end.feed_frame(0x80, &payload[max / 2..]);
                assert_eq!(end.events(), [binary(&payload), binary(&payload)]);
            });
        }
    }
}

/// Rules: W121, WS7.
#[test]
fn a_larger_one_fails_by_its_header_before_any_payload() {
    for max in [0, 1, 125, 126, 1000, 65536] {
        for role in BOTH {
            every_cut_with(role, Config::default().max_message_size(max), |end| {
                end.feed(&wire_header(role.peer(), 0x82, max as u64 + 1));
                end.expect_failure(Limit::MessageSize { max }, 1009);
            });
        }
    }
}

/// Rule: W121.
#[test]
fn fragments_that_add_up_to_more_fail_by_the_header_that_does() {
    let max = 1000;
    for role in BOTH {
        every_cut_with(role, Config::default().max_message_size(max), |end| {
            end.feed_frame(0x02, &[7; 600]);
            end.feed_frame(0x00, &[7; 400]);
            end.feed_frame(0x00, &[]);
            assert_eq!(end.events(), []);
            end.feed(&wire_header(role.peer(), 0x80, 1));
            end.expect_failure(Limit::MessageSize { max }, 1009);
        });
    }
}

/// Rule: W121.
#[test]
fn the_default_limit_is_a_mebibyte() {
    both_every_cut(|end| {
        end.feed(&wire_header(end.role.peer(), 0x82, 1 << 20));
        assert_eq!(end.events(), []);
        assert_eq!(end.connection.missing(0), 1 << 20);
    });
    both_every_cut(|end| {
        end.feed(&wire_header(end.role.peer(), 0x82, (1 << 20) + 1));
        end.expect_failure(Limit::MessageSize { max: 1 << 20 }, 1009);
    });
}

/// Rules: W121, N3.
#[test]
fn a_length_beyond_all_memory_is_only_a_number() {
    for length in [1 << 32, 1 << 62, (1 << 63) - 1] {
        both_every_cut(|end| {
            end.feed(&wire_header(end.role.peer(), 0x82, length));
            end.expect_failure(Limit::MessageSize { max: 1 << 20 }, 1009);
        });
        // Even where no limit stops it, nothing comes of it but waiting.
        for role in BOTH {
            every_cut_with(role, Config::default().max_message_size(usize::MAX), |end| {
                end.feed(&wire_header(role.peer(), 0x02, 3));
                end.feed(&[0; 3]);
                end.feed(&wire_header(role.peer(), 0x80, length));
                end.feed(&[0; 100]);
                assert_eq!(end.events(), []);
            });
        }
    }
}

/// Rule: W121.
#[test]
fn lengths_that_overflow_when_added_are_too_big() {
    let max = usize::MAX;
    for role in BOTH {
        every_cut_with(role, Config::default().max_message_size(max), |end| {
            end.feed_frame(0x02, &[7; 200]);
            end.feed_frame(0x00, &[7; 200]);
            end.feed(&wire_header(role.peer(), 0x80, (1 << 63) - 1));
            assert_eq!(end.events(), []);
        });
    }
}

/// Feeds a message of `count` fragments of `size` bytes each.
fn feed_fragments(end: &mut End, count: usize, size: usize) {
    let peer = end.role.peer();
    let payload = vec![b'f'; size];
    let mut bytes = wire(peer, 0x02, &payload);
    for i in 1..count {
        bytes.extend(wire(peer, if i + 1 == count { 0x80 } else { 0x00 }, &payload));
    }
    end.feed(&bytes);
}

/// Rule: N2.
#[test]
fn a_message_may_have_as_many_fragments_as_the_limit_and_no_more() {
    for size in [0, 1] {
        both_every_cut(|end| {
            feed_fragments(end, 1024, size);
            assert_eq!(end.events(), [binary(&vec![b'f'; 1024 * size])]);
        });
        both_every_cut(|end| {
            feed_fragments(end, 1025, size);
            end.expect_failure(Limit::Fragments { max: 1024 }, 1009);
        });
    }
}

/// Rule: N2.
#[test]
fn a_limit_of_one_fragment_is_a_limit_of_two_frames_less_one() {
    for role in BOTH {
        every_cut_with(role, Config::default().max_fragments(1), |end| {
            end.feed_frame(0x82, b"whole");
            assert_eq!(end.events(), [binary(b"whole")]);
            end.feed_frame(0x02, b"in ");
            end.feed_frame(0x80, b"two");
            end.expect_failure(Limit::Fragments { max: 1 }, 1009);
        });
    }
}

/// Rule: N2.
#[test]
fn each_fragment_is_charged_64_bytes_at_least() {
    // 128 KiB pay for 2048 fragments of nothing, and not for one more.
    let max = 128 << 10;
    let config = Config::default().max_message_size(max).max_fragments(usize::MAX);
    for role in BOTH {
        every_cut_with(role, config.clone(), |end| {
            feed_fragments(end, 2048, 0);
            assert_eq!(end.events(), [binary(b"")]);
            // The next message begins with a clean bill.
            feed_fragments(end, 2048, 1);
            assert_eq!(end.events(), [binary(&[b'f'; 2048])]);
            feed_fragments(end, 2049, 0);
            end.expect_failure(Limit::MessageSize { max }, 1009);
        });
    }
}

/// Rule: N2.
#[test]
fn a_message_of_just_the_limit_may_end_with_an_empty_fragment() {
    let max = 128 << 10;
    for role in BOTH {
        every_cut_with(role, Config::default().max_message_size(max), |end| {
            end.feed_frame(0x02, &vec![7; max]);
            end.feed_frame(0x80, b"");
            assert_eq!(end.events(), [binary(&vec![7; max])]);
            end.feed_frame(0x02, b"");
            end.feed_frame(0x00, &vec![7; max - 1]);
            end.feed_frame(0x80, b"7");
            assert_eq!(end.events().len(), 1);
        });
    }
}

/// Rule: N2.
#[test]
fn where_messages_are_small_fragments_may_still_cost_64_kib() {
    let config = Config::default().max_message_size(10).max_fragments(usize::MAX);
    for role in BOTH {
        every_cut_with(role, config.clone(), |end| {
            feed_fragments(end, 1024, 0);
            assert_eq!(end.events(), [binary(b"")]);
            feed_fragments(end, 1025, 0);
            end.expect_failure(Limit::MessageSize { max: 10 }, 1009);
        });
    }
}

/// Rule: W121.
#[test]
fn limits_bind_what_is_received_not_what_is_sent() {
    for role in BOTH {
        let config = Config::default().max_message_size(1).max_fragments(1);
        let end = &mut End::new(role, config, Cut::Whole);
        end.send(vec![0; 100]);
        assert_eq!(read_frames(&end.sent(), role).len(), 1);
    }
}
