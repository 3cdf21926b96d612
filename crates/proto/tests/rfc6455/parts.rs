//! Messages received in parts: whatever their size, as they arrive.

use std::time::Duration;

use bytes::Bytes;
use sockeye_proto::{Config, Deadline, Event, Limit, MessageKind, Part, Violation};

use crate::harness::{BOTH, End, binary, both_every_cut, every_cut_with, text, wire, wire_header};

fn part(kind: MessageKind, payload: &[u8], last: bool) -> Event {
    Event::Part(Part { kind, payload: Bytes::copy_from_slice(payload), last })
}

/// Whole messages of ten bytes, and of a thousand in parts.
fn small() -> Config {
    Config::default().max_message_size(10).max_fragments(3).max_streamed_size(1000)
}

fn every_end(config: &Config, test: impl Fn(&mut End)) {
    BOTH.iter().for_each(|&role| every_cut_with(role, config.clone(), &test));
}

#[test]
fn parts_of_a_message_come_as_its_bytes_do_and_the_last_says_so() {
    both_every_cut(|end| {
        end.connection.receive_parts(true);
        let bytes = wire(end.role.peer(), 0x82, b"hello");
        end.feed(&bytes[..bytes.len() - 2]);
        assert_eq!(end.events(), [part(MessageKind::Binary, b"hel", false)]);
        end.feed(&bytes[bytes.len() - 2..]);
        assert_eq!(end.events(), [part(MessageKind::Binary, b"lo", true)]);
        // The next one is whole again.
        end.feed_frame(0x82, b"whole");
        assert_eq!(end.events(), [binary(b"whole")]);
    });
}

#[test]
fn parts_go_over_the_borders_of_frames_and_control_frames_stand_between() {
    both_every_cut(|end| {
        end.connection.receive_parts(true);
        end.feed_frame(0x01, "κό".as_bytes());
        end.feed_frame(0x00, b"");
        end.feed_frame(0x89, b"?");
        end.feed_frame(0x00, "σ".as_bytes());
        end.feed_frame(0x80, b"");
        let events = end.events();
        assert_eq!(events[0], part(MessageKind::Text, "κό".as_bytes(), false));
        assert_eq!(events[1], Event::Ping("?".into()));
        assert_eq!(events[2..], [part(MessageKind::Text, "σ".as_bytes(), true)]);
        assert_eq!(end.frames(), [(0x8a, b"?".to_vec())]);
    });
}

#[test]
fn an_empty_message_is_one_part_that_is_the_last() {
    both_every_cut(|end| {
        end.connection.receive_parts(true);
        end.feed_frame(0x81, b"");
        assert_eq!(end.events(), [part(MessageKind::Text, b"", true)]);
    });
}

#[test]
fn parts_may_be_asked_for_while_the_message_arrives_and_what_has_come_comes_first() {
    for (first, next) in [(0x82, None), (0x02, Some(0x80))] {
        both_every_cut(|end| {
            let mut bytes = wire(end.role.peer(), first, b"hello");
            bytes.extend(next.iter().flat_map(|&next| wire(end.role.peer(), next, b" world")));
            let (now, later) = bytes.split_at(bytes.len() - 2);
            end.feed(now);
            assert_eq!(end.events(), []);
            end.connection.receive_parts(true);
            end.feed(later);
            let whole: &[u8] = if next.is_some() { b"hello world" } else { b"hello" };
            assert_eq!(end.events(), [part(MessageKind::Binary, whole, true)]);
        });
    }
}

#[test]
fn a_message_of_which_no_part_was_given_may_come_whole_after_all() {
    both_every_cut(|end| {
        end.connection.receive_parts(true);
        end.feed(&wire_header(end.role.peer(), 0x02, 0));
        end.connection.receive_parts(false);
        end.feed_frame(0x80, b"hello");
        assert_eq!(end.events(), [binary(b"hello")]);
        // One that has begun in parts does not change.
        end.connection.receive_parts(true);
        end.feed_frame(0x01, b"hello");
        end.connection.receive_parts(false);
        end.feed_frame(0x80, b" world");
        assert_eq!(end.events(), [part(MessageKind::Text, b"hello world", true)]);
    });
}

#[test]
fn text_in_parts_fails_at_its_first_impossible_byte() {
    both_every_cut(|end| {
        end.connection.receive_parts(true);
        let text = [&b"so far so good \xff"[..], &[b'.'; 100]].concat();
        end.feed(&wire(end.role.peer(), 0x81, &text)[..30]);
        end.expect_failure(Violation::InvalidUtf8, 1007);
    });
    both_every_cut(|end| {
        end.connection.receive_parts(true);
        end.feed_frame(0x81, b"half a \xc3");
        end.expect_failure(Violation::InvalidUtf8, 1007);
    });
}

#[test]
fn a_message_beyond_the_limit_of_whole_ones_waits_until_parts_are_asked_for() {
    let long = [7; 1000];
    for in_fragments in [false, true] {
        every_end(&small(), |end| {
            end.feed_frame(0x82, b"small");
            if in_fragments {
                end.feed_frame(0x02, b"");
            }
            end.feed_frame(if in_fragments { 0x80 } else { 0x82 }, &long);
            assert_eq!(end.events(), [binary(b"small")]);
            assert!(end.connection.is_oversized());
            end.connection.receive_parts(true);
            end.settle();
            assert!(!end.connection.is_oversized());
            end.feed_frame(0x82, b"next");
            assert_eq!(end.events(), [part(MessageKind::Binary, &long, true), binary(b"next")]);
        });
    }
}

#[test]
fn a_message_that_waits_may_be_refused() {
    every_end(&small(), |end| {
        end.connection.refuse_oversized(end.now);
        end.feed_frame(0x82, &[7; 11]);
        assert_eq!(end.events(), []);
        end.connection.refuse_oversized(end.now);
        end.settle();
        end.expect_failure(Limit::MessageSize { max: 10 }, 1009);
        assert!(!end.connection.is_oversized());
    });
}

#[test]
fn parts_have_a_limit_of_their_own_which_fails_by_the_header_that_passes_it() {
    every_end(&small(), |end| {
        end.connection.receive_parts(true);
        end.feed_frame(0x02, &[7; 600]);
        end.feed(&wire_header(end.role.peer(), 0x80, 401));
        end.expect_failure(Limit::MessageSize { max: 1000 }, 1009);
    });
    // Without one, that of whole messages holds.
    every_end(&Config::default().max_message_size(10), |end| {
        end.connection.receive_parts(true);
        end.feed(&wire_header(end.role.peer(), 0x82, 11));
        end.expect_failure(Limit::MessageSize { max: 10 }, 1009);
    });
}

#[test]
fn parts_have_no_limit_of_fragments_but_tiny_ones_are_charged() {
    every_end(&small(), |end| {
        end.connection.receive_parts(true);
        end.feed_frame(0x02, b"");
        (0..200).for_each(|_| end.feed_frame(0x00, b"five!"));
        end.feed_frame(0x80, b"");
        assert_eq!(end.events(), [part(MessageKind::Binary, &b"five!".repeat(200), true)]);
        end.connection.receive_parts(true);
        end.feed_frame(0x02, b"");
        (0..1024).for_each(|_| end.feed_frame(0x00, b""));
        end.expect_failure(Limit::MessageSize { max: 1000 }, 1009);
    });
}

#[test]
fn each_part_has_the_time_of_a_message() {
    let second = Duration::from_secs(1);
    let config = Config::default().keepalive(None).message_timeout(10 * second);
    every_end(&config, |end| {
        end.connection.receive_parts(true);
        end.feed_frame(0x02, b"one");
        for _ in 0..3 {
            end.wait(9 * second);
            end.feed_frame(0x00, b"more");
            assert_eq!(end.deadline(), Some(10 * second));
        }
        end.wait(10 * second);
        end.expect_failure(Deadline::Message, 1008);
    });
    every_end(&config, |end| {
        end.connection.receive_parts(true);
        end.feed_frame(0x82, b"whole");
        assert_eq!((end.deadline(), end.events().len()), (None, 1));
        end.feed_frame(0x81, b"text");
        assert_eq!(end.events(), [text("text")]);
    });
}
