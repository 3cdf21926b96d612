//! Messages at the limits and beyond: 1 MiB, 1024 fragments (RFC 6455 §10.4).

use sockeye_testing::frame::{BINARY, CONTINUATION, FIN, TEXT, header, masked};
use sockeye_tests::peer::Chunks;

use crate::{Scene, assert_close};

const MIB: usize = 1 << 20;

/// Rule: W121.
#[test]
fn a_message_of_1_mib_is_served() {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    let payload = vec![0xA5; MIB];
    peer.send(&masked(BINARY, &payload), Chunks::Whole);
    assert!(peer.read().payload == payload, "the same bytes come back");
    scene.assert_serves_others();
}

/// Rule: W121.
#[test]
fn a_message_of_1_mib_in_1024_fragments_is_served() {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    peer.send(&in_fragments(TEXT, &[b'a'; MIB], 1024), Chunks::Whole);
    assert_eq!(peer.read().payload.len(), MIB);
    scene.assert_serves_others();
}

/// The announcement alone is too much: the server does not wait for the bytes.
///
/// Rule: W121.
#[test]
fn an_announced_byte_more_than_1_mib_is_1009() {
    too_big(&header(BINARY, MIB as u64 + 1));
}

/// Rule: W121.
#[test]
fn an_announced_length_of_2_to_the_62_is_1009() {
    too_big(&header(TEXT, 1 << 62));
}

/// Rule: W121.
#[test]
fn a_byte_more_than_1_mib_in_fragments_is_1009() {
    too_big(&in_fragments(BINARY, &[0; MIB + 1], 2));
}

/// Rule: N2.
#[test]
fn a_message_of_1025_fragments_is_1009() {
    too_big(&in_fragments(TEXT, &[b'a'; 1025], 1025));
}

/// Rule: N2.
#[test]
fn a_message_of_1025_empty_fragments_is_1009() {
    let first = masked(TEXT & !FIN, b"");
    too_big(&[first, masked(CONTINUATION & !FIN, b"").repeat(1024)].concat());
}

/// The server fails the connection with 1009 and spends no more on it than on any other.
fn too_big(bytes: &[u8]) {
    let mut scene = Scene::new();
    let mut peer = scene.open();
    peer.send(bytes, Chunks::Whole);
    assert_close(&peer.read(), 1009);
    peer.assert_end();
    scene.assert_serves_others();
}

/// A message in that many fragments of about one length.
fn in_fragments(first: u8, payload: &[u8], count: usize) -> Vec<u8> {
    let length = payload.len().div_ceil(count);
    let fragments = payload.chunks(length).enumerate();
    let frames = fragments.map(|(index, fragment)| {
        let opcode = if index == 0 { first & !FIN } else { CONTINUATION & !FIN };
        let fin = if (index + 1) * length >= payload.len() { FIN } else { 0 };
        masked(opcode | fin, fragment)
    });
    frames.collect::<Vec<_>>().concat()
}

/// Announced memory is not spent: a hundred peers each announce the most that is allowed, and
/// send one byte of it.
///
/// Rule: N3.
#[test]
fn memory_grows_with_what_arrived() {
    let mut scene = Scene::new();
    let before = scene.server.resident_bytes();
    let peers: Vec<_> = std::iter::repeat_with(|| scene.open()).take(100).collect();
    let peers = peers.into_iter().map(|mut peer| {
        peer.send(&[header(BINARY, MIB as u64), vec![0]].concat(), Chunks::Whole);
        peer
    });
    let peers: Vec<_> = peers.collect();
    scene.assert_serves_others();
    let grown = scene.server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB as u64, "{grown} bytes for {} peers", peers.len());
}
