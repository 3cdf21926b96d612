//! Frames (RFC 6455 §5.1–§5.3, §5.7): masks, reserved bits, opcodes, lengths.

use bytes::{Bytes, BytesMut};
use sockeye_proto::{CloseCode, Config, Fragment, Message, MessageKind, Violation};

use crate::harness::{
    BOTH, Cut, End, Frame, Role, binary, both_every_cut, every_cut, every_cut_with, key,
    read_frames, text, wire, wire_header,
};

/// Rule: W54.
#[test]
fn a_server_closes_on_an_unmasked_frame() {
    for first in [0x81, 0x82, 0x01, 0x88, 0x89, 0x8a] {
        every_cut(Role::Server, |end| {
            end.feed(&wire(Role::Server, first, b""));
            end.expect_failure(Violation::Unmasked, 1002);
        });
    }
}

/// Rule: W56.
#[test]
fn a_client_closes_on_a_masked_frame() {
    for first in [0x81, 0x82, 0x01, 0x88, 0x89, 0x8a] {
        every_cut(Role::Client, |end| {
            end.feed(&wire(Role::Client, first, b""));
            end.expect_failure(Violation::Masked, 1002);
        });
    }
}

/// Sends something of everything; gives the frames that it makes.
fn send_everything(end: &mut End) -> Vec<Frame> {
    let (small, large) = (vec![1; 200], vec![2; 70_000]);
    let connection = &mut end.connection;
    connection.send(Message::from("text")).unwrap();
    connection.send(Message::from(small.clone())).unwrap();
    connection.send(Message::from(large.clone())).unwrap();
    connection.ping(Bytes::from_static(b"ping")).unwrap();
    connection.pong(Bytes::from_static(b"pong")).unwrap();
    connection.send_fragment(MessageKind::Text, Bytes::from_static(b"a"), Fragment::More).unwrap();
    connection.send_fragment(MessageKind::Text, Bytes::new(), Fragment::Last).unwrap();
    connection.close(Some(CloseCode::NORMAL.into()), end.now);
    end.settle();
    vec![
        (0x81, b"text".to_vec()),
        (0x82, small),
        (0x82, large),
        (0x89, b"ping".to_vec()),
        (0x8a, b"pong".to_vec()),
        (0x01, b"a".to_vec()),
        (0x80, vec![]),
        (0x88, vec![0x03, 0xe8]),
    ]
}

/// Rules: W53, W66, W67, W95.
#[test]
fn a_client_masks_every_frame_with_a_fresh_key() {
    every_cut(Role::Client, |end| {
        let expected = send_everything(end);
        let (frames, keys): (Vec<_>, Vec<_>) =
            read_frames(&end.sent(), Role::Client).into_iter().unzip();
        assert_eq!(frames, expected);
        let fresh: Vec<_> = (1..=expected.len() as u32).map(|n| Some(key(n))).collect();
        assert_eq!(keys, fresh);
    });
}

/// Rule: W55.
#[test]
fn a_server_masks_nothing() {
    every_cut(Role::Server, |end| {
        let expected = send_everything(end);
        assert_eq!(end.frames(), expected);
    });
}

/// Rule: W95.
#[test]
fn a_payload_that_others_hold_too_is_masked_in_a_copy() {
    let shared = Bytes::from(vec![7; 70_000]);
    every_cut(Role::Client, |end| {
        end.send(shared.clone());
        assert_eq!(end.frames(), [(0x82, shared.to_vec())]);
    });
    assert!(shared.iter().all(|&byte| byte == 7));
}

/// Rules: W95, W101.
#[test]
fn the_examples_of_the_rfc_read_as_it_says() {
    every_cut(Role::Client, |end| {
        end.feed(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        end.feed(&[0x01, 0x03, 0x48, 0x65, 0x6c]);
        end.feed(&[0x80, 0x02, 0x6c, 0x6f]);
        assert_eq!(end.events(), [text("Hello"), text("Hello")]);
        let large = vec![0xab; 65536];
        end.feed(&[&[0x82, 0x7e, 0x01, 0x00], &large[..256]].concat());
        end.feed(&[&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], &large[..]].concat());
        assert_eq!(end.events(), [binary(&large[..256]), binary(&large)]);
    });
    every_cut(Role::Server, |end| {
        end.feed(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        assert_eq!(end.events(), [text("Hello")]);
        end.feed(&[0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        assert_eq!(end.sent(), [0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    });
}

/// Rules: W57, W58, W63, W64, W65, W119.
#[test]
fn reserved_bits_without_an_extension_are_refused() {
    for rsv in 1..=7u8 {
        for opcode in [0x0, 0x1, 0x2, 0x8, 0x9, 0xa] {
            both_every_cut(|end| {
                end.feed_frame(0x80 | rsv << 4 | opcode, b"");
                end.expect_failure(Violation::ReservedBits(rsv), 1002);
            });
        }
    }
}

/// Rule: W59.
#[test]
fn unknown_opcodes_are_refused() {
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        for fin in [0x00, 0x80] {
            both_every_cut(|end| {
                end.feed_frame(fin | opcode, b"");
                end.expect_failure(Violation::UnknownOpcode(opcode), 1002);
            });
        }
    }
}

/// Rule: W60.
#[test]
fn a_length_with_its_highest_bit_set_is_refused() {
    both_every_cut(|end| {
        end.feed(&wire_header(end.role.peer(), 0x82, 1 << 63));
        end.expect_failure(Violation::LengthTooBig, 1002);
    });
}

/// A header whose length is in a longer form than it needs, and a payload of zeros.
fn long_form(role: Role, form: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![0x82, form];
    let all = length.to_be_bytes();
    bytes.extend_from_slice(if form == 126 { &all[6..] } else { &all });
    if role == Role::Client {
        bytes[1] |= 0x80;
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes.resize(bytes.len() + length as usize, 0);
    bytes
}

/// Rule: W61.
#[test]
fn a_length_not_in_its_shortest_form_is_refused() {
    for (form, length) in [(126, 0), (126, 125), (127, 0), (127, 126), (127, 65535)] {
        both_every_cut(|end| {
            end.feed(&long_form(end.role.peer(), form, length));
            end.expect_failure(Violation::LongForm(length), 1002);
        });
    }
}

/// Rule: W61.
#[test]
fn a_length_not_in_its_shortest_form_can_be_let_through() {
    let config = Config::default().accept_long_lengths(true);
    for (form, length) in [(126, 0), (126, 125), (127, 0), (127, 126), (127, 65535)] {
        for role in BOTH {
            every_cut_with(role, config.clone(), |end| {
                end.feed(&long_form(role.peer(), form, length));
                assert_eq!(end.events(), [binary(&vec![0; length as usize])]);
            });
        }
    }
}

/// Rules: W60, W61, W100.
#[test]
fn every_form_of_length_is_received_and_sent() {
    for size in [0, 1, 124, 125, 126, 127, 4095, 4096, 65534, 65535, 65536, 65537] {
        both_every_cut(|end| {
            let payload: Vec<u8> = (0..size).map(|i| i as u8).collect();
            end.feed_frame(0x82, &payload);
            assert_eq!(end.events(), [binary(&payload)]);
            end.send(payload.clone());
            assert_eq!(end.frames(), [(0x82, payload)]);
        });
    }
}

/// Rule: W123.
#[test]
fn a_frame_is_judged_by_the_first_byte_that_is_wrong() {
    for (bytes, violation) in [
        (&[0x83][..], Violation::UnknownOpcode(3)),
        // The opcode comes before the reserved bits, these before the mask …
        (&[0xf3], Violation::UnknownOpcode(3)),
        (&[0xa9], Violation::ReservedBits(0b010)),
        // … the mask before the rules of control frames, these before the length.
        (&[0x09, 0x7f], Violation::Unmasked),
        (&[0x09, 0xff], Violation::FragmentedControl),
        (&[0x89, 0xff], Violation::LongControl),
        (&[0x82, 0xfe, 0x00, 0x00], Violation::LongForm(0)),
    ] {
        every_cut(Role::Server, |end| {
            end.feed(bytes);
            end.expect_failure(violation, 1002);
        });
    }
}

/// Rule: W105.
#[test]
fn what_follows_a_violation_in_the_same_read_is_not_processed() {
    both_every_cut(|end| {
        let peer = end.role.peer();
        let valid = wire(peer, 0x81, b"before");
        let after = [wire(peer, 0x81, b"after"), wire(peer, 0x89, b"")].concat();
        end.feed(&[valid, wire(peer, 0x83, b""), after].concat());
        assert_eq!(end.events()[..1], [text("before")]);
        assert_eq!(end.frames().len(), 1);
        assert_eq!(end.closed().failure, Some(Violation::UnknownOpcode(3).into()));
    });
}

#[test]
fn a_message_that_came_in_one_frame_is_a_slice_of_the_input() {
    for role in BOTH {
        for first in [0x81, 0x82] {
            let end = End::new(role, Config::default(), Cut::Whole);
            let mut connection = end.connection;
            let bytes = wire(role.peer(), first, &[b'x'; 1000]);
            let mut input = BytesMut::from(&bytes[..]);
            let payload = input[bytes.len() - 1000..].as_ptr();
            let event = connection.poll_event(&mut input, end.now);
            let Some(sockeye_proto::Event::Message(message)) = event else { panic!("{event:?}") };
            assert_eq!(message.as_bytes(), [b'x'; 1000]);
            assert_eq!(message.as_bytes().as_ptr(), payload);
        }
    }
}

#[test]
fn what_is_missing_from_a_frame_is_known_as_soon_as_its_header_is() {
    for role in BOTH {
        let end = End::new(role, Config::default(), Cut::Whole);
        let mut connection = end.connection;
        let mut input = BytesMut::from(&wire_header(role.peer(), 0x82, 1000)[..]);
        assert_eq!(connection.missing(0), 0);
        assert_eq!(connection.poll_event(&mut input, end.now), None);
        assert_eq!(connection.missing(input.len()), 1000);
        input.extend_from_slice(&[0; 400]);
        assert_eq!(connection.poll_event(&mut input, end.now), None);
        assert_eq!(connection.missing(input.len()), 600);
        input.extend_from_slice(&[0; 600]);
        assert!(connection.poll_event(&mut input, end.now).is_some());
        assert_eq!(connection.missing(input.len()), 0);
    }
}
