//! Messages on the wire (RFC 7692 §6, §7.2).

use proptest::prelude::*;
use sockeye_proto::{
    Compression, Config, Connection, DeflateConfig, Event, Fragment, Message, MessageKind,
    Violation,
};

use sockeye_testing::frame::unmasked;

use crate::support::{
    Pair, TAKEOVER, accept, bits, client, client_with, deflated, failed, json, received,
    received_in, text, transmitted,
};

fn takeover() -> DeflateConfig {
    DeflateConfig::default().server_takeover(true).client_takeover(true).threshold(0)
}

/// A server that compresses all that it may, as the RFC's examples do.
fn server() -> Connection {
    let (agreed, _) = accept(TAKEOVER, &takeover()).unwrap();
    Connection::server(Config::default(), std::time::Duration::ZERO).with_deflate(agreed)
}

/// Rules: D18, D21.
#[test]
fn a_message_is_sent_as_the_rfc_shows_it() {
    let mut server = server();
    server.send("Hello".into()).unwrap();
    assert_eq!(transmitted(&mut server), b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    // The second refers to the first (RFC 7692 §7.2.3.2).
    server.send("Hello".into()).unwrap();
    assert_eq!(transmitted(&mut server), b"\xc1\x05\xf2\x00\x11\x00\x00");
}

/// Rule: D24.
#[test]
fn a_message_of_the_rfc_is_understood() {
    let mut client = client();
    let hello = [text("Hello")];
    // RFC 7692 §7.2.3.1: one block; the same in fragments.
    assert_eq!(received(&mut client, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"), hello);
    let fragments = b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00";
    assert_eq!(received(&mut client, fragments), hello);
    // §7.2.3.2: it refers to the one before.
    assert_eq!(received(&mut client, b"\xc1\x05\xf2\x00\x11\x00\x00"), hello);
    // §7.2.3.3: a stored block.
    let stored = b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    assert_eq!(received(&mut client, stored), hello);
    // §7.2.3.4: a block that says it is the last.
    let last = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    assert_eq!(received(&mut client, last), hello);
    // §7.2.3.5: two blocks.
    let blocks = b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    assert_eq!(received(&mut client, blocks), hello);
    // And the window is still right after all of them.
    assert_eq!(received(&mut client, b"\xc1\x05\xf2\x00\x11\x00\x00"), hello);
}

/// Rules: D12, D25.
#[test]
fn without_takeover_a_message_starts_from_an_empty_window() {
    let config = DeflateConfig::default().threshold(0);
    let mut pair = Pair::new(&config);
    let message = json(1);
    let (first, _) = pair.down(message.as_str());
    let (second, events) = pair.down(message.as_str());
    assert_eq!(first, second);
    assert_eq!(events, [text(&message)]);
    // What refers to a message before is an error.
    let mut client = client_with(&config, Config::default());
    assert_eq!(received(&mut client, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"), [text("Hello")]);
    let events = received(&mut client, b"\xc1\x05\xf2\x00\x11\x00\x00");
    assert_eq!(failed(&events), Some((Violation::Compression.into(), 1007)));
}

/// Rule: D12.
#[test]
fn with_takeover_the_same_message_again_is_next_to_nothing() {
    let mut pair = Pair::new(&takeover());
    let message = json(1);
    let (first, _) = pair.down(message.as_str());
    let (second, events) = pair.down(message.as_str());
    assert_eq!(events, [text(&message)]);
    assert!(second.len() * 10 < first.len(), "{} after {}", second.len(), first.len());
    let (first, _) = pair.up(message.as_str());
    let (second, events) = pair.up(message.as_str());
    assert_eq!(events, [text(&message)]);
    assert!(second * 10 < first, "{second} after {first}");
}

/// Rule: D11.
#[test]
fn a_sender_may_forget_at_any_time() {
    let mut pair = Pair::new(&takeover());
    let message = json(1);
    let (first, _) = pair.down(message.as_str());
    pair.server.release_deflate();
    let (second, events) = pair.down(message.as_str());
    assert_eq!((second, events), (first, vec![text(&message)]));
}

/// Rules: D19, D21.
#[test]
fn fragments_are_one_stream_with_rsv1_on_the_first() {
    for config in [takeover(), DeflateConfig::default()] {
        let mut pair = Pair::new(&config);
        let message = json(1);
        for end in [&message[600..], ""] {
            let parts = [&message[..300], "", &message[300..600], end];
            let mut frames = Vec::new();
            for (i, part) in parts.into_iter().enumerate() {
                let part = bytes::Bytes::copy_from_slice(part.as_bytes());
                let last = if i == parts.len() - 1 { Fragment::Last } else { Fragment::More };
                pair.server
                    .send_fragment_with(MessageKind::Text, part, last, Compression::On)
                    .unwrap();
                frames.push(transmitted(&mut pair.server));
            }
            let first: Vec<_> = frames.iter().map(|frame| frame[0]).collect();
            assert_eq!(first, [0x41, 0x00, 0x00, 0x80]);
            // A flush ends in an empty stored block, which only the last fragment leaves out.
            assert!(frames[0].ends_with(&[0, 0, 0xff, 0xff]));
            assert!(!frames[3].ends_with(&[0, 0, 0xff, 0xff]));
            let events = received(&mut pair.client, &frames.concat());
            assert_eq!(events, [text(&(message[..600].to_owned() + end))]);
        }
    }
}

/// Rule: D20.
#[test]
fn blocks_may_follow_one_that_says_it_is_the_last() {
    let mut client = client();
    // "Hello" in a last block, then "Hello" in one that refers back to it, twice over.
    let payload =
        [&b"\xf3\x48\xcd\xc9\xc9\x07\x00"[..], b"\xf3\x00\x11\x00", b"\xf2\x00\x11\x00\x00"];
    for size in 1..5 {
        let frame = unmasked(0xc1, &payload.concat());
        assert_eq!(received_in(&mut client, &frame, size), [text("HelloHelloHello")]);
    }
    // In every fragment.
    let fragments =
        [unmasked(0x41, payload[0]), unmasked(0x00, payload[1]), unmasked(0x80, payload[2])];
    assert_eq!(received(&mut client, &fragments.concat()), [text("HelloHelloHello")]);
    // A sender that forgot the byte behind it is understood too.
    assert_eq!(received(&mut client, &unmasked(0xc1, payload[0])), [text("Hello")]);
}

/// Rule: D22.
#[test]
fn rsv1_may_not_stand_on_a_continuation_or_a_control_frame() {
    for bytes in [&b"\x41\x03\xf2\x48\xcd\xc0\x04\xc9\xc9\x07\x00"[..], b"\xc9\x00", b"\xc8\x00"] {
        let failure = failed(&received(&mut client(), bytes));
        assert_eq!(failure, Some((Violation::ReservedBits(0b100).into(), 1002)));
    }
}

/// Rule: D23.
#[test]
fn uncompressed_messages_do_not_touch_the_window() {
    let mut pair = Pair::new(&takeover());
    let message = json(1);
    pair.down(message.as_str());
    pair.server.send_with("between".into(), Compression::Off).unwrap();
    let between = transmitted(&mut pair.server);
    assert_eq!(between, b"\x81\x07between");
    assert_eq!(received(&mut pair.client, &between), [text("between")]);
    let (again, events) = pair.down(message.as_str());
    assert!(again.len() < 50);
    assert_eq!(events, [text(&message)]);

    let mut client = client();
    received(&mut client, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    assert_eq!(received(&mut client, b"\x81\x05World"), [text("World")]);
    assert_eq!(received(&mut client, b"\xc1\x05\xf2\x00\x11\x00\x00"), [text("Hello")]);
}

/// Rules: D25, D26.
#[test]
fn the_agreed_windows_carry_messages_of_any_size() {
    for window in 8..=15 {
        for takeover in [false, true] {
            let config = DeflateConfig::default()
                .server_takeover(takeover)
                .client_takeover(takeover)
                .server_window_bits(bits(window))
                .client_window_bits(bits(window));
            let mut pair = Pair::new(&config);
            for i in 0..6 {
                let message = json(i % 2).repeat(1 + 20 * (i as usize / 2));
                assert_eq!(pair.down(message.as_str()).1, [text(&message)]);
                assert_eq!(pair.up(message.as_str()).1, [text(&message)]);
            }
        }
    }
}

/// Rule: D27.
#[test]
fn an_empty_message_may_come_compressed() {
    let mut client = client();
    assert_eq!(received(&mut client, b"\xc1\x01\x00"), [text("")]);
    let mut server = server();
    for _ in 0..3 {
        server.send("".into()).unwrap();
        let wire = transmitted(&mut server);
        assert_eq!(wire.last(), Some(&0));
        assert_eq!(received(&mut client, &wire), [text("")]);
    }
}

/// Rule: D30.
#[test]
fn fragments_go_uncompressed_unless_asked_for() {
    let mut pair = Pair::new(&DeflateConfig::default());
    pair.server.send_fragment(MessageKind::Text, json(1).into(), Fragment::More).unwrap();
    pair.server.send_fragment(MessageKind::Text, json(2).into(), Fragment::Last).unwrap();
    let wire = transmitted(&mut pair.server);
    assert_eq!(wire[0], 0x01);
    assert_eq!(received(&mut pair.client, &wire), [text(&(json(1) + &json(2)))]);
}

/// Rule: D31.
#[test]
fn control_frames_are_never_compressed() {
    let mut pair = Pair::new(&takeover());
    let payload = bytes::Bytes::from(vec![b'a'; 125]);
    pair.server.ping(payload.clone()).unwrap();
    pair.server.pong(payload).unwrap();
    let wire = transmitted(&mut pair.server);
    assert_eq!((wire[0], wire[127], wire.len()), (0x89, 0x8a, 254));
}

/// Rule: D32.
#[test]
fn a_message_can_be_kept_out_of_compression() {
    let mut pair = Pair::new(&DeflateConfig::default());
    let secret = json(1);
    pair.server.send_with(secret.as_str().into(), Compression::Off).unwrap();
    let wire = transmitted(&mut pair.server);
    assert_eq!(wire, unmasked(0x81, secret.as_bytes()));
}

#[test]
fn short_and_incompressible_messages_go_as_they_are() {
    let mut pair = Pair::new(&DeflateConfig::default());
    assert_eq!(pair.down("a".repeat(255)).0[0], 0x81);
    assert_eq!(pair.down("a".repeat(256)).0[0], 0xc1);
    let noise: Vec<u8> =
        (0..4000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let stored = deflated(&noise).len() >= noise.len();
    assert_eq!(pair.down(noise).0[0], if stored { 0x82 } else { 0xc2 });
}

fn any_message() -> impl Strategy<Value = Message> {
    let words =
        proptest::sample::select(vec!["salmon", " swims ", "both", "ways", "\u{1f41f}", "0"]);
    prop_oneof![
        proptest::collection::vec(words, 0..400).prop_map(|words| Message::from(words.concat())),
        proptest::collection::vec(any::<u8>(), 0..3000).prop_map(Message::from),
    ]
}

proptest! {
    #[test]
    fn every_message_arrives_however_it_is_cut(
        messages in proptest::collection::vec((any_message(), any::<bool>()), 1..6),
        window in 8u8..=15,
        takeover: bool,
        level in 1u8..=9,
        fragments in 1usize..4,
        size in 1usize..2000,
    ) {
        let config = DeflateConfig::default()
            .server_takeover(takeover)
            .client_takeover(takeover)
            .server_window_bits(bits(window))
            .client_window_bits(bits(window))
            .level(level)
            .threshold(0);
        let mut pair = Pair::new(&config);
        for (message, compress) in messages {
            let compress = if compress { Compression::On } else { Compression::Off };
            let expected = [Event::Message(message.clone())];
            let (kind, payload) = (message.kind(), message.clone().into_bytes());
            let step = payload.len().div_ceil(fragments).max(1);
            for at in (0..payload.len().max(1)).step_by(step) {
                let end = (at + step).min(payload.len());
                let part = payload.slice(at..end);
                let last = if end == payload.len() { Fragment::Last } else { Fragment::More };
                pair.server.send_fragment_with(kind, part, last, compress).unwrap();
            }
            let wire = transmitted(&mut pair.server);
            prop_assert_eq!(received_in(&mut pair.client, &wire, size), expected.clone());
            pair.client.send_with(message, compress).unwrap();
            let wire = transmitted(&mut pair.client);
            prop_assert_eq!(received_in(&mut pair.server, &wire, size), expected);
        }
    }

    #[test]
    fn any_bytes_give_messages_or_one_failure(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..5),
        size in 1usize..300,
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|payload| unmasked(0xc2, payload)).collect();
        let whole = received(&mut client(), &bytes);
        let in_pieces = received_in(&mut client(), &bytes, size);
        prop_assert_eq!(&whole, &in_pieces);
        let ends = whole.iter().filter(|event| matches!(event, Event::Closed(_))).count();
        prop_assert!(ends <= 1);
    }
}
