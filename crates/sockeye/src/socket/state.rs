//! The state that the handles of a connection share, and how bytes move through it.

mod ending;

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use sockeye_proto::{
    Closed, Compression, Connection, Event, Fragment, Message, MessageKind, Part, Prepared,
    State as Stage, Transport,
};
use tokio::{io::AsyncWrite, sync::oneshot};
use tokio_util::io::poll_read_buf;

use super::{
    arrival::Arrival,
    input::Input,
    io::Io,
    member::Companion,
    outgoing::{BehindStream, Outgoing},
    pings::Pings,
    wheel::{NEVER, Tick},
};
use crate::{Error, clock};

/// How much is queued before senders wait.
const HIGH_WATER: usize = 64 << 10;
/// How many bytes and messages are taken in while the application does not ask for them.
const MAX_WAITING_BYTES: usize = 64 << 10;
const MAX_WAITING: usize = 16;
/// How many buffers one write takes.
const MAX_SLICES: usize = 16;

pub(super) struct State {
    pub(super) connection: Connection,
    /// What the connection's time counts from.
    began: Instant,
    /// The transport, until it is at its end.
    io: Option<Io>,
    /// What was received and not understood yet; no buffer while there is nothing.
    input: Input,
    /// What was taken in while the application was elsewhere.
    waiting: Option<Box<Waiting>>,
    /// Whether the application has had a part of a message, and not yet the last.
    inside_parts: bool,
    /// Whether the application has something in hand that it was given, and has not asked for more.
    in_hand: bool,
    /// Whether the application answers the peer's Close itself.
    pub(super) answers_close: bool,
    /// How many messages were begun to be received in parts.
    begun_in_parts: u32,
    /// Whether parts are thrown away, up to the last one of their message.
    skipping_parts: bool,
    /// If somebody sends a message in fragments: the messages that were accepted before that began.
    behind_stream: Option<Box<BehindStream>>,
    /// The pings that the application has sent, if any.
    pings: Option<Box<Pings>>,
    half_closed: bool,
    /// Whether messages have somebody to go to.
    has_reader: bool,
    /// Whether the caretaker was called and has not come yet.
    pub(super) called: bool,
    /// Whether the reader left his waker, and has not come since.
    pub(super) reader_parked: bool,
    /// The deadline that the caretaker watches.
    pub(super) watched: Tick,
    /// Whether the last read took all that the transport had.
    drained: bool,
    /// Whether the transport has no more bytes to give; it may still take some.
    read_ended: bool,
    /// Whether the transport takes no more bytes; it may still have some to give.
    write_failed: bool,
    /// Whether something was queued that was never written.
    pub(super) discarded: bool,
    /// The transport's own error, if it had one.
    io_error: Option<io::Error>,
    end_reported: bool,
    /// What is dropped when the transport ends; each takes no lock of a connection then.
    companions: Option<Box<dyn Companion>>,
}

/// Messages, or parts of them, that nobody has asked for yet.
#[derive(Default)]
struct Waiting {
    arrivals: VecDeque<Arrival>,
    bytes: usize,
}

impl State {
    pub(super) fn new(io: Io, mut connection: Connection, input: &[u8]) -> Self {
        // What a client sends and closes behind is answered first.
        connection.hold_close(!connection.is_client());
        Self {
            connection,
            began: clock::now(),
            io: Some(io),
            input: Input::new(input),
            waiting: None,
            inside_parts: false,
            in_hand: false,
            answers_close: false,
            begun_in_parts: 0,
            skipping_parts: false,
            behind_stream: None,
            pings: None,
            half_closed: false,
            has_reader: true,
            called: false,
            reader_parked: false,
            watched: NEVER,
            drained: false,
            read_ended: false,
            write_failed: false,
            discarded: false,
            io_error: None,
            end_reported: false,
            companions: None,
        }
    }

    /// The connection's time.
    pub(super) fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.began)
    }

    /// When the connection wants to be told that time has passed.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.began.checked_add(self.connection.poll_timeout()?)
    }

    /// The next message; `None` at the end. `cx` wakes the connection.
    pub(super) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        self.skip_parts();
        self.connection.receive_parts(false);
        loop {
            match ready!(self.poll_arrival(cx)) {
                Some(Ok(Arrival::Message(message))) => return Poll::Ready(Some(Ok(message))),
                Some(Ok(Arrival::Part(_))) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// The first part of the next message, as soon as there is anything of it, with the message's
    /// number; `None` at the end.
    pub(super) fn poll_first_part(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(u32, Part), Error>>> {
        self.skip_parts();
        self.connection.receive_parts(true);
        let first = ready!(self.poll_part(cx));
        self.begun_in_parts += 1;
        Poll::Ready(first.map(|first| first.map(|part| (self.begun_in_parts, part))))
    }

    /// The next part of the message; `None` at the connection's end.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, Error>>> {
        let arrival = ready!(self.poll_arrival(cx));
        let part = arrival.map(|arrival| arrival.map(Arrival::into_part));
        self.inside_parts = matches!(&part, Some(Ok(part)) if !part.last);
        Poll::Ready(part)
    }

    /// Throws away what is left of a message of which the application has had a part.
    pub(super) fn skip_parts(&mut self) {
        if !std::mem::take(&mut self.inside_parts) {
            return;
        }
        self.skipping_parts = true;
        while self.skipping_parts
            && let Some(Arrival::Part(part)) = self.next_waiting()
        {
            self.skipping_parts = !part.last;
        }
    }

    /// The same for the message of this number, if the application has not gone on to another.
    pub(super) fn skip_parts_of(&mut self, number: u32) {
        if self.begun_in_parts == number {
            self.skip_parts();
        }
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Arrival, Error>>> {
        self.in_hand = true;
        if let Some(arrival) = self.next_waiting() {
            return Poll::Ready(Some(Ok(arrival)));
        }
        loop {
            if !self.input.is_empty() || !self.connection.is_at_rest() {
                let now = self.now();
                if let Some(arrival) = self.next_arrival(cx, now) {
                    return Poll::Ready(Some(Ok(arrival.detached())));
                }
                // If it is wanted whole.
                self.connection.refuse_oversized(now);
            }
            if self.connection.has_held_close() {
                if self.answers_close {
                    return Poll::Ready(None);
                }
                // The application has had all that came before it, and has answered what it would.
                let now = self.now();
                self.connection.answer_close(now);
                continue;
            }
            self.write(cx);
            if self.may_report_end() {
                if let Some(companions) = &mut self.companions {
                    companions.end_is_told();
                }
                return Poll::Ready(self.report_end().map(Err));
            }
            if self.read(cx).is_pending() {
                self.in_hand = false;
                return Poll::Pending;
            }
        }
    }

    fn next_waiting(&mut self) -> Option<Arrival> {
        let waiting = self.waiting.as_mut()?;
        let arrival = waiting.arrivals.pop_front();
        waiting.bytes -= arrival.as_ref().map_or(0, Arrival::len);
        if waiting.arrivals.is_empty() {
            self.waiting = None;
        }
        arrival
    }

    /// Does what cannot wait for the application: answers pings and Close, writes what is queued,
    /// takes in a little of what has come. `cx` wakes the connection.
    pub(super) fn attend(&mut self, cx: &mut Context<'_>) {
        self.called = false;
        if self.has_ended() {
            return;
        }
        let now = self.now();
        // How the next message is wanted is said when it is asked for; what nobody wants is not held.
        self.connection.receive_parts(!self.has_reader);
        loop {
            while !self.is_paused() {
                let Some(arrival) = self.next_arrival(cx, now) else { break };
                if self.has_reader {
                    let waiting = self.waiting.get_or_insert_default();
                    waiting.bytes += arrival.len();
                    waiting.arrivals.push_back(arrival.detached());
                }
            }
            if self.has_idle_close() {
                self.connection.answer_close(now);
                continue;
            }
            self.write(cx);
            if self.has_ended() || self.is_paused() {
                self.settle_input();
                return;
            }
            if self.read(cx).is_pending() {
                return;
            }
        }
    }

    /// The deadline has passed.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.attend(cx);
        let now = self.now();
        if self.is_paused() {
            self.connection.handle_paused(now);
        }
        self.connection.handle_timeout(now);
        self.attend(cx);
    }

    /// Keeps something until the transport ends.
    pub(super) fn until_end(&mut self, companion: Box<dyn Companion>) {
        if !self.has_ended() {
            self.companions = Some(match self.companions.take() {
                None => companion,
                Some(others) => Box::new((others, companion)),
            });
        }
    }

    /// Whether a sender may queue more.
    pub(super) fn has_room(&self) -> bool {
        self.has_room_between() && !self.is_streaming()
    }

    /// The same for what may stand between the fragments of a message: pings, and the fragments.
    pub(super) fn has_room_between(&self) -> bool {
        self.connection.queued() < HIGH_WATER || self.connection.state() == Stage::Closed
    }

    /// How many bytes are queued and not written yet.
    pub(super) fn queued(&self) -> usize {
        let behind = self.behind_stream.iter().flat_map(|behind| &behind.0);
        self.connection.queued() + behind.map(Outgoing::len).sum::<usize>()
    }

    /// Whether there is input that the application has not seen: it will be back soon, and what it
    /// sends until then may go out in one write.
    pub(super) fn has_unread_input(&self) -> bool {
        !self.input.is_empty() || self.waiting.is_some()
    }

    /// Whether there is something that a waiting reader should know.
    pub(super) fn has_news(&self) -> bool {
        self.waiting.is_some()
            || self.connection.closed().is_some()
            || self.connection.has_held_close()
            || self.connection.is_oversized()
    }

    /// Messages have nobody to go to any more.
    pub(super) fn drop_reader(&mut self) {
        self.has_reader = false;
        self.waiting = None;
        self.inside_parts = false;
    }

    /// Whether the transport is closed.
    pub(super) fn has_ended(&self) -> bool {
        self.io.is_none()
    }

    /// Queues a ping of ours, whose pong will be announced.
    pub(super) fn ping(&mut self) -> Result<oneshot::Receiver<Duration>, Error> {
        self.check_write_side()?;
        let (latency, now) = (self.latency(), self.now());
        let pings = self.pings.get_or_insert_with(|| Box::new(Pings::new(latency)));
        let queued = self.connection.ping(pings.next_payload());
        match queued {
            Ok(()) => Ok(pings.sent(now)),
            Err(misuse) => Err(self.send_error(misuse)),
        }
    }

    /// The latest round-trip time known, of a ping of the application's or of keepalive.
    pub(super) fn latency(&self) -> Option<Duration> {
        match &self.pings {
            Some(pings) => pings.latency,
            None => self.connection.keepalive_latency(),
        }
    }

    /// Queues a message, behind one that is being sent in fragments. That there is room has been
    /// checked, if only before another began to stream.
    pub(super) fn queue(
        &mut self,
        message: Message,
        compression: Compression,
    ) -> Result<(), Error> {
        self.check_write_side()?;
        if let Some(behind) = self.behind_stream() {
            behind.push(Outgoing::Message(message, compression));
            return Ok(());
        }
        self.connection.send_with(message, compression).map_err(|misuse| self.send_error(misuse))
    }

    /// Begins a message in fragments. That there is room has been checked.
    pub(super) fn begin_stream(&mut self) -> Result<(), Error> {
        self.closed_to_sending().map_or(Ok(()), Err)?;
        self.behind_stream = Some(Box::default());
        Ok(())
    }

    /// Queues the next fragment of a message; after the last one others may send again.
    pub(super) fn queue_fragment(
        &mut self,
        kind: MessageKind,
        payload: Bytes,
        fragment: Fragment,
        compression: Compression,
    ) -> Result<(), Error> {
        self.check_write_side()?;
        let queued = self.connection.send_fragment_with(kind, payload, fragment, compression);
        queued.map_err(|misuse| self.send_error(misuse))?;
        if fragment.is_last() {
            self.end_stream();
        }
        Ok(())
    }

    /// No message is being sent in fragments any more.
    pub(super) fn end_stream(&mut self) {
        for waiting in self.behind_stream.take().unwrap_or_default().0 {
            let queued = match waiting {
                Outgoing::Message(message, compression) => self.queue(message, compression),
                Outgoing::Prepared(prepared) => self.queue_prepared(&prepared),
            };
            // It fails only where the connection is closing.
            self.discarded |= queued.is_err();
        }
    }

    /// Whether others have to wait for the end of a message.
    fn is_streaming(&self) -> bool {
        self.behind_stream.is_some() && self.connection.state() == Stage::Open
    }

    /// Where messages go for that time, if so.
    fn behind_stream(&mut self) -> Option<&mut Vec<Outgoing>> {
        let is_streaming = self.is_streaming();
        self.behind_stream.as_mut().filter(|_| is_streaming).map(|behind| &mut behind.0)
    }

    /// Queues a message that was prepared for many connections.
    pub(super) fn queue_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        self.check_write_side()?;
        if let Some(behind) = self.behind_stream() {
            behind.push(Outgoing::Prepared(prepared.clone()));
            return Ok(());
        }
        self.connection.send_prepared(prepared).map_err(|misuse| self.send_error(misuse))
    }

    /// Queues frames that were made before. Nobody is sending a message in fragments.
    pub(super) fn queue_frames(&mut self, frames: &Bytes) -> Result<(), Error> {
        self.check_write_side()?;
        self.connection.send_frames(frames).map_err(|misuse| self.send_error(misuse))
    }

    pub(super) fn closed(&self) -> Option<&Closed> {
        self.connection.closed()
    }

    /// Writes what is queued, as far as the transport takes it, and ends the transport as far as the
    /// protocol allows by then.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) {
        self.write_queued(cx);
        self.follow_transport(cx);
    }

    fn write_queued(&mut self, cx: &mut Context<'_>) {
        let Some(io) = &mut self.io else { return };
        let is_last = self.connection.transport_afterwards() != Transport::Open;
        let result = loop {
            let outbox = self.connection.transmit();
            if !outbox.has_remaining() {
                // Transports that buffer, such as TLS, have not sent anything yet.
                break Pin::new(io).poll_flush(cx);
            }
            if self.write_failed {
                return self.discard_queued();
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = outbox.chunks_vectored(&mut slices);
            let written = match &slices[..filled] {
                [chunk] if is_last => io.poll_write_last(cx, chunk),
                [chunk] => Pin::new(&mut *io).poll_write(cx, chunk),
                slices => Pin::new(&mut *io).poll_write_vectored(cx, slices),
            };
            match written {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => outbox.advance(count),
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
            }
        };
        if let Poll::Ready(Err(error)) = result {
            // The peer's last words may still be there to be read; the end will show there.
            self.write_failed = true;
            self.io_error.get_or_insert(error);
            self.discard_queued();
        }
    }

    /// Throws away what can not be written any more.
    fn discard_queued(&mut self) {
        self.discarded |= self.queued() > 0;
        if let Some(behind) = &mut self.behind_stream {
            **behind = BehindStream::default();
        }
        let outbox = self.connection.transmit();
        outbox.advance(outbox.remaining());
    }

    /// The next message, or part of one, among the bytes received.
    fn next_arrival(&mut self, cx: &mut Context<'_>, now: Duration) -> Option<Arrival> {
        while let Some(event) = self.connection.poll_event(self.input.bytes(), now) {
            match event {
                Event::Message(message) => return Some(Arrival::Message(message)),
                Event::Part(part) if self.skipping_parts => self.skipping_parts = !part.last,
                Event::Part(part) => return Some(Arrival::Part(part)),
                Event::Pong(payload) => self.on_pong(&payload, now),
                // Of pings that come together each gets its pong, while the transport takes them.
                Event::Ping(_) => self.write(cx),
                Event::Closed(_) => self.stop_waiting_for_pongs(),
            }
        }
        None
    }

    fn on_pong(&mut self, payload: &[u8], now: Duration) {
        let Some(pings) = &mut self.pings else { return };
        if payload.is_empty() {
            // That of a keepalive ping: the protocol knows.
            pings.latency = self.connection.keepalive_latency().or(pings.latency);
        } else {
            pings.on_pong(payload, now);
        }
    }

    fn stop_waiting_for_pongs(&mut self) {
        if let Some(pings) = &mut self.pings {
            pings.give_up();
        }
    }

    /// Reads once; ready if there may be something new to look at.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(io) = &mut self.io else { return Poll::Ready(()) };
        if self.read_ended {
            return Poll::Pending;
        }
        self.input.make_room(self.connection.missing(self.input.len()));
        let input = self.input.bytes();
        let room = input.capacity() - input.len();
        let result = poll_read_buf(Pin::new(&mut *io), cx, input);
        self.drained = io.is_drained_by_short_reads()
            && matches!(result, Poll::Ready(Ok(count)) if count < room);
        if result.is_pending() || self.input.is_empty() {
            self.settle_input();
        }
        match result {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0)) => {
                self.read_ended = true;
                self.connection.handle_eof(self.now());
            }
            Poll::Ready(Err(error)) => {
                let now = self.now();
                self.read_ended = true;
                self.io_error.get_or_insert(error);
                self.connection.handle_eof(now);
                self.connection.abort(now);
            }
        }
        Poll::Ready(())
    }

    /// Passes on the buffer of which the last message was all there was.
    pub(super) fn release_empty_input(&mut self) {
        if self.input.is_empty() {
            self.input.release();
        }
    }

    /// Nothing is read for now: no more memory is kept than in proportion to what has come.
    fn settle_input(&mut self) {
        self.input.settle(self.connection.missing(self.input.len()));
    }

    /// Whether enough was taken in for an application that does not ask.
    fn is_paused(&self) -> bool {
        let is_enough = |waiting: &Waiting| {
            waiting.arrivals.len() >= MAX_WAITING || waiting.bytes >= MAX_WAITING_BYTES
        };
        self.waiting.as_deref().is_some_and(is_enough) || self.connection.is_oversized()
    }
}
