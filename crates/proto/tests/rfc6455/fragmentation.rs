//! Messages in several frames (RFC 6455 §5.4).

use bytes::Bytes;
use sockeye_proto::{Event, Fragment, Message, MessageKind, Misuse, Violation};

use crate::harness::{Cut, End, Pair, binary, both_every_cut, text};

/// Rules: W70, W73, W78.
#[test]
fn fragments_are_joined_in_order_and_whole_messages_go_on_between() {
    both_every_cut(|end| {
        end.feed_frame(0x81, b"one");
        end.feed_frame(0x01, b"t");
        end.feed_frame(0x00, b"w");
        end.feed_frame(0x80, b"o");
        end.feed_frame(0x02, b"thr");
        end.feed_frame(0x80, b"ee");
        end.feed_frame(0x82, b"four");
        assert_eq!(end.events(), [text("one"), text("two"), binary(b"three"), binary(b"four")]);
    });
}

/// Rule: W73.
#[test]
fn fragments_may_be_empty() {
    both_every_cut(|end| {
        for payloads in [["", "", ""], ["a", "", ""], ["", "a", ""], ["", "", "a"]] {
            end.feed_frame(0x01, payloads[0].as_bytes());
            end.feed_frame(0x00, payloads[1].as_bytes());
            end.feed_frame(0x80, payloads[2].as_bytes());
            assert_eq!(end.events(), [text(&payloads.concat())]);
        }
    });
}

/// Rule: W72.
#[test]
fn control_frames_come_through_inside_a_fragmented_message() {
    both_every_cut(|end| {
        end.feed_frame(0x01, b"a");
        end.feed_frame(0x89, b"ping");
        end.feed_frame(0x00, b"b");
        end.feed_frame(0x8a, b"pong");
        assert_eq!(end.events(), [Event::Ping("ping".into()), Event::Pong("pong".into())]);
        assert_eq!(end.frames(), [(0x8a, b"ping".to_vec())]);
        end.feed_frame(0x80, b"c");
        assert_eq!(end.events(), [text("abc")]);
    });
}

/// Rule: W71.
#[test]
fn a_message_inside_another_is_refused() {
    for begun in [0x01, 0x02] {
        for first in [0x81, 0x82, 0x01, 0x02] {
            both_every_cut(|end| {
                end.feed_frame(begun, b"begun");
                end.feed_frame(first, b"another");
                end.expect_failure(Violation::Interleaved, 1002);
            });
        }
    }
}

/// Rule: W71.
#[test]
fn a_continuation_without_a_message_is_refused() {
    for first in [0x00, 0x80] {
        both_every_cut(|end| {
            end.feed_frame(first, b"of what?");
            end.expect_failure(Violation::Continuation, 1002);
        });
        both_every_cut(|end| {
            end.feed_frame(0x81, b"whole");
            end.feed_frame(0x02, b"in ");
            end.feed_frame(0x80, b"two");
            end.feed_frame(first, b"of what?");
            end.expect_failure(Violation::Continuation, 1002);
        });
    }
}

fn fragment(end: &mut End, kind: MessageKind, payload: &'static str, fragment: Fragment) {
    end.connection.send_fragment(kind, Bytes::from(payload), fragment).unwrap();
    end.settle();
}

/// Rules: W89, W92, W93, W94, W96.
#[test]
fn the_first_frame_has_the_opcode_and_the_last_has_fin() {
    both_every_cut(|end| {
        for (kind, first) in [(MessageKind::Text, 0x01), (MessageKind::Binary, 0x02)] {
            fragment(end, kind, "a", Fragment::More);
            fragment(end, kind, "", Fragment::More);
            fragment(end, kind, "b", Fragment::Last);
            let expected = [(first, b"a".to_vec()), (0x00, vec![]), (0x80, b"b".to_vec())];
            assert_eq!(end.frames(), expected);
            fragment(end, kind, "c", Fragment::Last);
            assert_eq!(end.frames(), [(0x80 | first, b"c".to_vec())]);
        }
    });
}

/// Rules: W71, W78.
#[test]
fn the_application_cannot_mix_messages() {
    both_every_cut(|end| {
        fragment(end, MessageKind::Text, "a", Fragment::More);
        let other = end.connection.send_fragment(MessageKind::Binary, Bytes::new(), Fragment::Last);
        assert_eq!(other, Err(Misuse::Fragmented));
        // Nor is a whole message taken for the last fragment.
        for whole in [Message::from(vec![1]), Message::from("b")] {
            assert_eq!(end.connection.send(whole), Err(Misuse::Fragmented));
        }
        fragment(end, MessageKind::Text, "b", Fragment::Last);
        end.send(vec![1]);
        let expected = [(0x01, b"a".to_vec()), (0x80, b"b".to_vec()), (0x82, vec![1])];
        assert_eq!(end.frames(), expected);
    });
}

/// Rule: W72.
#[test]
fn control_frames_go_out_inside_a_fragmented_message() {
    both_every_cut(|end| {
        fragment(end, MessageKind::Text, "a", Fragment::More);
        end.connection.ping(Bytes::from_static(b"?")).unwrap();
        end.feed_frame(0x89, b"!");
        fragment(end, MessageKind::Text, "b", Fragment::Last);
        let frames = end.frames();
        let firsts: Vec<_> = frames.iter().map(|(first, _)| *first).collect();
        assert_eq!(firsts, [0x01, 0x89, 0x8a, 0x80]);
    });
}

/// Rules: W70, W73.
#[test]
fn fragments_of_one_end_are_one_message_at_the_other() {
    for cut in crate::harness::CUTS {
        let mut pair = Pair::new(&sockeye_proto::Config::default(), cut);
        // A character may lie across fragments.
        for (piece, fragment) in
            [(&b"caf\xc3"[..], Fragment::More), (b"", Fragment::More), (b"\xa9", Fragment::Last)]
        {
            let piece = Bytes::from_static(piece);
            pair.client
                .connection
                .send_fragment(MessageKind::Text, piece.clone(), fragment)
                .unwrap();
            pair.server.connection.send_fragment(MessageKind::Text, piece, fragment).unwrap();
        }
        pair.client.settle();
        pair.server.settle();
        pair.drive();
        assert_eq!(pair.server.events(), [text("café")]);
        assert_eq!(pair.client.events(), [text("café")]);
    }
}

/// Rule: W100.
#[test]
fn a_message_may_be_cut_into_frames_of_one_byte() {
    let end = &mut End::new(crate::harness::Role::Server, Default::default(), Cut::Random(9));
    let message: String = "naïve ☃ 🐟".repeat(10);
    let (last, rest) = message.as_bytes().split_last().unwrap();
    for (i, byte) in rest.iter().enumerate() {
        end.feed_frame(if i == 0 { 0x01 } else { 0x00 }, &[*byte]);
    }
    assert_eq!(end.events(), []);
    end.feed_frame(0x80, &[*last]);
    assert_eq!(end.events(), [text(&message)]);
}
