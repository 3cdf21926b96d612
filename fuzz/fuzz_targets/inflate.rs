//! Compressed messages: any bytes in the place of DEFLATE data give messages within the limit or one
//! failure, however they are cut; and what one end compresses the other end inflates.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::{Buf, BytesMut};
use http::{HeaderMap, Request};
use libfuzzer_sys::fuzz_target;
use sockeye_proto::{
    Compression, Config, Connection, DeflateAgreement, DeflateConfig, Event, Fragment, Message,
    MessageKind, Prepared, WindowBits, handshake::Offer,
};

const MAX: usize = 100_000;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    takeover: bool,
    window: u8,
    level: u8,
    steps: Vec<Step<'a>>,
    cut: u8,
}

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// A message that our own end compresses: its payload that many times over.
    Message {
        payload: &'a [u8],
        times: u8,
        compress: bool,
    },
    Fragments {
        payload: &'a [u8],
        size: u8,
    },
    Prepared(&'a str),
    /// A frame with these bytes in it; the lowest bits say which.
    Raw {
        first: u8,
        payload: &'a [u8],
    },
    Release,
}

fn agree(config: &DeflateConfig) -> DeflateAgreement {
    let request = Request::get("/")
        .header("Host", "h")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
        .body(())
        .expect("a request");
    let mut offer = Offer::from_request(&request).expect("a valid request");
    let agreed = offer.agree_deflate(config).expect("a plain offer is acceptable");
    offer.accept(None, HeaderMap::new()).expect("an answer");
    agreed
}

fn transmitted(connection: &mut Connection) -> Vec<u8> {
    let outbox = connection.transmit();
    outbox.copy_to_bytes(outbox.remaining()).to_vec()
}

fn receive(connection: &mut Connection, bytes: &[u8], cut: usize) -> Vec<Event> {
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for piece in bytes.chunks(cut.max(1)) {
        input.extend_from_slice(piece);
        while let Some(event) = connection.poll_event(&mut input, Duration::ZERO) {
            events.push(event);
        }
    }
    events
}

/// Sends what the step says; gives the bytes, and the message if there is one.
fn send(server: &mut Connection, step: &Step<'_>) -> (Vec<u8>, Option<Message>) {
    let message = match step {
        Step::Message { payload, times, compress } => {
            let mut payload = payload.repeat(1 + usize::from(*times));
            payload.truncate(MAX);
            let message = Message::from(payload);
            let compression = if *compress { Compression::On } else { Compression::Off };
            server.send_with(message.clone(), compression).expect("open");
            message
        }
        Step::Fragments { payload, size } => {
            let message = Message::from(*payload);
            for part in payload.chunks((*size).max(1).into()) {
                let part = bytes::Bytes::copy_from_slice(part);
                let sent = server.send_fragment_with(
                    MessageKind::Binary,
                    part,
                    Fragment::More,
                    Compression::On,
                );
                sent.expect("open");
            }
            let end = bytes::Bytes::new();
            let (kind, compression) = (MessageKind::Binary, Compression::On);
            server.send_fragment_with(kind, end, Fragment::Last, compression).expect("open");
            message
        }
        Step::Prepared(text) => {
            server.send_prepared(&Prepared::new(*text)).expect("open");
            Message::from(*text)
        }
        Step::Raw { first, payload } => {
            let payload = &payload[..payload.len().min(125)];
            return ([&[*first, payload.len() as u8], payload].concat(), None);
        }
        Step::Release => {
            server.release_deflate();
            return (Vec::new(), None);
        }
    };
    (transmitted(server), Some(message))
}

fuzz_target!(|input: Input<'_>| {
    let window = WindowBits::try_from(8 + input.window % 8).expect("8 to 15");
    let config = DeflateConfig::default()
        .server_takeover(input.takeover)
        .client_takeover(input.takeover)
        .server_window_bits(window)
        .client_window_bits(window)
        .level(input.level)
        .threshold(0);
    let agreed = agree(&config);
    let now = Duration::ZERO;
    let limits = Config::default().max_message_size(MAX);
    let mut server = Connection::server(limits.clone(), now).with_deflate(agreed.clone());
    let [mut whole, mut pieces] = [(); 2].map(|()| {
        let client = Connection::client(limits.clone(), Box::new(|| [1, 2, 3, 4]), now);
        client.with_deflate(agreed.clone())
    });
    let mut honest = true;
    for step in &input.steps {
        let (bytes, message) = send(&mut server, step);
        honest &= !matches!(step, Step::Raw { .. });
        let events = receive(&mut whole, &bytes, bytes.len());
        assert_eq!(events, receive(&mut pieces, &bytes, input.cut.into()));
        for event in &events {
            if let Event::Message(message) = event {
                assert!(message.len() <= MAX);
            }
        }
        let many_fragments = matches!(step, Step::Fragments { payload, size }
            if payload.len() / usize::from((*size).max(1)) > 1000);
        if many_fragments {
            return;
        }
        if honest && let Some(message) = message {
            assert_eq!(events, [Event::Message(message)]);
        }
    }
});
