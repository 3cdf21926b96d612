//! Compressed messages in parts: never more at once than a part may have.

use sockeye_proto::{Config, Connection, DeflateConfig, Event, Limit, MessageKind, Violation};

use sockeye_testing::frame::unmasked;

use crate::support::{Pair, client_with, deflated, failed, json, received_in, text, transmitted};

/// What a part of a compressed message has at the most: 64 KiB and one step of inflating.
const MOST: usize = 80 << 10;

fn config() -> Config {
    Config::default().max_message_size(100_000).max_streamed_size(usize::MAX)
}

/// Receives bytes in pieces of `size`; gives the message that its parts make, and how many there were.
fn in_parts(connection: &mut Connection, bytes: &[u8], size: usize) -> (Vec<u8>, usize) {
    connection.receive_parts(true);
    let (mut message, mut count) = (Vec::new(), 0);
    let mut ended = false;
    for event in received_in(connection, bytes, size) {
        let Event::Part(part) = event else { panic!("{event:?}") };
        assert!(!ended && part.payload.len() <= MOST, "a part of {} bytes", part.payload.len());
        message.extend_from_slice(&part.payload);
        count += 1;
        ended = part.last;
    }
    assert!(ended);
    (message, count)
}

fn client() -> Connection {
    let deflate = DeflateConfig::default().server_takeover(true).threshold(0);
    client_with(&deflate, config())
}

/// Rule: D28.
#[test]
fn what_a_few_bytes_inflate_to_comes_in_parts_of_bounded_size() {
    let message = vec![0; 20 << 20];
    let bytes = unmasked(0xc2, &deflated(&message));
    assert!(bytes.len() < 30_000);
    for size in [bytes.len(), 1000] {
        let (got, count) = in_parts(&mut client(), &bytes, size);
        assert!(got == message && count >= (20 << 20) / MOST, "{count} parts");
    }
}

#[test]
fn parts_of_any_message_make_the_message_however_it_is_cut() {
    let lines: String = (0..200).map(json).collect();
    let noise: Vec<u8> =
        (0..300_000_u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u8).collect();
    for message in [&b""[..], b"x", lines.as_bytes(), &noise, &[7; 1 << 20]] {
        let compressed = deflated(message);
        let fragments = |size: usize| {
            let last = compressed.chunks(size).count().max(1) - 1;
            let mut chunks = compressed.chunks(size).enumerate();
            chunks.by_ref().fold(Vec::new(), |mut bytes, (i, chunk)| {
                let first = if i == 0 { 0x42 } else { 0x00 } | if i == last { 0x80 } else { 0 };
                bytes.extend(unmasked(first, chunk));
                bytes
            })
        };
        for fragment in [usize::MAX, 10_000] {
            for size in [7, 50_000, usize::MAX] {
                let bytes = fragments(fragment.min(compressed.len()));
                let (got, _) = in_parts(&mut client(), &bytes, size.min(bytes.len()));
                assert!(got == message, "{fragment} {size}");
            }
        }
    }
}

/// Rule: D20.
#[test]
fn a_message_in_parts_goes_on_behind_a_block_that_said_it_was_the_last() {
    let beginning = json(1).repeat(100);
    let mut deflate = zlib_rs::Deflate::new(9, false, 15);
    let mut payload = vec![0; beginning.len()];
    deflate.compress(beginning.as_bytes(), &mut payload, zlib_rs::DeflateFlush::Finish).unwrap();
    payload.truncate(deflate.total_out() as usize);
    // What follows is in the window only because it was in parts before.
    let reference = {
        let mut deflate = zlib_rs::Deflate::new(9, false, 15);
        let window = &beginning.as_bytes()[beginning.len() - 32_768..];
        deflate.set_dictionary(window).unwrap();
        let mut output = vec![0; 1000];
        let again = &window[1000..1200];
        deflate.compress(again, &mut output, zlib_rs::DeflateFlush::SyncFlush).unwrap();
        output.truncate(deflate.total_out() as usize - 4);
        assert!(output.len() < 20, "it refers back");
        output
    };
    payload.extend(reference);
    let expected =
        [beginning.as_bytes(), &beginning.as_bytes()[beginning.len() - 32_768..][1000..1200]]
            .concat();
    for size in [1, 100, payload.len()] {
        let (got, _) = in_parts(&mut client(), &unmasked(0xc1, &payload), size);
        assert!(got == expected, "{size}");
    }
}

#[test]
fn what_was_received_in_parts_is_referred_back_to_by_the_next_message() {
    let deflate = DeflateConfig::default().server_takeover(true).threshold(0);
    let mut pair = Pair::with_config(&deflate, config());
    let long: String = (0..200).map(json).collect();
    pair.server.send(long.as_str().into()).unwrap();
    let (got, _) = in_parts(&mut pair.client, &transmitted(&mut pair.server), 777);
    assert!(got == long.as_bytes());
    let (wire, events) = pair.down(json(199));
    assert_eq!(events, [text(&json(199))]);
    assert!(wire.len() < 100, "{} bytes: it refers back", wire.len());
}

#[test]
fn a_message_that_inflates_beyond_the_limit_of_whole_ones_waits_until_parts_are_asked_for() {
    for length in [100_001, 1_000_000] {
        let message: Vec<u8> = (0..length).map(|i: u32| (i % 251) as u8).collect();
        let bytes = unmasked(0xc2, &deflated(&message));
        for size in [10, bytes.len()] {
            let mut client = client();
            let mut input = bytes::BytesMut::new();
            let now = std::time::Duration::ZERO;
            for piece in bytes.chunks(size) {
                input.extend_from_slice(piece);
                assert_eq!(client.poll_event(&mut input, now), None);
            }
            assert!(client.is_oversized());
            client.receive_parts(true);
            let mut got = Vec::new();
            while let Some(event) = client.poll_event(&mut input, now) {
                let Event::Part(part) = event else { panic!("{event:?}") };
                assert!(got.is_empty() || part.payload.len() <= MOST);
                assert_eq!(part.kind, MessageKind::Binary);
                got.extend_from_slice(&part.payload);
            }
            assert!(got == message && input.is_empty() && !client.is_oversized());
        }
    }
}

/// Rule: D28.
#[test]
fn parts_of_a_compressed_message_have_their_limit_too() {
    let max = 300_000;
    let deflate = DeflateConfig::default().server_takeover(true).threshold(0);
    for (length, passes) in [(max, true), (max + 1, false)] {
        let config = Config::default().max_message_size(1000).max_streamed_size(max);
        let mut client = client_with(&deflate, config);
        client.receive_parts(true);
        let events = received_in(&mut client, &unmasked(0xc2, &deflated(&vec![7; length])), 100);
        match failed(&events) {
            None => assert!(passes),
            failure => {
                assert!(!passes);
                assert_eq!(failure, Some((Limit::MessageSize { max }.into(), 1009)));
            }
        }
    }
}

/// Rule: D29.
#[test]
fn what_is_no_deflate_data_fails_in_parts_too() {
    let cut = &deflated(&[7; 1 << 20])[..100];
    let trailing = [&deflated(b"Hello")[..], b"\x07\x07"].concat();
    for payload in [cut, b"\x06", &trailing] {
        let mut client = client();
        client.receive_parts(true);
        let events = received_in(&mut client, &unmasked(0xc1, payload), 1000);
        assert_eq!(failed(&events), Some((Violation::Compression.into(), 1007)));
    }
}
