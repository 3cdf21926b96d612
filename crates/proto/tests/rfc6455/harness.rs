//! One end of a connection, or two of them: bytes go in cut in every way, time is explicit, and all
//! that comes out is recorded, decoded by the tests' own reader of frames.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, BytesMut};
use sockeye_proto::{
    Closed, Config, Connection, Event, Failure, MaskSource, Message, Part, State, TransportState,
};
use sockeye_testing::frame;
pub(crate) use sockeye_testing::{Role, frame::close_payload};

pub(crate) const BOTH: [Role; 2] = [Role::Client, Role::Server];

/// How bytes that are fed are cut into pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    Whole,
    Bytes,
    Random(u64),
}

pub(crate) const CUTS: [Cut; 6] =
    [Cut::Whole, Cut::Bytes, Cut::Random(1), Cut::Random(2), Cut::Random(3), Cut::Random(4)];

impl Cut {
    /// How long the next piece of at most `left` bytes is.
    pub(crate) fn next(&mut self, left: usize) -> usize {
        match self {
            Self::Whole => left,
            Self::Bytes => 1,
            Self::Random(seed) => {
                *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                // Mostly small pieces, now and then a large one.
                let most = [3, 20, 300, left][(*seed >> 40) as usize % 4];
                (1 + (*seed >> 33) as usize % most).min(left)
            }
        }
    }
}

/// Feeds a head, cut in every way, with bytes behind it that are to stay in the input, to what `new` makes. Every
/// way gives the same.
#[track_caller]
pub(crate) fn every_cut_of_head<H, T, E>(
    head: &[u8],
    behind: &[u8],
    new: impl Fn() -> H,
    poll: impl Fn(&mut H, &mut BytesMut) -> Result<Option<T>, E>,
) -> Result<T, E>
where
    T: std::fmt::Debug,
    E: std::fmt::Debug,
{
    let bytes = [head, behind].concat();
    let results = CUTS.map(|mut cut| {
        let (mut handshake, mut input, mut rest) = (new(), BytesMut::new(), &bytes[..]);
        loop {
            assert!(!rest.is_empty(), "the head was not found");
            let (piece, later) = rest.split_at(cut.next(rest.len()));
            input.extend_from_slice(piece);
            rest = later;
            if let Some(found) = poll(&mut handshake, &mut input)? {
                input.extend_from_slice(rest);
                assert_eq!(input, behind);
                return Ok(found);
            }
        }
    });
    let seen = results.each_ref().map(|result| format!("{result:?}"));
    assert!(seen.iter().all(|other| *other == seen[0]), "{seen:#?}");
    let [first, ..] = results;
    first
}

/// Runs `test` with every way to cut, and wants the same events and the same bytes of all of them.
#[track_caller]
pub(crate) fn every_cut(role: Role, test: impl Fn(&mut End)) {
    every_cut_with(role, Config::default(), test);
}

/// As [`every_cut`], with limits and deadlines of one's own.
#[track_caller]
pub(crate) fn every_cut_with(role: Role, config: Config, test: impl Fn(&mut End)) {
    let runs = CUTS.map(|cut| {
        let mut end = End::new(role, config.clone(), cut);
        test(&mut end);
        end
    });
    for run in &runs[1..] {
        assert_eq!(run.events, runs[0].events, "{:?}", run.cut);
        assert_eq!(run.sent, runs[0].sent, "{:?}", run.cut);
        assert_eq!(run.connection.state(), runs[0].connection.state());
        assert_eq!(run.connection.transport(), runs[0].connection.transport());
    }
}

/// As [`every_cut`], for both roles.
#[track_caller]
pub(crate) fn both_every_cut(test: impl Fn(&mut End)) {
    BOTH.iter().for_each(|&role| every_cut(role, &test));
}

/// A frame as it was transmitted: its first byte, and its payload unmasked.
pub(crate) type Frame = (u8, Vec<u8>);

/// A connection with its input buffer, and a record of all it said.
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) role: Role,
    pub(crate) now: Duration,
    /// Whether the transport takes bytes.
    pub(crate) writable: bool,
    cut: Cut,
    input: BytesMut,
    events: Vec<Event>,
    events_taken: usize,
    sent: Vec<u8>,
    sent_taken: usize,
}

impl End {
    pub(crate) fn new(role: Role, config: Config, cut: Cut) -> Self {
        // Any start will do.
        let now = Duration::from_secs(1_000_000);
        let connection = match role {
            Role::Client => Connection::client(config, counting_masks(), now),
            Role::Server => Connection::server(config, now),
        };
        Self {
            connection,
            role,
            now,
            writable: true,
            cut,
            input: BytesMut::new(),
            events: Vec::new(),
            events_taken: 0,
            sent: Vec::new(),
            sent_taken: 0,
        }
    }

    /// Receives bytes as they are, cut in this run's way.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(self.cut.next(bytes.len()));
            self.input.extend_from_slice(piece);
            self.settle();
            bytes = rest;
        }
    }

    /// Receives a frame as the peer's role sends it; `first` is its first byte.
    pub(crate) fn feed_frame(&mut self, first: u8, payload: &[u8]) {
        self.feed(&wire(self.role.peer(), first, payload));
    }

    pub(crate) fn eof(&mut self) {
        self.connection.handle_eof(self.now);
        self.settle();
    }

    pub(crate) fn send(&mut self, message: impl Into<Message>) {
        self.connection.send(message.into()).unwrap();
        self.settle();
    }

    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        let frame = sockeye_proto::CloseFrame::new(code.try_into().unwrap(), reason).unwrap();
        self.connection.close(Some(frame), self.now);
        self.settle();
    }

    /// Lets time pass, and tells the connection at each of its deadlines.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.connection.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(deadline);
            self.connection.handle_timeout(self.now);
            self.settle();
        }
        self.now = until;
    }

    /// How long until the next deadline.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.connection.poll_timeout().map(|deadline| deadline - self.now)
    }

    /// Asks for everything there is, in the order that the contract gives.
    pub(crate) fn settle(&mut self) {
        self.transmit();
        while let Some(event) = self.connection.poll_event(&mut self.input, self.now) {
            self.record(event);
            self.transmit();
        }
    }

    /// Parts of a message count together: where they are cut is the transport's. Those of one that
    /// fails do not count.
    fn record(&mut self, event: Event) {
        match (self.events[self.events_taken..].last_mut(), event) {
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

    fn transmit(&mut self) {
        while self.writable && self.connection.transmit().has_remaining() {
            let outbox = self.connection.transmit();
            let count = self.cut.next(outbox.chunk().len());
            self.sent.extend_from_slice(&outbox.chunk()[..count]);
            outbox.advance(count);
        }
    }

    /// The events since the last call.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let new = self.events[self.events_taken..].to_vec();
        self.events_taken = self.events.len();
        new
    }

    /// The bytes transmitted since the last call.
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        let new = self.sent[self.sent_taken..].to_vec();
        self.sent_taken = self.sent.len();
        new
    }

    /// The frames transmitted since the last call.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        let role = self.role;
        read_frames(&self.sent(), role).into_iter().map(|(frame, _)| frame).collect()
    }

    /// How the connection ended: told once, and last.
    #[track_caller]
    pub(crate) fn closed(&self) -> Closed {
        let is_closed = |event: &Event| matches!(event, Event::Closed(_));
        assert_eq!(self.events.iter().filter(|event| is_closed(event)).count(), 1);
        let Some(Event::Closed(closed)) = self.events.last() else {
            panic!("Closed is not the last event: {:?}", self.events);
        };
        assert_eq!(self.connection.state(), State::Closed);
        assert_eq!(self.connection.closed(), Some(closed));
        closed.clone()
    }

    /// Expects that the connection failed, that the peer was told with `code`, and that whatever
    /// comes now is neither processed nor answered (W105).
    #[track_caller]
    pub(crate) fn expect_failure(&mut self, failure: impl Into<Failure>, code: u16) {
        let closed = self.closed();
        assert_eq!(closed.failure, Some(failure.into()));
        assert_eq!(closed.initiator, sockeye_proto::Peer::Local);
        assert!(!closed.is_clean());
        assert_eq!((closed.code(), closed.reason()), (1006, ""));
        let (first, body) = self.frames().pop().expect("a Close frame was to be sent");
        assert_eq!(first, 0x88);
        assert_eq!(body[..2], code.to_be_bytes(), "{}", String::from_utf8_lossy(&body[2..]));
        assert!(std::str::from_utf8(&body[2..]).is_ok_and(|reason| !reason.is_empty()));
        assert_eq!(closed.sent.frame().map(|frame| frame.code().as_u16()), Some(code));
        assert_eq!(self.connection.transport(), TransportState::HalfClose);

        self.events();
        self.feed_frame(0x81, b"too late");
        self.feed_frame(0x89, b"too late");
        self.feed_frame(0x88, &close_payload(1000, "too late"));
        assert_eq!((self.events(), self.sent()), (vec![], vec![]));
        assert!(self.input.is_empty(), "what comes after the end is thrown away");
        self.eof();
        assert_eq!((self.events(), self.sent()), (vec![], vec![]));
        assert_eq!(self.connection.transport(), TransportState::Close);
    }
}

/// Masking keys 1, 2, 3, …: fresh ones, and such that a test can foretell.
pub(crate) fn counting_masks() -> Box<dyn MaskSource> {
    let count = Arc::new(AtomicU32::new(0));
    Box::new(move || key(1 + count.fetch_add(1, Ordering::Relaxed)))
}

/// The `n`th key of [`counting_masks`].
pub(crate) fn key(n: u32) -> [u8; 4] {
    n.wrapping_mul(0x9e37_79b9).to_be_bytes()
}

/// A frame on the wire, as `role` sends it: in the shortest form, a client's with a mask.
pub(crate) fn wire(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    frame::Frame::sent_by(role, first, payload).encode()
}

/// The header of a frame that announces `length` bytes.
pub(crate) fn wire_header(role: Role, first: u8, length: u64) -> Vec<u8> {
    frame::Frame::sent_by(role, first, []).announce(length).header()
}

/// Reads whole frames that `role` sent, each with its masking key; there is nothing wrong with any of
/// them.
#[track_caller]
pub(crate) fn read_frames(bytes: &[u8], role: Role) -> Vec<(Frame, Option<[u8; 4]>)> {
    let frames = frame::Frame::parse_all(bytes).into_iter();
    frames
        .map(|frame| {
            assert!(frame.mistakes(role).is_empty(), "{:?}: {frame}", frame.mistakes(role));
            ((frame.first, frame.payload), frame.mask)
        })
        .collect()
}

/// A text message received.
pub(crate) fn text(text: &str) -> Event {
    Event::Message(Message::from(text))
}

/// A binary message received.
pub(crate) fn binary(bytes: &[u8]) -> Event {
    Event::Message(Message::from(bytes))
}

/// A client and a server with a link between them.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
}

impl Pair {
    pub(crate) fn new(config: &Config, cut: Cut) -> Self {
        let mut client = End::new(Role::Client, config.clone(), cut);
        let server = End::new(Role::Server, config.clone(), cut);
        client.now = server.now;
        Self { client, server }
    }

    /// Carries what each end has sent so far to the other: both at once, so that they can cross.
    /// Whether there was anything.
    pub(crate) fn step(&mut self) -> bool {
        let (to_server, to_client) = (self.client.sent(), self.server.sent());
        self.server.feed(&to_server);
        self.client.feed(&to_client);
        !(to_server.is_empty() && to_client.is_empty())
    }

    /// Carries bytes until nothing moves, then does with each transport what its end asks for.
    pub(crate) fn drive(&mut self) {
        loop {
            while self.step() {}
            let ended = |end: &End| end.connection.transport() != TransportState::Open;
            let (client_ended, server_ended) = (ended(&self.client), ended(&self.server));
            let mut eof = false;
            if client_ended && self.server.connection.transport() != TransportState::Close {
                self.server.eof();
                eof = true;
            }
            if server_ended && self.client.connection.transport() != TransportState::Close {
                self.client.eof();
                eof = true;
            }
            if !eof {
                return;
            }
        }
    }
}
