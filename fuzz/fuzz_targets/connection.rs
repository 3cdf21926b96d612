//! A whole connection, driven by any sequence of operations.
//!
//! It is driven twice at once, fed whole and fed in pieces, and the two must not differ. They must
//! not panic, must end at most once and say nothing after it, must count right what is queued, and
//! all that they send must make sense to a strict peer.
#![no_main]

use std::{io::IoSlice, time::Duration};

use arbitrary::Arbitrary;
use bytes::{Buf, Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use sockeye_proto::{
    CloseCode, CloseFrame, Compression, Config, Connection, DeflateAgreement, DeflateConfig, Event,
    Fragment, Keepalive, Message, MessageKind, Misuse, Part, State, TransportState,
    handshake::Extension,
};
use sockeye_testing::Frame;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    client: bool,
    settings: Settings,
    operations: Vec<Operation<'a>>,
}

#[derive(Debug, Arbitrary)]
struct Settings {
    max_message_size: u16,
    max_fragments: u8,
    max_streamed_size: Option<u16>,
    message_timeout: Option<u16>,
    close_timeout: u16,
    keepalive: Option<(u16, u16)>,
    long_lengths: bool,
    endless: bool,
    deflate: Option<Deflate>,
}

#[derive(Debug, Arbitrary)]
struct Deflate {
    server_takeover: bool,
    client_takeover: bool,
    server_window: u8,
    client_window: u8,
    threshold: u8,
}

impl Settings {
    fn config(&self) -> Config {
        let time = |ms: u16| if self.endless { Duration::MAX } else { millis(ms) };
        Config::default()
            .max_message_size(self.max_message_size.into())
            .max_fragments(self.max_fragments.into())
            .max_streamed_size(self.max_streamed_size.map(usize::from))
            .message_timeout(self.message_timeout.map(time))
            .close_timeout(time(self.close_timeout))
            .keepalive(self.keepalive.map(|(interval, timeout)| {
                Keepalive::default().interval(time(interval)).timeout(time(timeout))
            }))
            .accept_long_lengths(self.long_lengths)
    }

    fn agreement(&self) -> Option<DeflateAgreement> {
        let deflate = self.deflate.as_ref()?;
        let bits = |n: u8| (8 + n % 8).try_into().expect("8 to 15");
        let config = DeflateConfig::default()
            .server_takeover(deflate.server_takeover)
            .client_takeover(deflate.client_takeover)
            .server_window_bits(bits(deflate.server_window))
            .client_window_bits(bits(deflate.client_window))
            .threshold(deflate.threshold.into());
        let parameters = vec![("client_max_window_bits".to_owned(), None)];
        let offer = Extension { name: "permessage-deflate".to_owned(), parameters };
        DeflateAgreement::accept(&[offer], &config)
    }
}

fn millis(ms: u16) -> Duration {
    Duration::from_millis(ms.into())
}

#[derive(Debug, Arbitrary)]
enum Operation<'a> {
    /// Receive bytes as they are, once whole and once in pieces of this size.
    Bytes(&'a [u8], u8),
    /// Receive a frame that is masked as it should be.
    Frame {
        first: u8,
        payload: &'a [u8],
        key: [u8; 4],
        cut: u8,
    },
    Text(&'a str),
    Binary(&'a [u8]),
    /// More than is copied.
    Large(u16),
    Fragment {
        payload: &'a [u8],
        last: bool,
        compress: bool,
    },
    Release,
    /// Receive the next message in parts, or whole again.
    Parts(bool),
    RefuseOversized,
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Close(u16, &'a str),
    Abort,
    Wait(u16),
    Eof,
    Transmit(u16),
}

/// One of the two connections.
struct End {
    connection: Connection,
    input: BytesMut,
    events: Vec<Event>,
    sent: Vec<u8>,
}

impl End {
    fn new(
        client: bool,
        config: Config,
        agreement: Option<DeflateAgreement>,
        now: Duration,
    ) -> Self {
        let connection = if client {
            let mut count = 0u32;
            let masks = move || {
                count = count.wrapping_add(0x9e37_79b9);
                count.to_be_bytes()
            };
            Connection::client(config, Box::new(masks), now)
        } else {
            Connection::server(config, now)
        };
        let connection = connection.with_deflate(agreement);
        Self { connection, input: BytesMut::new(), events: Vec::new(), sent: Vec::new() }
    }

    fn receive(&mut self, bytes: &[u8], cut: usize, now: Duration) {
        for piece in bytes.chunks(cut.max(1)) {
            self.input.extend_from_slice(piece);
            self.poll(now);
        }
    }

    fn poll(&mut self, now: Duration) {
        while let Some(event) = self.connection.poll_event(&mut self.input, now) {
            let closed = self.events.iter().any(|event| matches!(event, Event::Closed(_)));
            assert!(!closed, "an event after Closed: {event:?}");
            assert_eq!(self.connection.state() == State::Closed, matches!(event, Event::Closed(_)),);
            self.record(event);
        }
    }

    /// Where a message is cut into parts is the transport's, and how many there were of one that fails.
    fn record(&mut self, event: Event) {
        match (self.events.last_mut(), event) {
            (Some(Event::Part(before)), Event::Part(part)) if !before.last => {
                assert_eq!(before.kind, part.kind);
                assert!(part.last || !part.payload.is_empty());
                before.payload = [&before.payload[..], &part.payload].concat().into();
                before.last = part.last;
            }
            (Some(last @ Event::Part(Part { last: false, .. })), event @ Event::Closed(_)) => {
                *last = event;
            }
            (_, event) => self.events.push(event),
        }
    }

    /// Writes at most that many bytes.
    fn transmit(&mut self, mut count: usize) {
        while count > 0 && self.connection.transmit().has_remaining() {
            let outbox = self.connection.transmit();
            let take = count.min(outbox.chunk().len());
            assert!(take > 0, "there are bytes to transmit, but the chunk is empty");
            self.sent.extend_from_slice(&outbox.chunk()[..take]);
            outbox.advance(take);
            count -= take;
        }
    }

    fn check(&mut self) {
        let outbox = self.connection.transmit();
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = outbox.chunks_vectored(&mut slices);
        let vectored: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        assert!(vectored == outbox.remaining() || filled == slices.len());
        assert_eq!(outbox.is_empty(), outbox.chunk().is_empty());
        let remaining = outbox.remaining();
        assert_eq!(self.connection.queued(), remaining);
        assert_eq!(self.connection.closed().is_some(), self.connection.state() == State::Closed);
        if self.connection.state() != State::Closed {
            assert_eq!(self.connection.transport(), TransportState::Open);
        }
    }
}

/// What the peer is to receive, and the commands that both ends are given.
struct Driver {
    ends: [End; 2],
    agreement: Option<DeflateAgreement>,
    now: Duration,
    /// The messages that were sent whole.
    messages: Vec<Message>,
    fragments: Option<Vec<u8>>,
}

impl Driver {
    /// Gives a command to both; tells whether it was accepted, which the state decides.
    fn command(&mut self, command: impl Fn(&mut Connection) -> Result<(), Misuse>) -> bool {
        let [whole, pieces] = &mut self.ends;
        let open = whole.connection.state() == State::Open;
        let result = command(&mut whole.connection);
        assert_eq!(result, command(&mut pieces.connection));
        assert_eq!(result == Err(Misuse::Closing), !open);
        result.is_ok()
    }

    fn send(&mut self, message: Message) {
        let sent = self.command(|connection| connection.send(message.clone()));
        if sent {
            self.messages.push(message);
        } else {
            let state = self.ends[0].connection.state();
            assert!(state != State::Open || self.fragments.is_some());
        }
    }

    fn fragment(&mut self, payload: &[u8], last: bool, compress: bool) {
        let bytes = Bytes::copy_from_slice(payload);
        let fragment = if last { Fragment::Last } else { Fragment::More };
        let compression = if compress { Compression::On } else { Compression::Off };
        let sent = self.command(|connection| {
            connection.send_fragment_with(MessageKind::Binary, bytes.clone(), fragment, compression)
        });
        if sent {
            let whole = self.fragments.get_or_insert_default();
            whole.extend_from_slice(payload);
            if last {
                self.messages.extend(self.fragments.take().map(Message::from));
            }
        }
    }

    fn receive(&mut self, bytes: &[u8], cut: u8) {
        let [whole, pieces] = &mut self.ends;
        whole.receive(bytes, bytes.len(), self.now);
        pieces.receive(bytes, cut.into(), self.now);
    }

    fn each(&mut self, act: impl Fn(&mut End, Duration)) {
        self.ends.iter_mut().for_each(|end| act(end, self.now));
    }

    fn perform(&mut self, operation: &Operation<'_>) {
        match operation {
            Operation::Bytes(bytes, cut) => self.receive(bytes, *cut),
            Operation::Frame { first, payload, key, cut } => {
                let masked = !self.ends[0].connection.is_client();
                self.receive(&frame(*first, payload, masked.then_some(*key)), *cut);
            }
            Operation::Text(text) => self.send(Message::from(*text)),
            Operation::Binary(bytes) => self.send(Message::from(*bytes)),
            Operation::Large(size) => self.send(Message::from(vec![7; 4096 + *size as usize])),
            Operation::Fragment { payload, last, compress } => {
                self.fragment(payload, *last, *compress);
            }
            Operation::Release => self.each(|end, _| end.connection.release_deflate()),
            Operation::Parts(wanted) => {
                self.each(|end, _| end.connection.receive_parts(*wanted));
            }
            Operation::RefuseOversized => {
                self.each(|end, now| end.connection.refuse_oversized(now));
            }
            Operation::Ping(payload) => {
                let payload = Bytes::copy_from_slice(payload);
                self.command(|connection| connection.ping(payload.clone()));
            }
            Operation::Pong(payload) => {
                let payload = Bytes::copy_from_slice(payload);
                self.command(|connection| connection.pong(payload.clone()));
            }
            Operation::Close(code, reason) => {
                let frame = CloseCode::try_from(*code)
                    .ok()
                    .and_then(|code| CloseFrame::new(code, *reason).ok());
                self.each(|end, now| end.connection.close(frame.clone(), now));
            }
            Operation::Abort => self.each(|end, now| end.connection.abort(now)),
            Operation::Wait(ms) => {
                self.now += millis(*ms);
                self.each(|end, now| end.connection.handle_timeout(now));
            }
            Operation::Eof => self.each(|end, now| end.connection.handle_eof(now)),
            Operation::Transmit(count) => self.each(|end, _| end.transmit((*count).into())),
        }
        self.each(End::poll);
    }

    fn check(&mut self) {
        self.each(|end, _| end.check());
        let [whole, pieces] = &self.ends;
        assert_eq!(whole.events, pieces.events);
        assert_eq!(whole.sent, pieces.sent);
        let (whole, pieces) = (&whole.connection, &pieces.connection);
        assert_eq!(whole.queued(), pieces.queued());
        assert_eq!(whole.state(), pieces.state());
        assert_eq!(whole.transport(), pieces.transport());
        assert_eq!(whole.poll_timeout(), pieces.poll_timeout());
    }

    /// All that was sent, read by a strict peer: the messages in order, and no violation.
    fn check_sent(&mut self) {
        self.each(|end, _| end.transmit(usize::MAX));
        let whole = &self.ends[0];
        let config = Config::default()
            .max_message_size(usize::MAX)
            .max_fragments(usize::MAX)
            .keepalive(None);
        let client = !whole.connection.is_client();
        let mut peer = End::new(client, config, self.agreement.clone(), self.now);
        peer.receive(&whole.sent, whole.sent.len(), self.now);
        let failure = peer.connection.closed().and_then(|closed| closed.failure);
        assert_eq!(failure, None);
        let received: Vec<_> = peer
            .events
            .into_iter()
            .filter_map(|event| match event {
                Event::Message(message) => Some(message),
                _ => None,
            })
            .collect();
        assert_eq!(received, self.messages);
    }
}

/// A frame in its shortest form.
fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let frame = Frame::unmasked(first, payload);
    key.into_iter().fold(frame, Frame::mask).encode()
}

fuzz_target!(|input: Input<'_>| {
    let now = Duration::ZERO;
    let config = input.settings.config();
    let agreement = input.settings.agreement();
    let ends = [(); 2].map(|()| End::new(input.client, config.clone(), agreement.clone(), now));
    let mut driver = Driver { ends, agreement, now, messages: Vec::new(), fragments: None };
    for operation in &input.operations {
        driver.perform(operation);
        driver.check();
    }
    driver.check_sent();
});
