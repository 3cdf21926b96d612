//! The closing handshake, and every other way a connection ends (RFC 6455 §5.5.1, §7).

use std::time::Duration;

use bytes::Bytes;
use sockeye_proto::{
    CloseCode, CloseFrame, CloseSignal, Config, Deadline, Failure, Fragment, Message, MessageKind,
    Misuse, Peer, State, TransportState, Violation,
};

use crate::harness::{
    BOTH, CUTS, Cut, End, Frame, Pair, Role, both_every_cut, close_payload, every_cut, text, wire,
};

fn close(code: u16, reason: &str) -> Frame {
    (0x88, close_payload(code, reason))
}

fn close_frame(code: CloseCode, reason: &str) -> CloseSignal {
    CloseSignal::Frame(CloseFrame::new(code, reason).unwrap())
}

/// After a clean close the server ends the TCP connection first, the client waits for that (W85).
fn transport_after_clean(end: &End) -> TransportState {
    match end.role {
        Role::Client => TransportState::Open,
        Role::Server => TransportState::HalfClose,
    }
}

/// Rules: W83, W84, W85.
#[test]
fn a_close_received_is_answered_with_its_code() {
    both_every_cut(|end| {
        end.feed_frame(0x88, &close_payload(4321, "bye"));
        assert_eq!(end.frames(), [close(4321, "bye")]);
        let closed = end.closed();
        assert_eq!(closed.initiator, Peer::Remote);
        assert!(closed.is_clean());
        assert_eq!((closed.code(), closed.reason()), (4321, "bye"));
        assert_eq!(closed.received, closed.sent);
        assert_eq!(closed.failure, None);

        assert_eq!(end.connection.transport(), transport_after_clean(end));
        end.eof();
        assert_eq!(end.connection.transport(), TransportState::Close);
        assert_eq!(end.closed(), closed);
    });
}

#[test]
fn what_is_sent_while_a_close_is_held_comes_before_its_answer() {
    every_cut(Role::Server, |end| {
        end.connection.hold_close(true);
        end.feed_frame(0x88, &close_payload(4321, "bye"));
        assert!(end.connection.has_held_close());
        assert_eq!((end.events(), end.frames()), (vec![], vec![]));
        // What comes behind a Close is nothing.
        end.feed_frame(0x81, b"late");
        end.send("first");
        end.connection.answer_close(end.now);
        end.settle();
        assert_eq!(end.frames(), [(0x81, b"first".to_vec()), close(4321, "bye")]);
        let closed = end.closed();
        assert_eq!((closed.initiator, closed.is_clean()), (Peer::Remote, true));
        assert_eq!(end.connection.transport(), TransportState::HalfClose);
    });
}

#[test]
fn a_held_close_is_answered_by_a_close_of_ones_own_and_after_a_second() {
    every_cut(Role::Server, |end| {
        end.connection.hold_close(true);
        end.feed_frame(0x88, &close_payload(1000, ""));
        end.close(4000, "mine");
        assert_eq!(end.frames(), [close(4000, "mine")]);
        assert_eq!((end.closed().initiator, end.closed().is_clean()), (Peer::Remote, true));
    });
    every_cut(Role::Server, |end| {
        end.connection.hold_close(true);
        end.feed_frame(0x88, &close_payload(1000, ""));
        // Its direction may have ended with it.
        end.eof();
        assert_eq!(end.deadline(), Some(Duration::from_secs(1)));
        end.wait(Duration::from_secs(1));
        assert_eq!(end.frames(), [close(1000, "")]);
        assert!(end.closed().is_clean());
        assert_eq!(end.connection.transport(), TransportState::Close);
    });
}

#[test]
fn a_peer_that_has_closed_is_heard_out_unless_something_came_or_may_come_behind_it() {
    every_cut(Role::Server, |end| {
        assert!(!end.connection.is_heard_out());
        end.feed_frame(0x88, &close_payload(1000, ""));
        assert!(end.connection.is_heard_out());
    });
    every_cut(Role::Server, |end| {
        end.connection.ping(Bytes::new()).unwrap();
        // It answers a ping of before; ours it may not have seen yet.
        end.feed_frame(0x8A, b"");
        end.feed_frame(0x88, &close_payload(1000, ""));
        assert!(!end.connection.is_heard_out());
    });
    let mut end = End::new(Role::Server, Config::default(), Cut::Whole);
    end.feed(&[wire(Role::Client, 0x88, b""), wire(Role::Client, 0x81, b"late")].concat());
    assert!(!end.connection.is_heard_out());
}

#[test]
fn what_the_transport_comes_to_is_known_before_the_last_is_written() {
    both_every_cut(|end| {
        assert_eq!(end.connection.transport_afterwards(), TransportState::Open);
        end.writable = false;
        end.feed_frame(0x88, &close_payload(1000, ""));
        assert_eq!(end.connection.transport(), TransportState::Open);
        assert_eq!(end.connection.transport_afterwards(), transport_after_clean(end));
    });
}

/// Rules: W83, N13.
#[test]
fn the_answer_needs_nothing_of_the_application() {
    both_every_cut(|end| {
        end.feed_frame(0x01, b"begun");
        end.feed_frame(0x88, &close_payload(1001, ""));
        assert_eq!(end.frames(), [close(1001, "")]);
        assert!(end.closed().is_clean());
    });
}

/// Rules: W84, W85, W102.
#[test]
fn closing_is_clean_once_the_peer_has_answered() {
    both_every_cut(|end| {
        end.close(1000, "done");
        assert_eq!(end.frames(), [close(1000, "done")]);
        assert_eq!(end.connection.state(), State::Closing);
        assert_eq!(end.connection.closed(), None);
        assert_eq!(end.connection.transport(), TransportState::Open);

        end.feed_frame(0x88, &close_payload(1000, "fine"));
        let closed = end.closed();
        assert_eq!(closed.initiator, Peer::Local);
        assert!(closed.is_clean());
        assert_eq!((closed.code(), closed.reason()), (1000, "fine"));
        assert_eq!(closed.sent, close_frame(CloseCode::NORMAL, "done"));
        assert_eq!(closed.received, close_frame(CloseCode::NORMAL, "fine"));
        assert_eq!(end.frames(), []);
        assert_eq!(end.connection.transport(), transport_after_clean(end));
    });
}

/// Rules: W80, W109.
#[test]
fn an_empty_close_is_1005_to_the_application_and_empty_on_the_wire() {
    both_every_cut(|end| {
        end.feed_frame(0x88, b"");
        assert_eq!(end.frames(), [(0x88, vec![])]);
        let closed = end.closed();
        assert!(closed.is_clean());
        assert_eq!((closed.code(), closed.reason()), (1005, ""));
        assert_eq!((closed.sent, closed.received), (CloseSignal::Empty, CloseSignal::Empty));
    });
    both_every_cut(|end| {
        end.connection.close(None, end.now);
        end.settle();
        assert_eq!(end.frames(), [(0x88, vec![])]);
        end.feed_frame(0x88, b"");
        assert_eq!(end.closed().code(), 1005);
        assert!(end.closed().is_clean());
    });
}

/// Rule: W84.
#[test]
fn two_ends_that_close_at_once_both_close_cleanly() {
    for cut in CUTS {
        let mut pair = Pair::new(&Config::default(), cut);
        pair.client.close(1000, "client");
        pair.server.close(1001, "server");
        pair.drive();
        for (end, received) in [(&mut pair.client, "server"), (&mut pair.server, "client")] {
            let closed = end.closed();
            assert!(closed.is_clean());
            assert_eq!(closed.initiator, Peer::Local);
            assert_eq!(closed.reason(), received);
            assert_eq!(end.connection.transport(), TransportState::Close);
        }
    }
}

/// Rules: W84, W85.
#[test]
fn either_end_may_begin_and_both_agree_which_it_was() {
    for cut in CUTS {
        for role in BOTH {
            let mut pair = Pair::new(&Config::default(), cut);
            let beginner = if role == Role::Client { &mut pair.client } else { &mut pair.server };
            beginner.close(3000, "x");
            pair.drive();
            let (client, server) = (pair.client.closed(), pair.server.closed());
            assert!(client.is_clean() && server.is_clean());
            assert_ne!(client.initiator, server.initiator);
            assert_eq!(client.initiator == Peer::Local, role == Role::Client);
            assert_eq!((client.code(), server.code()), (3000, 3000));
            assert_eq!(pair.client.connection.transport(), TransportState::Close);
            assert_eq!(pair.server.connection.transport(), TransportState::Close);
        }
    }
}

/// Rule: W80.
#[test]
fn a_close_of_one_byte_is_refused() {
    both_every_cut(|end| {
        end.feed_frame(0x88, &[3]);
        end.expect_failure(Violation::CloseBody, 1002);
    });
}

/// Rules: W109, W110, W111.
#[test]
fn codes_that_may_not_be_sent_are_refused() {
    let bad = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
    for code in bad {
        both_every_cut(|end| {
            end.feed_frame(0x88, &close_payload(code, ""));
            end.expect_failure(Violation::CloseCode(code), 1002);
        });
        assert!(CloseCode::try_from(code).is_err());
    }
}

/// Rule: W83.
#[test]
fn every_code_that_may_be_sent_is_taken_and_given_back() {
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        both_every_cut(|end| {
            end.feed_frame(0x88, &close_payload(code, ""));
            assert_eq!(end.frames(), [close(code, "")]);
            assert_eq!(end.closed().code(), code);
        });
    }
}

/// Rule: W87.
#[test]
fn a_reason_that_is_not_utf8_is_refused() {
    for reason in [&b"\xff"[..], b"caf\xc3", b"\xed\xa0\x80"] {
        both_every_cut(|end| {
            end.feed_frame(0x88, &[&[0x03, 0xe8], reason].concat());
            end.expect_failure(Violation::InvalidUtf8, 1007);
        });
    }
}

/// Rule: W80.
#[test]
fn a_reason_may_fill_the_frame() {
    let reason = "é".repeat(61) + "!";
    both_every_cut(|end| {
        end.close(1000, &reason);
        assert_eq!(end.frames(), [close(1000, &reason)]);
        end.feed_frame(0x88, &close_payload(1000, &reason));
        assert_eq!(end.closed().reason(), reason);
    });
}

/// Rules: W82, W90, W91.
#[test]
fn nothing_is_sent_after_close() {
    both_every_cut(|end| {
        end.connection.send_fragment(MessageKind::Text, Bytes::new(), Fragment::More).unwrap();
        end.close(1000, "");
        end.frames();
        assert_eq!(end.connection.send(Message::from("late")), Err(Misuse::Closing));
        let fragment =
            end.connection.send_fragment(MessageKind::Text, Bytes::new(), Fragment::Last);
        assert_eq!(fragment, Err(Misuse::Closing));
        end.close(4000, "again");
        end.feed_frame(0x88, &close_payload(1000, ""));
        assert_eq!(end.connection.send(Message::from("late")), Err(Misuse::Closing));
        end.close(4000, "again");
        assert_eq!(end.frames(), []);
        assert_eq!(end.closed().sent, CloseSignal::Frame(CloseCode::NORMAL.into()));
    });
}

/// Rule: W82.
#[test]
fn what_was_queued_before_close_is_sent_before_it() {
    both_every_cut(|end| {
        end.writable = false;
        end.send("small");
        end.send(vec![0; 10_000]);
        end.close(1000, "");
        end.writable = true;
        end.settle();
        let expected = [(0x81, b"small".to_vec()), (0x82, vec![0; 10_000]), close(1000, "")];
        assert_eq!(end.frames(), expected);
    });
    both_every_cut(|end| {
        end.writable = false;
        end.send("queued");
        end.feed_frame(0x88, b"");
        // The transport is not to be ended before all of it is out.
        assert_eq!(end.connection.transport(), TransportState::Open);
        end.writable = true;
        end.settle();
        assert_eq!(end.frames(), [(0x81, b"queued".to_vec()), (0x88, vec![])]);
        assert_eq!(end.connection.transport(), transport_after_clean(end));
    });
}

/// Rule: W97.
#[test]
fn messages_are_received_until_the_peer_closes() {
    both_every_cut(|end| {
        end.close(1000, "");
        end.feed_frame(0x81, b"one ");
        end.feed_frame(0x01, b"tw");
        end.feed_frame(0x80, b"o");
        assert_eq!(end.events(), [text("one "), text("two")]);
        let peer = end.role.peer();
        let close = wire(peer, 0x88, &close_payload(1000, ""));
        end.feed(&[close, wire(peer, 0x81, b"three")].concat());
        assert_eq!(end.events().len(), 1);
        assert!(end.closed().is_clean());
    });
}

/// Rule: W107.
#[test]
fn a_lost_transport_is_1006() {
    let whole = wire(Role::Server, 0x01, b"begun");
    for length in 0..=whole.len() {
        both_every_cut(|end| {
            let bytes = wire(end.role.peer(), 0x01, b"begun");
            end.feed(&bytes[..length]);
            end.eof();
            let closed = end.closed();
            assert_eq!(closed.failure, Some(Failure::Lost));
            assert_eq!(closed.initiator, Peer::Remote);
            assert_eq!(closed.code(), 1006);
            assert!(closed.sent.is_absent() && closed.received.is_absent());
            assert_eq!(end.frames(), []);
            assert_eq!(end.connection.transport(), TransportState::Close);
            assert_eq!(end.deadline(), None);
        });
    }
}

/// Rule: W107.
#[test]
fn a_transport_lost_before_our_close_is_answered_is_1006() {
    both_every_cut(|end| {
        end.close(1000, "");
        end.eof();
        let closed = end.closed();
        assert_eq!(closed.failure, Some(Failure::Lost));
        assert_eq!(closed.initiator, Peer::Local);
        assert!(!closed.is_clean());
        assert_eq!(closed.code(), 1006);
        assert_eq!(closed.sent, CloseSignal::Frame(CloseCode::NORMAL.into()));
        assert_eq!(end.connection.transport(), TransportState::Close);
    });
}

/// Rule: W84.
#[test]
fn an_answer_that_waits_is_written_though_the_peer_has_ended_its_side() {
    both_every_cut(|end| {
        end.writable = false;
        end.feed_frame(0x88, &close_payload(1000, ""));
        end.eof();
        assert_eq!(end.connection.transport(), TransportState::Open);
        end.writable = true;
        end.settle();
        assert_eq!(end.frames(), [close(1000, "")]);
        assert_eq!(end.connection.transport(), TransportState::Close);
        assert!(end.closed().is_clean());
    });
}

/// Rules: WS5, W103, W106.
#[test]
fn failing_after_close_was_sent_sends_no_second_one() {
    both_every_cut(|end| {
        end.close(1000, "");
        end.frames();
        end.wait(Duration::from_secs(2));
        end.feed_frame(0x83, b"");
        assert_eq!(end.frames(), []);
        // Nor does it give the peer more time.
        assert_eq!(end.deadline(), Some(Duration::from_secs(3)));
        let closed = end.closed();
        assert_eq!(closed.failure, Some(Violation::UnknownOpcode(3).into()));
        assert_eq!(closed.initiator, Peer::Local);
        assert_eq!(closed.sent, CloseSignal::Frame(CloseCode::NORMAL.into()));
        assert_eq!(closed.code(), 1006);
        assert_eq!(end.connection.transport(), TransportState::HalfClose);
    });
}

/// Rule: WS4.
#[test]
fn after_failing_the_transport_is_half_closed_once_all_is_written_then_closed() {
    both_every_cut(|end| {
        end.writable = false;
        end.send("queued");
        end.feed_frame(0x83, b"");
        assert_eq!(end.connection.transport(), TransportState::Open);
        end.writable = true;
        end.settle();
        assert_eq!(end.frames().len(), 2);
        assert_eq!(end.connection.transport(), TransportState::HalfClose);
        end.wait(Duration::from_secs(5));
        assert_eq!(end.connection.transport(), TransportState::Close);
        assert_eq!(end.deadline(), None);
    });
}

/// Rules: N6, W85.
#[test]
fn a_client_waits_for_the_end_of_the_transport_but_not_for_ever() {
    every_cut(Role::Client, |end| {
        end.close(1000, "");
        end.wait(Duration::from_secs(2));
        end.feed_frame(0x88, &close_payload(1000, ""));
        assert_eq!(end.connection.transport(), TransportState::Open);
        assert_eq!(end.deadline(), Some(Duration::from_secs(3)));
        end.wait(Duration::from_secs(3));
        assert_eq!(end.connection.transport(), TransportState::Close);
        assert!(end.closed().is_clean());
    });
}

/// Rule: N6.
#[test]
fn a_close_that_is_not_answered_is_given_up() {
    both_every_cut(|end| {
        end.close(1000, "");
        end.wait(Duration::from_secs(5));
        let closed = end.closed();
        assert_eq!(closed.failure, Some(Deadline::Close.into()));
        assert_eq!(closed.initiator, Peer::Local);
        assert_eq!(closed.code(), 1006);
        assert_eq!(end.connection.transport(), TransportState::Close);
    });
}

/// Rule: W104.
#[test]
fn an_abort_ends_it_at_once_with_nothing_more_sent() {
    both_every_cut(|end| {
        end.writable = false;
        end.send("queued");
        end.connection.abort(end.now);
        assert_eq!(end.connection.transport(), TransportState::Close);
        end.settle();
        let closed = end.closed();
        assert_eq!(closed.failure, Some(Failure::Aborted));
        assert_eq!((closed.initiator, closed.sent), (Peer::Local, CloseSignal::Absent));
        assert_eq!(end.connection.poll_timeout(), None);
    });
    both_every_cut(|end| {
        end.feed_frame(0x88, &close_payload(1000, ""));
        end.connection.abort(end.now);
        end.settle();
        assert!(end.closed().is_clean());
        assert_eq!(end.connection.transport(), TransportState::Close);
    });
}

/// Rule: WS5.
#[test]
fn every_reason_to_fail_fits_into_a_close_frame() {
    both_every_cut(|end| {
        end.feed_frame(0x88, &close_payload(2999, ""));
        let (_, body) = end.frames().remove(0);
        assert!(body.len() <= 125);
        let reason = String::from_utf8(body[2..].to_vec()).unwrap();
        assert!(reason.contains("2999"), "{reason}");
    });
}

#[test]
fn a_closed_connection_reads_well() {
    let (mut end, mut lost) = (
        End::new(Role::Server, Config::default(), CUTS[0]),
        End::new(Role::Server, Config::default(), CUTS[0]),
    );
    end.feed_frame(0x88, &close_payload(1001, "moving"));
    assert_eq!(end.closed().to_string(), "closed by the peer with 1001 (moving)");
    lost.eof();
    let told = "failed: the connection was lost without a closing handshake";
    assert_eq!(lost.closed().to_string(), told);
}
