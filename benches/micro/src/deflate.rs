//! Compression in both directions, of JSON as applications send it.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, Request};
use sockeye_proto::handshake::Offer;
use sockeye_proto::{Config, Connection, DeflateConfig, Event, Message};

use crate::{KEY, echo::drain};

/// 1 KiB of JSON.
const MESSAGE: &str = include_str!("../../message.json");
/// How many messages come before they begin again. Together they are larger than a window of 32 KiB,
/// so that with takeover each finds others of its kind in the window and not itself.
const DIFFERENT: usize = 64;

/// A server's end that sends compressed messages.
pub struct Compress {
    connection: Connection,
    messages: Vec<Message>,
    next: usize,
}

impl Compress {
    /// With context takeover or without.
    pub fn new(takeover: bool) -> Self {
        let (server, _) = pair(takeover);
        let mut compress = Self { connection: server, messages: messages(), next: 0 };
        (0..DIFFERENT).for_each(|_| compress.run());
        compress
    }

    /// Sends one message.
    pub fn run(&mut self) {
        let message = self.messages[self.next].clone();
        self.next = (self.next + 1) % DIFFERENT;
        self.connection.send(message).expect("the connection is open");
        drain(&mut self.connection);
    }
}

/// A server's end that receives compressed messages.
pub struct Inflate {
    connection: Connection,
    wires: Vec<Vec<u8>>,
    next: usize,
    input: BytesMut,
    now: Duration,
}

impl Inflate {
    /// With context takeover or without.
    pub fn new(takeover: bool) -> Self {
        let (server, mut client) = pair(takeover);
        let now = Duration::ZERO;
        let (wires, next) = (Vec::new(), 0);
        let mut inflate = Self { connection: server, wires, next, input: BytesMut::new(), now };
        // What the client sends in its second round refers back to messages of the same places in
        // the round before, and so does each later one.
        for round in 0..2 {
            inflate.wires =
                messages().into_iter().map(|message| sent(&mut client, message)).collect();
            if round == 0 {
                (0..DIFFERENT).for_each(|_| inflate.run());
            }
        }
        (0..DIFFERENT).for_each(|_| inflate.run());
        inflate
    }

    /// Receives one message.
    pub fn run(&mut self) {
        self.input.extend_from_slice(&self.wires[self.next]);
        self.next = (self.next + 1) % DIFFERENT;
        match self.connection.poll_event(&mut self.input, self.now) {
            Some(Event::Message(message)) => assert_eq!(message.len(), MESSAGE.len()),
            event => unreachable!("{event:?}"),
        }
    }
}

/// Messages of the same form with other numbers in them: a third of the digits is drawn anew.
fn messages() -> Vec<Message> {
    let mut state = 1_u32;
    let mut draw = |character: char| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let number = (state >> 16) as u8;
        if character.is_ascii_digit() && number < 85 {
            return char::from(b'0' + number % 10);
        }
        character
    };
    let text = |_| MESSAGE.chars().map(&mut draw).collect::<String>();
    (0..DIFFERENT).map(text).map(Message::text).collect()
}

/// What the client puts on the wire.
fn sent(client: &mut Connection, message: Message) -> Vec<u8> {
    client.send(message).expect("the connection is open");
    let outbox = client.transmit();
    outbox.copy_to_bytes(outbox.remaining()).to_vec()
}

/// A server's and a client's end that agreed on permessage-deflate.
fn pair(takeover: bool) -> (Connection, Connection) {
    let config = DeflateConfig::default().server_takeover(takeover).client_takeover(takeover);
    let offer = config.to_offers()[0].to_string();
    let request = Request::get("/")
        .header("host", "localhost")
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-extensions", offer)
        .body(())
        .expect("the request is right");
    let mut offer = Offer::from_request(&request).unwrap_or_else(|_| unreachable!("it is right"));
    let agreement = offer.agree_deflate(&config);
    offer.accept(None, HeaderMap::new()).expect("the answer is right");
    let now = Duration::ZERO;
    let server = Connection::server(Config::default(), now).with_deflate(agreement.clone());
    let client = Connection::client(Config::default(), Box::new(|| KEY), now);
    (server, client.with_deflate(agreement))
}
