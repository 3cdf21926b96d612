//! Deadlines: a peer that is silent, slow, or does not close. Time is an argument.

use std::time::Duration;

use sockeye_proto::{Config, Deadline, Event, Keepalive, State, TransportState};

use crate::harness::{
    BOTH, Frame, Role, both_every_cut, close_payload, every_cut_with, text, wire, wire_header,
};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

fn ping() -> Frame {
    (0x89, vec![])
}

fn without_keepalive() -> Config {
    Config::default().keepalive(None)
}

/// Rule: N5.
#[test]
fn a_silent_peer_is_pinged_after_the_interval_and_given_up_after_the_timeout() {
    both_every_cut(|end| {
        assert_eq!(end.deadline(), Some(25 * SECOND));
        end.wait(25 * SECOND - MOMENT);
        assert_eq!(end.frames(), []);
        end.wait(MOMENT);
        assert_eq!(end.frames(), [ping()]);
        assert_eq!(end.deadline(), Some(20 * SECOND));
        end.wait(20 * SECOND - MOMENT);
        assert_eq!((end.events(), end.frames()), (vec![], vec![]));
        end.wait(MOMENT);
        end.expect_failure(Deadline::Keepalive, 1011);
    });
}

/// Rule: N5.
#[test]
fn whatever_comes_after_the_ping_keeps_the_connection() {
    for first in [0x8a, 0x81, 0x89] {
        both_every_cut(|end| {
            end.wait(25 * SECOND + 19 * SECOND);
            end.frames();
            end.feed_frame(first, b"here");
            assert_eq!(end.deadline(), Some(25 * SECOND));
            end.frames();
            end.wait(25 * SECOND);
            assert_eq!(end.frames(), [ping()]);
            assert_eq!(end.connection.state(), State::Open);
        });
    }
}

/// Rule: N5.
#[test]
fn a_part_of_a_frame_is_a_sign_of_life_too() {
    both_every_cut(|end| {
        end.wait(30 * SECOND);
        end.feed(&wire_header(end.role.peer(), 0x82, 1000));
        assert_eq!(end.deadline(), Some(25 * SECOND));
        end.wait(24 * SECOND);
        end.feed(&[0]);
        assert_eq!(end.deadline(), Some(25 * SECOND));
    });
}

#[test]
fn the_round_trip_of_a_keepalive_ping_is_measured_to_its_own_pong() {
    both_every_cut(|end| {
        end.wait(25 * SECOND);
        assert_eq!(end.frames(), [ping()]);
        end.wait(SECOND);
        end.feed_frame(0x81, b"something else");
        end.feed_frame(0x8a, b"of another ping");
        assert_eq!(end.connection.keepalive_latency(), None);
        end.wait(2 * SECOND);
        end.feed_frame(0x8a, b"");
        assert_eq!(end.connection.keepalive_latency(), Some(3 * SECOND));
        // A pong that was not asked for measures nothing.
        end.wait(SECOND);
        end.feed_frame(0x8a, b"");
        assert_eq!(end.connection.keepalive_latency(), Some(3 * SECOND));
    });
}

/// Rule: N5.
#[test]
fn what_we_send_is_no_sign_of_the_peers_life() {
    both_every_cut(|end| {
        end.wait(20 * SECOND);
        end.send("hello?");
        assert_eq!(end.deadline(), Some(5 * SECOND));
    });
}

/// Rule: N5.
#[test]
fn the_interval_and_the_timeout_are_the_configured_ones() {
    let keepalive = Keepalive::default().interval(3 * SECOND).timeout(2 * SECOND);
    for role in BOTH {
        every_cut_with(role, Config::default().keepalive(keepalive), |end| {
            end.wait(3 * SECOND);
            assert_eq!(end.frames(), [ping()]);
            end.wait(2 * SECOND);
            end.expect_failure(Deadline::Keepalive, 1011);
        });
        every_cut_with(role, without_keepalive(), |end| {
            assert_eq!(end.deadline(), None);
            end.wait(1000 * SECOND);
            assert_eq!((end.events(), end.frames()), (vec![], vec![]));
        });
    }
}

/// Rule: N5.
#[test]
fn a_closing_connection_is_not_pinged() {
    both_every_cut(|end| {
        end.close(1000, "");
        end.frames();
        assert_eq!(end.deadline(), Some(5 * SECOND));
        end.wait(100 * SECOND);
        assert_eq!(end.frames(), []);
        assert_eq!(end.closed().failure, Some(Deadline::Close.into()));
    });
}

/// Rule: N6.
#[test]
fn nothing_extends_the_close_deadline() {
    both_every_cut(|end| {
        end.close(1000, "");
        for _ in 0..4 {
            end.wait(SECOND);
            end.feed_frame(0x89, b"");
            end.feed_frame(0x81, b"more");
            end.close(1000, "");
        }
        assert_eq!(end.deadline(), Some(SECOND));
        end.wait(SECOND);
        assert_eq!(end.closed().failure, Some(Deadline::Close.into()));
        assert_eq!(end.connection.transport(), TransportState::Close);
    });
}

/// Rule: N6.
#[test]
fn the_close_timeout_is_the_configured_one_whichever_end_closes() {
    let config = Config::default().close_timeout(7 * SECOND);
    for role in BOTH {
        for begin in [true, false] {
            every_cut_with(role, config.clone(), |end| {
                if begin {
                    end.close(1000, "");
                } else {
                    end.feed_frame(0x88, &close_payload(1000, ""));
                }
                assert_eq!(end.deadline(), Some(7 * SECOND));
                end.wait(7 * SECOND - MOMENT);
                assert_ne!(end.connection.transport(), TransportState::Close);
                end.wait(MOMENT);
                assert_eq!(end.connection.transport(), TransportState::Close);
                assert_eq!(end.deadline(), None);
                assert_eq!(end.closed().is_clean(), !begin);
            });
        }
    }
}

/// Rule: N6.
#[test]
fn the_close_deadline_holds_also_while_our_close_cannot_be_written() {
    both_every_cut(|end| {
        end.writable = false;
        end.feed_frame(0x88, &close_payload(1000, ""));
        end.wait(5 * SECOND);
        assert_eq!(end.connection.transport(), TransportState::Close);
    });
}

/// Rule: N4.
#[test]
fn a_message_that_does_not_end_is_given_up() {
    for role in BOTH {
        every_cut_with(role, without_keepalive(), |end| {
            let frame = wire(role.peer(), 0x82, &[7; 1000]);
            end.feed(&frame[..1]);
            assert_eq!(end.deadline(), Some(60 * SECOND));
            for byte in &frame[1..60] {
                end.wait(SECOND);
                end.feed(&[*byte]);
            }
            assert_eq!(end.deadline(), Some(SECOND));
            assert_eq!(end.events(), []);
            end.wait(SECOND);
            end.expect_failure(Deadline::Message, 1008);
        });
    }
}

/// Rule: N4.
#[test]
fn neither_fragments_nor_pings_extend_a_message() {
    for role in BOTH {
        every_cut_with(role, without_keepalive(), |end| {
            end.feed_frame(0x01, b"");
            for _ in 0..59 {
                end.wait(SECOND);
                end.feed_frame(0x00, b"x");
                end.feed_frame(0x89, b"");
            }
            assert_eq!(end.deadline(), Some(SECOND));
            end.wait(SECOND);
            assert_eq!(end.closed().failure, Some(Deadline::Message.into()));
        });
    }
}

/// Rule: N4.
#[test]
fn each_message_has_its_own_time() {
    for role in BOTH {
        every_cut_with(role, without_keepalive(), |end| {
            let whole = wire(role.peer(), 0x81, b"text");
            end.feed(&whole[..3]);
            end.wait(50 * SECOND);
            end.feed(&whole[3..]);
            assert_eq!((end.events(), end.deadline()), (vec![text("text")], None));
            end.wait(50 * SECOND);
            end.feed(&whole[..1]);
            assert_eq!(end.deadline(), Some(60 * SECOND));
            // A message that ends with the beginning of the next in the same read.
            end.wait(50 * SECOND);
            end.feed(&[&whole[1..], &whole[..5]].concat());
            assert_eq!(end.deadline(), Some(60 * SECOND));
            end.feed(&whole[5..]);
            assert_eq!(end.deadline(), None);
            assert_eq!(end.events(), [text("text"), text("text")]);
        });
    }
}

/// Rule: N4.
#[test]
fn a_control_frame_that_does_not_end_is_given_up_too() {
    for role in BOTH {
        every_cut_with(role, without_keepalive(), |end| {
            let whole = wire(role.peer(), 0x89, b"slow");
            end.feed(&whole[..whole.len() - 1]);
            assert_eq!(end.deadline(), Some(60 * SECOND));
            end.feed(&whole[whole.len() - 1..]);
            assert_eq!(end.deadline(), None);
            end.feed(&whole[..4]);
            end.wait(60 * SECOND);
            end.events().retain(|event| !matches!(event, Event::Ping(_)));
            end.expect_failure(Deadline::Message, 1008);
        });
    }
}

/// Rule: N4.
#[test]
fn the_message_timeout_is_the_configured_one() {
    for role in BOTH {
        every_cut_with(role, without_keepalive().message_timeout(SECOND), |end| {
            end.feed_frame(0x01, b"");
            end.wait(SECOND);
            end.expect_failure(Deadline::Message, 1008);
        });
        every_cut_with(role, without_keepalive().message_timeout(None), |end| {
            end.feed_frame(0x01, b"");
            assert_eq!(end.deadline(), None);
        });
    }
}

#[test]
fn a_deadline_too_far_away_never_comes() {
    let keepalive = Keepalive::default().interval(Duration::MAX).timeout(Duration::MAX);
    let config = Config::default()
        .keepalive(keepalive)
        .message_timeout(Duration::MAX)
        .close_timeout(Duration::MAX);
    for role in BOTH {
        every_cut_with(role, config.clone(), |end| {
            end.feed_frame(0x01, b"begun");
            assert_eq!(end.deadline(), None);
            end.close(1000, "");
            assert_eq!(end.deadline(), None);
        });
    }
}

#[test]
fn telling_the_time_too_early_does_nothing() {
    both_every_cut(|end| {
        for _ in 0..10 {
            end.connection.handle_timeout(end.now);
        }
        end.settle();
        assert_eq!((end.events(), end.frames()), (vec![], vec![]));
        assert_eq!(end.role == Role::Client, end.connection.is_client());
    });
}
