//! Messages encoded once for many connections.

use sockeye_proto::{DeflateConfig, Message, Misuse, Prepared};

use crate::support::{Pair, bits, json, received, text, transmitted};

#[test]
fn a_prepared_message_is_on_the_wire_what_a_sent_one_is() {
    let message = json(1);
    let prepared = Prepared::new(message.as_str());
    let mut pair = Pair::new(&DeflateConfig::default());
    let (sent, _) = pair.down(message.as_str());
    for _ in 0..3 {
        pair.server.send_prepared(&prepared).unwrap();
        assert_eq!(transmitted(&mut pair.server), sent);
    }
    assert_eq!(prepared.compressed().unwrap(), &sent);
}

#[test]
fn a_frame_that_was_kept_is_sent_as_it_is() {
    let noise: Vec<u8> = (0..1000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    for message in [Message::from(json(1)), Message::from(noise)] {
        let frame = Prepared::new(message.clone()).shortest().clone();
        let kept = Prepared::with_shortest(message, frame.clone());
        let mut pair = Pair::new(&DeflateConfig::default());
        pair.server.send_prepared(&kept).unwrap();
        assert_eq!(transmitted(&mut pair.server), frame);
        assert_eq!(kept.shortest().as_ptr(), frame.as_ptr());
    }
}

#[test]
fn a_large_prepared_message_is_shared_not_copied() {
    let message: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let prepared = Prepared::new(message);
    let plain = DeflateConfig::default().threshold(usize::MAX);
    for config in [DeflateConfig::default(), plain.clone()] {
        let mut pair = Pair::new(&config);
        pair.server.send_prepared(&prepared).unwrap();
        let expected = if config == plain { Some(prepared.plain()) } else { prepared.compressed() };
        let expected = expected.unwrap_or(prepared.plain());
        assert_eq!(bytes::Buf::chunk(pair.server.transmit()).as_ptr(), expected.as_ptr());
        let wire = transmitted(&mut pair.server);
        let events = received(&mut pair.client, &wire);
        assert_eq!(events, [sockeye_proto::Event::Message(prepared.message().clone())]);
    }
}

#[test]
fn a_prepared_message_goes_plain_where_that_is_better() {
    let short = Prepared::new("short");
    assert_eq!(short.compressed(), None);
    let mut pair = Pair::new(&DeflateConfig::default().threshold(0));
    pair.server.send_prepared(&short).unwrap();
    assert_eq!(transmitted(&mut pair.server), b"\x81\x05short");
}

#[test]
fn a_prepared_message_is_understood_on_every_connection() {
    let windows = DeflateConfig::default().server_window_bits(bits(9));
    for config in [
        DeflateConfig::default(),
        windows.clone(),
        windows.server_takeover(true).client_takeover(true),
        DeflateConfig::default().server_takeover(true).client_takeover(true),
    ] {
        let mut pair = Pair::new(&config);
        for i in 0..4 {
            let message = json(i).repeat(3);
            let prepared = Prepared::new(message.as_str());
            pair.server.send_prepared(&prepared).unwrap();
            let wire = transmitted(&mut pair.server);
            assert!(wire.len() < message.len() / 2);
            assert_eq!(received(&mut pair.client, &wire), [text(&message)]);
            // Between ordinary ones, and from a client, which has to mask it.
            assert_eq!(pair.down(message.as_str()).1, [text(&message)]);
            pair.client.send_prepared(&prepared).unwrap();
            let wire = transmitted(&mut pair.client);
            assert_eq!(received(&mut pair.server, &wire), [text(&message)]);
        }
    }
}

#[test]
fn a_prepared_message_does_not_go_between_fragments() {
    let mut pair = Pair::new(&DeflateConfig::default());
    let kind = sockeye_proto::MessageKind::Text;
    pair.server.send_fragment(kind, "a".into(), sockeye_proto::Fragment::More).unwrap();
    let prepared = Prepared::new(Message::from("b"));
    assert_eq!(pair.server.send_prepared(&prepared), Err(Misuse::Fragmented));
    assert_eq!(pair.server.send(Message::from("b")), Err(Misuse::Fragmented));
}
