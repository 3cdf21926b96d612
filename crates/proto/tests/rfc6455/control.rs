//! Ping and Pong, and the form of all control frames (RFC 6455 §5.5).

use bytes::Bytes;
use sockeye_proto::{CloseCode, Config, Event, Misuse, State, Violation};

use crate::harness::{
    BOTH, CUTS, Cut, End, Frame, Pair, both_every_cut, close_payload, text, wire, wire_header,
};

fn pong(payload: &[u8]) -> Frame {
    (0x8a, payload.to_vec())
}

/// Rules: W69, W79.
#[test]
fn fragmented_control_frames_are_refused() {
    for opcode in [0x08, 0x09, 0x0a] {
        both_every_cut(|end| {
            end.feed_frame(opcode, b"");
            end.expect_failure(Violation::FragmentedControl, 1002);
        });
    }
}

/// Rules: W69, W79.
#[test]
fn long_control_frames_are_refused_before_their_payload() {
    for first in [0x88, 0x89, 0x8a] {
        for length in [126, 65536] {
            both_every_cut(|end| {
                let header = wire_header(end.role.peer(), first, length);
                end.feed(&header[..2]);
                end.expect_failure(Violation::LongControl, 1002);
            });
        }
    }
}

/// Rule: W86.
#[test]
fn a_ping_is_answered_with_its_payload() {
    for size in [0, 1, 124, 125] {
        both_every_cut(|end| {
            let payload: Vec<u8> = (0..size).map(|i| 255 - i as u8).collect();
            end.feed_frame(0x89, &payload);
            assert_eq!(end.frames(), [pong(&payload)]);
            assert_eq!(end.events(), [Event::Ping(payload.into())]);
        });
    }
}

/// Rule: W86.
#[test]
fn a_ping_between_messages_is_answered_at_once() {
    both_every_cut(|end| {
        end.feed_frame(0x81, b"a");
        end.feed_frame(0x89, b"?");
        assert_eq!(end.frames(), [pong(b"?")]);
        end.feed_frame(0x81, b"b");
        assert_eq!(end.events(), [text("a"), Event::Ping("?".into()), text("b")]);
    });
}

/// Rule: W86.
#[test]
fn a_pong_is_on_its_way_though_the_event_after_the_ping_is_not_polled() {
    for role in BOTH {
        let mut end = End::new(role, Config::default(), Cut::Whole);
        let bytes = [wire(role.peer(), 0x89, b"?"), wire(role.peer(), 0x81, b"text")].concat();
        let mut input = bytes::BytesMut::from(&bytes[..]);
        let event = end.connection.poll_event(&mut input, end.now);
        assert_eq!(event, Some(Event::Ping("?".into())));
        assert!(end.connection.queued() > 0);
    }
}

/// Rules: N7, W86.
#[test]
fn while_nothing_can_be_written_only_the_latest_ping_is_answered() {
    both_every_cut(|end| {
        end.writable = false;
        for payload in [b"1", b"2", b"3", b"4"] {
            end.feed_frame(0x89, payload);
        }
        end.writable = true;
        end.settle();
        // The first was answered when it came; of those that came while its pong waited, the last.
        assert_eq!(end.frames(), [pong(b"1"), pong(b"4")]);
        end.feed_frame(0x89, b"5");
        assert_eq!(end.frames(), [pong(b"5")]);
    });
}

/// Rules: N2, N7.
#[test]
fn a_flood_of_pings_does_not_fill_the_queue() {
    for role in BOTH {
        let end = &mut End::new(role, Config::default(), Cut::Whole);
        end.writable = false;
        let flood = wire(role.peer(), 0x89, &[b'!'; 125]).repeat(10_000);
        end.feed(&flood);
        assert!(end.connection.queued() <= 2 * (14 + 125), "{}", end.connection.queued());
        assert_eq!(end.events().len(), 10_000);
        assert_eq!(end.connection.state(), State::Open);
    }
}

/// Rule: W86.
#[test]
fn a_pong_waits_behind_what_was_queued_before() {
    both_every_cut(|end| {
        end.writable = false;
        end.send("first");
        end.feed_frame(0x89, b"?");
        end.send("then");
        end.writable = true;
        end.settle();
        let expected = [(0x81, b"first".to_vec()), pong(b"?"), (0x81, b"then".to_vec())];
        assert_eq!(end.frames(), expected);
    });
}

/// Rule: W86.
#[test]
fn an_unsolicited_pong_is_reported_and_not_answered() {
    both_every_cut(|end| {
        end.feed_frame(0x8a, b"unasked");
        assert_eq!(end.events(), [Event::Pong("unasked".into())]);
        assert_eq!(end.frames(), []);
        assert_eq!(end.connection.state(), State::Open);
    });
}

/// Rules: W86, W91.
#[test]
fn pings_are_answered_until_the_peer_has_closed() {
    both_every_cut(|end| {
        end.close(1000, "");
        end.frames();
        end.feed_frame(0x89, b"still here?");
        assert_eq!(end.frames(), [pong(b"still here?")]);
        end.feed_frame(0x88, &close_payload(1000, ""));
        end.feed_frame(0x89, b"and now?");
        assert_eq!(end.frames(), []);
    });
}

/// Rule: W86.
#[test]
fn a_ping_not_answered_when_the_peer_closes_stays_so() {
    both_every_cut(|end| {
        end.writable = false;
        end.feed_frame(0x89, b"1");
        end.feed_frame(0x89, b"2");
        end.feed_frame(0x88, b"");
        end.writable = true;
        end.settle();
        assert_eq!(end.frames(), [pong(b"1"), (0x88, vec![])]);
    });
}

/// Rule: W79.
#[test]
fn a_ping_of_ours_is_answered_by_the_other_end_and_has_room_for_125_bytes() {
    for cut in CUTS {
        let mut pair = Pair::new(&Config::default(), cut);
        let payload = Bytes::from(vec![b'p'; 125]);
        pair.client.connection.ping(payload.clone()).unwrap();
        pair.server.connection.pong(Bytes::new()).unwrap();
        pair.client.settle();
        pair.server.settle();
        pair.drive();
        assert_eq!(pair.server.events(), [Event::Ping(payload.clone())]);
        assert_eq!(pair.client.events(), [Event::Pong(Bytes::new()), Event::Pong(payload)]);

        let long = Bytes::from(vec![0; 126]);
        assert_eq!(pair.client.connection.ping(long.clone()), Err(Misuse::LongControl(126)));
        assert_eq!(pair.client.connection.pong(long), Err(Misuse::LongControl(126)));
        assert_eq!(pair.client.connection.queued(), 0);
    }
}

/// Rules: W82, W91.
#[test]
fn no_ping_or_pong_can_be_sent_after_close() {
    both_every_cut(|end| {
        end.connection.close(Some(CloseCode::GOING_AWAY.into()), end.now);
        assert_eq!(end.connection.ping(Bytes::new()), Err(Misuse::Closing));
        assert_eq!(end.connection.pong(Bytes::new()), Err(Misuse::Closing));
    });
}
