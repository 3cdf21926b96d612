//! The receiving side of a connection: from the transport through the protocol to the application.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use sockeye_proto::{Event, Message, Part};
use tokio_util::io::poll_read_buf;

use super::{arrival::Arrival, input::Input, state::SocketState};
use crate::{Error, clock};

/// How many bytes and messages are taken in while the application does not ask for them.
const MAX_WAITING_BYTES: usize = 64 << 10;
const MAX_WAITING: usize = 16;

/// What a connection has received, and what its reader is doing.
pub(super) struct Inbound {
    /// The bytes received and not decoded yet; no buffer while there are none.
    pub(super) input: Input,
    /// What was decoded while the reader was not waiting.
    waiting: Option<Box<ReadAhead>>,
    pub(super) reader: ReaderState,
    parts: Parts,
    /// The number of messages that were received in parts, the current one included.
    begun_in_parts: u32,
    /// Whether the application answers the peer's Close itself.
    pub(super) answers_close: bool,
    pub(super) read_side: ReadSide,
}

/// What the reading handle is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReaderState {
    /// It exists, and has not been polled yet.
    Idle,
    /// It was polled, and its task waits for a message.
    Waiting,
    /// It was given something, and has not asked for more: the application may still be answering.
    Busy,
    /// It is dropped: what arrives is discarded.
    Gone,
}

/// How far the application is in a message that it receives in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    /// Not inside one.
    Outside,
    /// It was given a part, and not yet the last.
    Inside,
    /// It gave the message up: its parts are discarded up to the last.
    Skipping,
}

/// What the transport has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadSide {
    /// Perhaps more bytes.
    Open,
    /// No more at the last read, which took everything.
    Drained,
    /// No more ever: its end or an error was read. It may still take bytes.
    Ended,
}

/// Messages, or parts of them, that the application has not asked for yet.
#[derive(Default)]
struct ReadAhead {
    arrivals: VecDeque<Arrival>,
    bytes: usize,
}

impl Inbound {
    /// `input` is what was read together with the handshake.
    pub(super) fn new(input: &[u8]) -> Self {
        Self {
            input: Input::new(input),
            waiting: None,
            reader: ReaderState::Idle,
            parts: Parts::Outside,
            begun_in_parts: 0,
            answers_close: false,
            read_side: ReadSide::Open,
        }
    }

    /// Whether received messages have a reader to go to.
    pub(super) fn has_reader(&self) -> bool {
        self.reader != ReaderState::Gone
    }

    /// Whether decoded messages wait for the reader.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Keeps an arrival until the reader asks for it.
    pub(super) fn push(&mut self, arrival: Arrival) {
        let waiting = self.waiting.get_or_insert_default();
        waiting.bytes += arrival.len();
        waiting.arrivals.push_back(arrival.detached());
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

    /// Discards what is left of a message of which the application was given a part.
    fn skip_parts(&mut self) {
        if self.parts != Parts::Inside {
            return;
        }
        self.parts = Parts::Skipping;
        while self.parts == Parts::Skipping
            && let Some(Arrival::Part(part)) = self.next_waiting()
        {
            self.skip(part.last);
        }
    }

    /// A part was discarded.
    fn skip(&mut self, last: bool) {
        if last {
            self.parts = Parts::Outside;
        }
    }

    /// The application is given a part, or learns that there is none.
    fn note_part(&mut self, part: Option<&Part>) {
        match part {
            Some(part) if !part.last => self.parts = Parts::Inside,
            Some(_) => self.parts = Parts::Outside,
            None if self.parts == Parts::Inside => self.parts = Parts::Outside,
            None => {}
        }
    }

    /// Whether as much was decoded as is kept for a reader that does not ask.
    fn is_full(&self) -> bool {
        let is_enough = |waiting: &ReadAhead| {
            waiting.arrivals.len() >= MAX_WAITING || waiting.bytes >= MAX_WAITING_BYTES
        };
        self.waiting.as_deref().is_some_and(is_enough)
    }
}

impl SocketState {
    /// The next message; `None` at the end. `cx` wakes the connection.
    pub(in crate::socket) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        self.inbound.skip_parts();
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
    pub(in crate::socket) fn poll_first_part(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(u32, Part), Error>>> {
        self.inbound.skip_parts();
        self.connection.receive_parts(true);
        let first = ready!(self.poll_part(cx));
        self.inbound.begun_in_parts += 1;
        Poll::Ready(first.map(|first| first.map(|part| (self.inbound.begun_in_parts, part))))
    }

    /// The next part of the message; `None` at the connection's end.
    pub(in crate::socket) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Part, Error>>> {
        let arrival = ready!(self.poll_arrival(cx));
        let part = arrival.map(|arrival| arrival.map(Arrival::into_part));
        self.inbound.note_part(part.as_ref().and_then(|part| part.as_ref().ok()));
        Poll::Ready(part)
    }

    /// The same for the message of this number, if the application has not gone on to another.
    pub(in crate::socket) fn skip_parts_of(&mut self, number: u32) {
        if self.inbound.begun_in_parts == number {
            self.inbound.skip_parts();
        }
    }

    pub(super) fn poll_arrival(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arrival, Error>>> {
        self.inbound.reader = ReaderState::Busy;
        if let Some(arrival) = self.inbound.next_waiting() {
            return Poll::Ready(Some(Ok(arrival)));
        }
        loop {
            if !self.inbound.input.is_empty() || !self.connection.is_at_rest() {
                let now = clock::elapsed();
                if let Some(arrival) = self.next_arrival(cx, now) {
                    return Poll::Ready(Some(Ok(arrival.detached())));
                }
                // Only if the message is wanted whole.
                self.connection.refuse_oversized(now);
            }
            if self.connection.has_held_close() {
                if self.inbound.answers_close {
                    return Poll::Ready(None);
                }
                // The application was given everything before the Close, and has sent its answers.
                let now = clock::elapsed();
                self.connection.answer_close(now);
                continue;
            }
            self.write(cx);
            if self.may_report_end() {
                self.lifecycle.tell_attachments();
                return Poll::Ready(self.report_end().map(Err));
            }
            if self.read(cx).is_pending() {
                self.inbound.reader = ReaderState::Waiting;
                return Poll::Pending;
            }
        }
    }

    /// Whether there is input that the application has not been given: it is likely to poll again soon, and
    /// what it sends until then can go out in one write.
    pub(in crate::socket) fn has_unread_input(&self) -> bool {
        !self.inbound.input.is_empty() || self.inbound.has_waiting()
    }

    /// The reading handle is dropped: what is left for it, and what still arrives, is discarded.
    pub(in crate::socket) fn drop_reader(&mut self) {
        self.inbound.reader = ReaderState::Gone;
        self.inbound.waiting = None;
        self.inbound.note_part(None);
    }

    /// The next message, or part of one, among the bytes received.
    pub(super) fn next_arrival(&mut self, cx: &mut Context<'_>, now: Duration) -> Option<Arrival> {
        let mut nothing = BytesMut::new();
        while let Some(event) =
            self.connection.poll_event(self.inbound.input.bytes(&mut nothing), now)
        {
            match event {
                Event::Message(message) => return Some(Arrival::Message(message)),
                Event::Part(part) if self.inbound.parts == Parts::Skipping => {
                    self.inbound.skip(part.last);
                }
                Event::Part(part) => return Some(Arrival::Part(part)),
                Event::Pong(payload) => self.on_pong(&payload, now),
                // Pings that arrive together are each answered, while the transport takes the pongs.
                Event::Ping(_) => self.write(cx),
                Event::Closed(_) => self.stop_waiting_for_pongs(),
            }
        }
        None
    }

    /// Reads once; ready if there may be something new to look at.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(io) = self.lifecycle.io() else { return Poll::Ready(()) };
        if self.inbound.read_side == ReadSide::Ended {
            return Poll::Pending;
        }
        let missing = self.connection.missing(self.inbound.input.len());
        let input = self.inbound.input.make_room(missing);
        let room = input.capacity() - input.len();
        let result = poll_read_buf(Pin::new(&mut *io), cx, input);
        self.inbound.read_side = match result {
            Poll::Ready(Ok(count)) if count < room && io.is_drained_by_short_reads() => {
                ReadSide::Drained
            }
            _ => ReadSide::Open,
        };
        if result.is_pending() || self.inbound.input.is_empty() {
            self.settle_input();
        }
        match result {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0)) => {
                self.inbound.read_side = ReadSide::Ended;
                self.connection.handle_eof(clock::elapsed());
            }
            Poll::Ready(Err(error)) => {
                let now = clock::elapsed();
                self.inbound.read_side = ReadSide::Ended;
                self.lifecycle.note_error(error);
                self.connection.handle_eof(now);
                self.connection.abort(now);
            }
        }
        Poll::Ready(())
    }

    /// Gives an empty buffer back to the thread's pool.
    pub(in crate::socket) fn release_empty_input(&mut self) {
        if self.inbound.input.is_empty() {
            self.inbound.input.release();
        }
    }

    /// Nothing is read for now: keeps memory in proportion to what has arrived.
    pub(super) fn settle_input(&mut self) {
        self.inbound.input.settle(self.connection.missing(self.inbound.input.len()));
    }

    /// Whether reading pauses: a reader that does not ask has enough waiting, or the message is too large.
    pub(super) fn is_paused(&self) -> bool {
        self.inbound.is_full() || self.connection.is_oversized()
    }
}
