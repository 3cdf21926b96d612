//! Compressed messages from an enemy.

use std::time::Duration;

use sockeye_proto::{Config, DeflateConfig, Event, Limit, Violation};

use sockeye_testing::frame::unmasked;

use crate::support::{
    Pair, client, client_with, deflated, failed, json, received, received_in, text, transmitted,
};

const MAX: usize = 1 << 20;

fn too_big() -> Option<(sockeye_proto::Failure, u16)> {
    Some((Limit::MessageSize { max: MAX }.into(), 1009))
}

/// Rule: D28.
#[test]
fn a_bomb_fails_when_the_limit_is_passed_not_when_it_has_burst() {
    let bomb = deflated(&vec![0; 10 * MAX]);
    assert!(bomb.len() < MAX / 50);
    let bytes = unmasked(0xc2, &bomb);
    assert_eq!(failed(&received(&mut client(), &bytes)), too_big());
    // A fifth of it is enough, and the rest never has to come.
    let beginning = &bytes[..bytes.len() / 5];
    assert_eq!(failed(&received(&mut client(), beginning)), too_big());
    // In fragments, each of them small.
    let fragments: Vec<u8> = bomb
        .chunks(500)
        .enumerate()
        .flat_map(|(i, part)| unmasked(if i == 0 { 0x42 } else { 0x00 }, part))
        .collect();
    assert_eq!(failed(&received_in(&mut client(), &fragments, 1000)), too_big());
}

/// Rule: D28.
#[test]
fn garbage_behind_a_bomb_changes_nothing() {
    let mut bomb = deflated(&vec![0; 2 * MAX]);
    bomb.extend_from_slice(&[0xff; 1000]);
    let mut bytes = unmasked(0xc2, &bomb);
    bytes.extend_from_slice(&unmasked(0xc1, b"\xff\xff\xff"));
    bytes.extend_from_slice(&unmasked(0x81, b"\xff"));
    for size in [1, 7, 1000, bytes.len()] {
        let events = received_in(&mut client(), &bytes, size);
        assert_eq!(events.len(), 1);
        assert_eq!(failed(&events), too_big());
    }
}

/// Rule: D28.
#[test]
fn the_limit_is_exact() {
    for (length, passes) in [(MAX, true), (MAX + 1, false)] {
        let events = received(&mut client(), &unmasked(0xc2, &deflated(&vec![7; length])));
        match events.as_slice() {
            [Event::Message(message)] => assert!(passes && message.len() == length),
            _ => assert!(!passes && failed(&events) == too_big()),
        }
    }
    // A message of nothing that compresses is a little longer on the wire than the limit.
    let noise: Vec<u8> =
        (0..MAX as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u8).collect();
    let mut stored = Vec::new();
    for chunk in noise.chunks(0xffff) {
        let length = chunk.len() as u16;
        stored.push(0);
        stored.extend_from_slice(&length.to_le_bytes());
        stored.extend_from_slice(&(!length).to_le_bytes());
        stored.extend_from_slice(chunk);
    }
    stored.push(0);
    let events = received(&mut client(), &unmasked(0xc2, &stored));
    assert_eq!(events, [Event::Message(noise.into())]);
}

/// Rule: D28.
#[test]
fn a_stream_that_never_comes_to_anything_is_too_long() {
    // Empty stored blocks, for ever.
    let empty = [0, 0, 0, 0xff, 0xff].repeat(10_000);
    let fragments = std::iter::once(unmasked(0x42, &empty))
        .chain(std::iter::repeat_n(unmasked(0x00, &empty), 30));
    let bytes: Vec<u8> = fragments.flatten().collect();
    assert_eq!(failed(&received_in(&mut client(), &bytes, 10_000)), too_big());
    let announced = [&[0xc2, 127][..], &(u64::MAX >> 1).to_be_bytes()].concat();
    assert_eq!(failed(&received(&mut client(), &announced)), too_big());
}

/// Rule: D29.
#[test]
fn what_is_no_deflate_data_fails_with_1007() {
    let cut = &deflated(json(1).as_bytes())[..100];
    let reserved_block: &[u8] = b"\x06";
    let bad_stored_length: &[u8] = b"\x00\x05\x00\x05\x00Hello";
    let too_far_back: &[u8] = b"\xf2\x00\x11\x00\x00";
    let trailing = [&deflated(b"Hello")[..], b"\x07\x07"].concat();
    for payload in [cut, reserved_block, bad_stored_length, too_far_back, &trailing] {
        for size in [1, 1000] {
            let events = received_in(&mut client(), &unmasked(0xc1, payload), size);
            assert_eq!(events.len(), 1);
            assert_eq!(failed(&events), Some((Violation::Compression.into(), 1007)));
        }
    }
}

/// Rule: D29.
#[test]
fn errors_are_noticed_before_the_frame_is_whole() {
    let mut client = client();
    let mut bytes = unmasked(0xc1, &[0xff; 100]);
    bytes.truncate(20);
    assert_eq!(failed(&received(&mut client, &bytes)), Some((Violation::Compression.into(), 1007)));
}

/// Rule: D20.
#[test]
fn last_blocks_for_ever_fail_soon() {
    // An empty last block in two bytes; each would start the inflater again on a full window.
    let mut payload = deflated(&vec![0; 40_000]);
    payload.extend_from_slice(&[0, 0, 0xff, 0xff]);
    payload.extend_from_slice(&[0x03, 0x00].repeat(400_000));
    let mut frame = unmasked(0xc2, &payload);
    // What has come is enough, of 800,000 bytes that are announced.
    frame.truncate(frame.len() - 2 * (400_000 - 1000));
    let events = received(&mut client(), &frame);
    assert_eq!(failed(&events), Some((Violation::Compression.into(), 1007)));
}

/// Rule: W87.
#[test]
fn compressed_text_fails_at_its_first_impossible_byte() {
    let mut deflate = zlib_rs::Deflate::new(6, false, 15);
    let mut output = vec![0; 1000];
    deflate
        .compress(b"so far so good \xff", &mut output, zlib_rs::DeflateFlush::SyncFlush)
        .unwrap();
    let sent = deflate.total_out() as usize;
    // The frame is announced to be longer: the rest has not come.
    let bytes = &unmasked(0xc1, &output)[..4 + sent];
    assert_eq!(
        failed(&received(&mut client(), bytes)),
        Some((Violation::InvalidUtf8.into(), 1007))
    );
    // Cut inside a character it is fine until the message ends there.
    let events = received(&mut client(), &unmasked(0xc1, &deflated(b"\xf0\x9f\x90")));
    assert_eq!(failed(&events), Some((Violation::InvalidUtf8.into(), 1007)));
}

#[test]
fn the_error_that_came_first_is_named_however_the_input_is_cut() {
    // What comes out of it is not UTF-8, and behind that it cannot be inflated.
    let bytes = unmasked(0xc1, &[0x33, 0xf8, 0x01, 0xff, 0xcb, 0x0a]);
    for size in 1..=bytes.len() {
        let events = received_in(&mut client(), &bytes, size);
        assert_eq!(failed(&events), Some((Violation::InvalidUtf8.into(), 1007)), "{size} at once");
    }
}

/// Rule: N2.
#[test]
fn fragments_are_counted_though_they_are_compressed() {
    let bytes = [unmasked(0x41, b""), unmasked(0x00, b"").repeat(5000)].concat();
    let failure = failed(&received(&mut client(), &bytes));
    assert_eq!(failure, Some((Limit::Fragments { max: 1024 }.into(), 1009)));
}

#[test]
fn a_connection_goes_on_after_another_on_its_thread_has_failed() {
    let config = DeflateConfig::default();
    let mut honest = Pair::new(&config);
    let message = json(3);
    honest.server.send(message.as_str().into()).unwrap();
    let wire = transmitted(&mut honest.server);
    for cut in [1, 50, wire.len() - 1] {
        // Half a message is here when another connection inflates garbage, and a whole one.
        let (mut input, rest) = (bytes::BytesMut::from(&wire[..cut]), &wire[cut..]);
        assert_eq!(honest.client.poll_event(&mut input, Duration::ZERO), None);
        received(&mut client_with(&config, Config::default()), &unmasked(0xc1, &[0xff; 50]));
        assert_eq!(Pair::new(&config).down(json(4)).1, [text(&json(4))]);
        input.extend_from_slice(rest);
        let event = honest.client.poll_event(&mut input, Duration::ZERO);
        assert_eq!(event, Some(text(&message)));
    }
}
