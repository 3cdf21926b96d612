//! An open WebSocket connection, from the first frame to the end of the transport.

mod assembly;
mod compressed;
mod ending;
mod outbox;
mod parts;
mod ping;
mod receiver;
mod role;
mod send;
mod spare;
#[cfg(test)]
mod tests;
mod times;

use alloc::{boxed::Box, sync::Arc};
use core::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};

use self::{
    ending::CloseHold,
    ping::PingPayload,
    receiver::{Received, Receiver},
    role::Role,
    times::Times,
};
pub use self::{outbox::Outbox, role::MaskSource};
use crate::{
    close::CloseFrame,
    closed::{Closed, Peer},
    config::Config,
    deflate::Deflation,
    error::{Deadline, Failure, Misuse, Violation},
    frame::{MAX_CONTROL_PAYLOAD, Opcode, Rules},
    message::{Compression, Fragment, Message, MessageKind, Part},
    text::Text,
};

/// What happened on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole message arrived.
    Message(Message),
    /// A part of a message arrived: only where [parts were asked for](Connection::receive_parts).
    Part(Part),
    /// A ping arrived; its pong is already on its way.
    Ping(Bytes),
    /// A pong arrived, in answer to a ping or unasked.
    Pong(Bytes),
    /// The WebSocket is over: the last event. What is left is to follow
    /// [`transport`](Connection::transport) to the transport's end.
    Closed(Closed),
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Messages may be sent and received.
    Open,
    /// This end has sent its Close and waits for the peer's; messages may still arrive.
    Closing,
    /// Both Close frames were exchanged, or the connection failed.
    Closed,
}

/// What to do with the transport once everything to transmit is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportState {
    /// Leave it open, go on reading.
    Open,
    /// End the writing side (TCP `shutdown`, TLS `close_notify`) and go on reading, to throw away
    /// what still comes: closing with unread input would reset the connection and could destroy
    /// what the peer has not read yet (RFC 6455 §7.1.1).
    HalfClose,
    /// Close it.
    Close,
}

/// An open WebSocket connection, without I/O.
///
/// Its methods are of four kinds:
///
/// 1. **Getters**, such as [`state`](Self::state) and [`closed`](Self::closed).
/// 2. **Inputs.** Append the bytes received to your own buffer; call
///    [`handle_eof`](Self::handle_eof) when the transport has ended and
///    [`handle_timeout`](Self::handle_timeout) when the deadline has passed.
/// 3. **Commands**: [`send`](Self::send), [`ping`](Self::ping), [`close`](Self::close) and their kin.
///    They only queue; nothing is written until you transmit.
/// 4. **Outputs**, to be asked for after every input and command, in this order:
///    [`poll_event`](Self::poll_event) until it gives `None`, [`transmit`](Self::transmit) while there
///    are bytes, [`transport`](Self::transport), and [`poll_timeout`](Self::poll_timeout).
///
/// The input buffer stays with the caller and is an argument of `poll_event`: events are made on
/// demand from what is there, none is ever queued, and not asking for events is backpressure. The
/// buffer's contents belong to the connection: bytes may be appended, nothing else. They may be
/// unmasked in place, and a message that came whole in one frame *is* a slice of it: no copy, no
/// allocation.
///
/// Time is what has passed since a start of the caller's choice: that of the program, say, or of the
/// connection. Each `now` of a connection counts from the same start, as do its deadlines, and time
/// never goes backwards: each `now` is at or after the one before.
pub struct Connection {
    role: Role,
    config: Arc<Config>,
    state: State,
    /// permessage-deflate, if it was agreed on and as long as messages go.
    deflate: Option<Box<Deflation>>,

    // Receiving.
    receiver: Receiver,
    /// How many bytes the input buffer had at the last call, to tell when more have arrived.
    input_seen: usize,
    times: Times,

    // Sending.
    /// Its mark stands behind the last pong.
    outbox: Outbox,
    /// The fragmented message that is being sent: its kind, and whether it is compressed.
    fragmented: Option<(MessageKind, bool)>,
    /// The latest ping not yet answered, because the pong before it is not yet written.
    pong_due: Option<Box<PingPayload>>,

    // Ending.
    ending: Option<Box<Ending>>,
    eof: bool,
    /// The transport is of no more use.
    over: bool,
    /// Whether a ping was ever sent: its pong may come whenever the peer likes.
    pinged: bool,
    /// Whether the peer sends nothing more.
    heard_out: bool,
    close_hold: CloseHold,
}

/// What there is to know once the closing handshake has begun, or the connection has failed.
struct Ending {
    closed: Closed,
    /// When the peer must have answered the Close, and have ended the transport.
    deadline: Option<Duration>,
    /// Whether the application was told.
    reported: bool,
}

/// Getters.
impl Connection {
    /// The state of the connection.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether this is the client's end.
    pub fn is_client(&self) -> bool {
        matches!(self.role, Role::Client(_))
    }

    /// The limits and deadlines in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<&Closed> {
        let ending = self.ending.as_deref().filter(|_| self.state == State::Closed)?;
        Some(&ending.closed)
    }

    /// What is known of the end, once the closing handshake has begun or the connection has failed.
    pub fn closing(&self) -> Option<&Closed> {
        self.ending.as_deref().map(|ending| &ending.closed)
    }

    /// Whether nothing is begun and nothing left to report: without more input, or its end, there is
    /// no event.
    pub fn is_at_rest(&self) -> bool {
        self.state != State::Closed && !self.receiver.is_inside_message()
    }

    /// Whether the peer sends nothing more: its Close has arrived with nothing after it, and no ping was
    /// sent whose pong could follow. Where [`transport`](Self::transport) then says
    /// [`TransportState::HalfClose`], one that has nothing unread can be closed at once: nothing will come
    /// that would reset it.
    pub fn is_heard_out(&self) -> bool {
        self.heard_out
    }

    /// How many bytes are queued and not yet transmitted, headers included.
    pub fn queued(&self) -> usize {
        self.outbox.len()
    }

    /// The round-trip time of the last keepalive ping that was answered; `None` before the first.
    ///
    /// A pong counts from when it is found in the input. In whole microseconds.
    pub fn keepalive_latency(&self) -> Option<Duration> {
        self.times.latency()
    }

    /// How many bytes are missing from the frame that is being received in place, beyond the
    /// `available` ones of the input buffer; 0 if none is known to be missing.
    ///
    /// A hint for the size of the next read. Reserve no more than in proportion to what has arrived:
    /// the number is the peer's.
    pub fn missing(&self, available: usize) -> usize {
        self.receiver.missing(available)
    }
}

/// Inputs. The bytes received go through [`Connection::poll_event`].
impl Connection {
    /// A server's end of a connection whose handshake is done.
    pub fn server(config: impl Into<Arc<Config>>, now: Duration) -> Self {
        Self::new(Role::Server, config.into(), now)
    }

    /// A client's end of a connection whose handshake is done.
    pub fn client(
        config: impl Into<Arc<Config>>,
        masks: Box<dyn MaskSource>,
        now: Duration,
    ) -> Self {
        Self::new(Role::client(masks), config.into(), now)
    }

    /// The transport has ended, or failed: no more bytes will come.
    pub fn handle_eof(&mut self, now: Duration) {
        self.eof = true;
        // It may still take what is sent.
        if self.state != State::Closed && !self.close_hold.is_held() {
            self.over = true;
            self.fail(Failure::Lost, Peer::Remote, now);
        }
    }

    /// The peer is not silent: it is this end that does not read, because the application is behind.
    ///
    /// Call it before [`handle_timeout`](Self::handle_timeout) in that case, so that the peer is not
    /// given up for an answer that may be waiting in the transport.
    pub fn handle_paused(&mut self, now: Duration) {
        self.times.paused(now);
    }

    /// Time has passed: call it at the [deadline](Self::poll_timeout), or whenever.
    pub fn handle_timeout(&mut self, now: Duration) {
        let passed = |deadline: Option<Duration>| deadline.is_some_and(|deadline| deadline <= now);
        if passed(self.close_deadline()) {
            if self.close_hold.is_held() {
                return self.answer_close(now);
            }
            self.over = true;
            if self.state != State::Closed {
                self.fail(Failure::Deadline(Deadline::Close), Peer::Local, now);
            }
            return;
        }
        if passed(self.message_deadline()) {
            self.fail(Failure::Deadline(Deadline::Message), Peer::Local, now);
        } else if passed(self.keepalive_deadline()) {
            if self.times.is_silent() {
                self.fail(Failure::Deadline(Deadline::Keepalive), Peer::Local, now);
            } else {
                self.queue_control(Opcode::Ping, &[]);
                self.times.pinged(now);
            }
        }
    }
}

/// Commands.
impl Connection {
    /// Sends a message in one frame, compressed if [that was agreed on](Self::with_deflate) and makes
    /// it smaller.
    ///
    /// Payloads of a few KiB are copied, so that many small messages go out in one write; larger
    /// ones are not, except on a client when the payload is shared: it has to be masked.
    #[inline]
    pub fn send(&mut self, message: Message) -> Result<(), Misuse> {
        self.send_with(message, Compression::On)
    }

    /// Sends the next fragment of a message (RFC 6455 §5.4).
    ///
    /// Fragments of a text may be cut anywhere, also inside a character: that the whole is UTF-8 is
    /// up to the caller. They go uncompressed; see
    /// [`send_fragment_with`](Self::send_fragment_with).
    pub fn send_fragment(
        &mut self,
        kind: MessageKind,
        payload: Bytes,
        fragment: Fragment,
    ) -> Result<(), Misuse> {
        self.send_fragment_with(kind, payload, fragment, Compression::Off)
    }

    /// Sends a ping with up to 125 bytes of payload.
    pub fn ping(&mut self, payload: Bytes) -> Result<(), Misuse> {
        self.send_control(Opcode::Ping, &payload)
    }

    /// Sends an unsolicited pong, with up to 125 bytes of payload. Pings are answered
    /// without it.
    pub fn pong(&mut self, payload: Bytes) -> Result<(), Misuse> {
        self.send_control(Opcode::Pong, &payload)
    }

    /// Starts the closing handshake (RFC 6455 §7.1.2), behind everything already queued. `None` sends
    /// an empty Close. Closing again changes nothing.
    pub fn close(&mut self, frame: Option<CloseFrame>, now: Duration) {
        if self.close_hold.is_held() {
            self.end_hold(now);
            self.queue_close(frame, Peer::Remote, now);
        } else if self.state == State::Open {
            self.state = State::Closing;
            self.queue_close(frame, Peer::Local, now);
        }
    }

    /// Gives the connection up at once, without a closing handshake: what is queued is not sent.
    pub fn abort(&mut self, now: Duration) {
        self.over = true;
        if self.state != State::Closed {
            self.fail(Failure::Aborted, Peer::Local, now);
        }
    }
}

/// Limits that change while the connection is open.
impl Connection {
    /// Sets other limits and deadlines, from the next frame on: narrow ones for a peer that has not
    /// authenticated, and wider ones for one that has. A message that is being received is
    /// measured by them, too.
    pub fn set_config(&mut self, config: impl Into<Arc<Config>>) {
        self.config = config.into();
    }
}

/// Outputs.
impl Connection {
    /// The next event, made from the bytes received so far; `None` when more bytes are needed.
    ///
    /// Consumes from the front of `input` what it has understood.
    #[inline]
    pub fn poll_event(&mut self, input: &mut BytesMut, now: Duration) -> Option<Event> {
        if self.state == State::Closed || self.close_hold.is_held() {
            return self.poll_ended(input);
        }
        if input.len() > self.input_seen {
            self.times.received(now);
        }
        if self.is_client() || !self.receiver.is_at_rest() {
            return self.poll_unusual(input, now);
        }
        let most = self.config.max_message_size;
        let usual = Receiver::next_usual(input, most);
        if usual.is_none() && !input.is_empty() {
            return self.poll_unusual(input, now);
        }
        self.input_seen = input.len();
        self.times.message_ended();
        let (is_binary, payload) = usual?;
        if is_binary {
            return Some(Event::Message(Message::Binary(payload)));
        }
        match Text::try_from(payload) {
            Ok(text) => Some(Event::Message(Message::Text(text))),
            Err(_) => self.fail_receiving(Violation::InvalidUtf8.into(), input, now),
        }
    }

    /// RFC 6455 §7.1.7: after failing, no more input is processed; after Close, none comes.
    #[cold]
    fn poll_ended(&mut self, input: &mut BytesMut) -> Option<Event> {
        input.clear();
        if self.close_hold.is_held() { None } else { self.report_closed() }
    }

    /// The next event where the input does not begin with a whole message of the usual form.
    #[inline(never)]
    fn poll_unusual(&mut self, input: &mut BytesMut, now: Duration) -> Option<Event> {
        let rules = Rules {
            masked: !self.is_client(),
            rsv1: self.deflate.is_some(),
            long_lengths: self.config.accept_long_lengths,
        };
        let inbound = self.deflate.as_deref_mut().map(|deflate| &mut deflate.inbound);
        let received = self.receiver.next(input, &self.config, rules, inbound);
        self.input_seen = input.len();
        match received {
            Ok(None) if input.is_empty() && !self.receiver.is_inside_message() => {
                self.times.message_ended();
                None
            }
            Ok(None) => {
                self.times.message_goes_on(now);
                None
            }
            Ok(Some(received)) => {
                if !self.receiver.is_inside_message() {
                    self.times.message_ended();
                }
                self.on_received(received, now)
            }
            Err(failure) => self.fail_receiving(failure, input, now),
        }
    }

    /// The bytes to transmit: write [`chunk`](bytes::Buf::chunk) or
    /// [`chunks_vectored`](bytes::Buf::chunks_vectored), then [`advance`](bytes::Buf::advance) by what
    /// was written.
    pub fn transmit(&mut self) -> &mut Outbox {
        if self.pong_due.is_some()
            && self.outbox.is_past_mark()
            && let Some(payload) = self.pong_due.take()
        {
            self.queue_pong(payload.as_bytes());
        }
        &mut self.outbox
    }

    /// What to do with the transport once there is nothing to transmit. [`TransportState::Close`] holds
    /// at once, whatever is still queued.
    pub fn transport(&self) -> TransportState {
        if self.over {
            return TransportState::Close;
        }
        if self.outbox.is_empty() { self.transport_afterwards() } else { TransportState::Open }
    }

    /// What is to be done with the transport once what is queued is transmitted, if nothing is queued
    /// after it. So the last bytes can go out in one packet with the transport's end.
    pub fn transport_afterwards(&self) -> TransportState {
        if self.state != State::Closed {
            return TransportState::Open;
        }
        if self.eof {
            return TransportState::Close;
        }
        // After a clean close it is the server that ends the TCP connection first (RFC 6455 §7.1.1).
        let clean = self.closed().is_some_and(Closed::is_clean);
        if clean && self.is_client() { TransportState::Open } else { TransportState::HalfClose }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` if nothing is awaited.
    /// It may change with every input and command.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.over {
            return None;
        }
        // Mostly there is but one, so the others are looked at first.
        let others = [self.close_deadline(), self.message_deadline()].into_iter().flatten().min();
        match (others, self.keepalive_deadline()) {
            (None, keepalive) => keepalive,
            (others, keepalive) => others.into_iter().chain(keepalive).min(),
        }
    }
}

impl Connection {
    fn new(role: Role, config: Arc<Config>, now: Duration) -> Self {
        Self {
            role,
            config,
            state: State::Open,
            deflate: None,
            receiver: Receiver::default(),
            input_seen: 0,
            times: Times::new(now),
            outbox: Outbox::default(),
            fragmented: None,
            pong_due: None,
            ending: None,
            eof: false,
            over: false,
            pinged: false,
            heard_out: false,
            close_hold: CloseHold::Never,
        }
    }

    fn on_received(&mut self, received: Received, now: Duration) -> Option<Event> {
        match received {
            Received::Message(message) => Some(Event::Message(message)),
            Received::Part(part) => {
                // Each part has the time that a whole message has.
                match part.last {
                    true => self.times.message_ended(),
                    false => self.times.message_begins(now),
                }
                Some(Event::Part(part))
            }
            Received::Ping(payload) => {
                self.answer_ping(&payload);
                Some(Event::Ping(payload))
            }
            Received::Pong(payload) => {
                if payload.is_empty() {
                    self.times.ponged(now);
                }
                Some(Event::Pong(payload))
            }
            Received::Close(frame) => {
                self.heard_out = self.input_seen == 0 && !self.pinged;
                if matches!(self.close_hold, CloseHold::Next) && self.state == State::Open {
                    self.begin_hold(frame, now);
                    return None;
                }
                self.stop_receiving();
                if self.ending.is_none() {
                    self.queue_close(frame.clone(), Peer::Remote, now);
                }
                if let Some(ending) = &mut self.ending {
                    ending.closed.received = frame.into();
                }
                self.report_closed()
            }
        }
    }

    fn send_control(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), Misuse> {
        if self.state != State::Open {
            return Err(Misuse::Closing);
        }
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(Misuse::LongControl(payload.len()));
        }
        self.queue_control(opcode, payload);
        Ok(())
    }

    /// Not among what is done for each message.
    #[cold]
    fn answer_ping(&mut self, payload: &[u8]) {
        if self.outbox.is_past_mark() {
            self.pong_due = None;
            self.queue_pong(payload);
        } else {
            // Only the latest ping is answered while the peer does not read (RFC 6455 §5.5.3).
            self.pong_due = Some(Box::new(PingPayload::new(payload)));
        }
    }

    #[cold]
    fn queue_pong(&mut self, payload: &[u8]) {
        self.queue_control(Opcode::Pong, payload);
        self.outbox.mark();
    }

    fn queue_control(&mut self, opcode: Opcode, payload: &[u8]) {
        self.pinged |= opcode == Opcode::Ping;
        let header = self.role.header(true, false, opcode, payload);
        self.outbox.push_copy(&header, payload);
    }

    fn queue_frame(&mut self, fin: bool, opcode: Opcode, payload: Bytes) {
        let header = self.role.header(fin, false, opcode, &payload);
        self.outbox.push(&header, payload);
    }

    fn close_deadline(&self) -> Option<Duration> {
        self.ending.as_ref()?.deadline
    }

    fn message_deadline(&self) -> Option<Duration> {
        let timeout = self.config.message_timeout.filter(|_| self.state != State::Closed)?;
        self.times.message_deadline(timeout)
    }

    fn keepalive_deadline(&self) -> Option<Duration> {
        let is_open = self.state == State::Open && !self.close_hold.is_held();
        let keepalive = self.config.keepalive.filter(|_| is_open)?;
        self.times.keepalive_deadline(keepalive)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("client", &self.is_client())
            .field("state", &self.state)
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}
