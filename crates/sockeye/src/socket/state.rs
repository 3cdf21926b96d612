//! The state that the handles of a connection share, and how bytes move through it.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use sockeye_proto::{
    Closed, Connection, Event, Failure, Message, Misuse, Prepared, State as Stage, Transport,
};
use tokio::{io::AsyncWrite, sync::oneshot};
use tokio_util::io::poll_read_buf;

use super::{
    buffers::{self, READ_SIZE},
    io::Io,
};
use crate::Error;

/// How much is queued before senders wait.
const HIGH_WATER: usize = 64 << 10;
/// How many bytes and messages are taken in while the application does not ask for them.
const MAX_WAITING_BYTES: usize = 64 << 10;
const MAX_WAITING: usize = 16;
/// How many buffers one write takes.
const MAX_SLICES: usize = 16;

pub(super) struct State {
    pub(super) connection: Connection,
    /// The transport, until it is at its end.
    io: Option<Io>,
    /// What was received and not understood yet; no buffer while there is nothing.
    input: BytesMut,
    /// Messages that were taken in while the application was elsewhere.
    waiting: VecDeque<Message>,
    waiting_bytes: usize,
    /// The round trips that are being measured.
    pings: Vec<(u64, Instant, oneshot::Sender<Duration>)>,
    pings_sent: u64,
    /// The last of them that is known.
    pub(super) latency: Option<Duration>,
    half_closed: bool,
    /// Whether messages have somebody to go to.
    has_reader: bool,
    /// Whether the caretaker was called and has not come yet.
    pub(super) called: bool,
    /// The deadline that the caretaker watches.
    pub(super) watched: Option<Instant>,
    /// Whether the transport has no more bytes to give; it may still take some.
    read_ended: bool,
    /// Whether the transport takes no more bytes; it may still have some to give.
    write_failed: bool,
    /// The transport's own error, if it had one.
    io_error: Option<io::Error>,
    end_reported: bool,
    /// What is dropped when the transport ends; each takes no lock of a connection then.
    companions: Vec<Box<dyn Send>>,
}

impl State {
    pub(super) fn new(io: Io, connection: Connection, input: BytesMut) -> Self {
        Self {
            connection,
            io: Some(io),
            input,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            pings: Vec::new(),
            pings_sent: 0,
            latency: None,
            half_closed: false,
            has_reader: true,
            called: false,
            watched: None,
            read_ended: false,
            write_failed: false,
            io_error: None,
            end_reported: false,
            companions: Vec::new(),
        }
    }

    /// The next message; `None` at the end. `cx` wakes the connection.
    pub(super) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        if let Some(message) = self.waiting.pop_front() {
            self.waiting_bytes -= message.len();
            if self.waiting.is_empty() {
                self.waiting = VecDeque::new();
            }
            return Poll::Ready(Some(Ok(message)));
        }
        let now = Instant::now();
        loop {
            if let Some(message) = self.next_message(cx, now) {
                return Poll::Ready(Some(Ok(buffers::detach(message))));
            }
            self.write(cx);
            if self.may_report_end(cx) {
                return Poll::Ready(self.report_end());
            }
            if self.read(cx, now).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Does what cannot wait for the application: answers pings and Close, writes what is queued,
    /// takes in a little of what has come. `cx` wakes the connection.
    pub(super) fn attend(&mut self, cx: &mut Context<'_>) {
        let now = Instant::now();
        self.called = false;
        loop {
            while !self.is_paused() {
                let Some(message) = self.next_message(cx, now) else { break };
                if self.has_reader {
                    self.waiting_bytes += message.len();
                    self.waiting.push_back(buffers::detach(message));
                }
            }
            self.write(cx);
            self.follow_transport(cx);
            if self.has_ended() || self.is_paused() || self.read(cx, now).is_pending() {
                return;
            }
        }
    }

    /// Has the socket wake the connection when something comes, though nobody waits for it.
    pub(super) fn listen(&mut self, cx: &mut Context<'_>) {
        if !self.has_unread_input() && !self.is_paused() {
            // Should something be there already, then `needs_attention` says so.
            let _ = self.read(cx, Instant::now());
        }
    }

    /// The deadline has passed.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.attend(cx);
        let now = Instant::now();
        if self.is_paused() {
            self.connection.handle_paused(now);
        }
        self.connection.handle_timeout(now);
        self.attend(cx);
    }

    /// Keeps something until the transport ends.
    pub(super) fn until_end(&mut self, companion: Box<dyn Send>) {
        if !self.has_ended() {
            self.companions.reserve_exact(1);
            self.companions.push(companion);
        }
    }

    /// Whether a sender may queue more.
    pub(super) fn has_room(&self) -> bool {
        self.connection.queued() < HIGH_WATER || self.has_ended()
    }

    /// Whether there is input that the application has not seen: it will be back soon, and what it
    /// sends until then may go out in one write.
    pub(super) fn has_unread_input(&self) -> bool {
        !self.input.is_empty() || !self.waiting.is_empty()
    }

    /// Whether there is something to do that should not wait for the application to come back.
    pub(super) fn needs_attention(&self) -> bool {
        !self.has_ended()
            && (self.has_unread_input()
                || self.connection.queued() > 0
                || self.connection.closed().is_some())
    }

    /// Whether there is something that a waiting reader should know.
    pub(super) fn has_news(&self) -> bool {
        !self.waiting.is_empty() || self.connection.closed().is_some()
    }

    /// Messages have nobody to go to any more.
    pub(super) fn drop_reader(&mut self) {
        self.has_reader = false;
        self.waiting = VecDeque::new();
        self.waiting_bytes = 0;
    }

    /// Whether the transport is closed.
    pub(super) fn has_ended(&self) -> bool {
        self.io.is_none()
    }

    /// Queues a ping of ours, whose pong will be announced.
    pub(super) fn ping(&mut self) -> Result<oneshot::Receiver<Duration>, Error> {
        let number = self.pings_sent;
        self.connection
            .ping(Bytes::copy_from_slice(&number.to_be_bytes()))
            .map_err(|misuse| self.send_error(misuse))?;
        self.pings_sent += 1;
        // Those who gave up waiting do not pile up.
        self.pings.retain(|(_, _, waiter)| !waiter.is_closed());
        let (sender, receiver) = oneshot::channel();
        self.pings.push((number, Instant::now(), sender));
        Ok(receiver)
    }

    /// Queues a message. That there is room has been checked.
    pub(super) fn queue(&mut self, message: Message, compress: bool) -> Result<(), Error> {
        self.connection.send_with(message, compress).map_err(|misuse| self.send_error(misuse))
    }

    /// Queues a message that was prepared for many connections.
    pub(super) fn queue_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        self.connection.send_prepared(prepared).map_err(|misuse| self.send_error(misuse))
    }

    /// Why nothing can be sent any more, if so.
    pub(super) fn closed_to_sending(&self) -> Option<Error> {
        let open = self.connection.state() == Stage::Open;
        (!open).then(|| self.send_error(Misuse::Closing))
    }

    /// Why nothing can be sent any more.
    pub(super) fn send_error(&self, misuse: Misuse) -> Error {
        match self.connection.closed().and_then(|closed| closed.failure) {
            Some(failure) => Error::Failed(failure),
            None => Error::Misuse(misuse),
        }
    }

    pub(super) fn closed(&self) -> Option<&Closed> {
        self.connection.closed()
    }

    /// Writes what is queued, as far as the transport takes it.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) {
        let Some(io) = &mut self.io else { return };
        let result = loop {
            let outbox = self.connection.transmit();
            if !outbox.has_remaining() {
                // Transports that buffer, such as TLS, have not sent anything yet.
                break Pin::new(io).poll_flush(cx);
            }
            if self.write_failed {
                outbox.advance(outbox.remaining());
                return;
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = outbox.chunks_vectored(&mut slices);
            let written = match &slices[..filled] {
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
            let outbox = self.connection.transmit();
            outbox.advance(outbox.remaining());
        }
    }

    /// The next message among the bytes received.
    fn next_message(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<Message> {
        while let Some(event) = self.connection.poll_event(&mut self.input, now) {
            match event {
                Event::Message(message) => return Some(message),
                Event::Pong(payload) => self.on_pong(&payload, now),
                // Of pings that come together each gets its pong, while the transport takes them.
                Event::Ping(_) => self.write(cx),
                Event::Closed(_) => self.pings.clear(),
            }
        }
        None
    }

    fn on_pong(&mut self, payload: &[u8], now: Instant) {
        if payload.is_empty() {
            // That of a keepalive ping: the protocol knows.
            self.latency = self.connection.keepalive_latency().or(self.latency);
        }
        let Ok(number) = payload.try_into().map(u64::from_be_bytes) else { return };
        // A pong also answers the pings before it (RFC 6455 §5.5.3).
        while let Some(i) = self.pings.iter().position(|(sent, ..)| *sent <= number) {
            let (_, sent, waiter) = self.pings.remove(i);
            let latency = now - sent;
            self.latency = Some(latency);
            // Nobody may be waiting any more.
            let _ = waiter.send(latency);
        }
    }

    /// Reads once; ready if there may be something new to look at.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let Some(io) = &mut self.io else { return Poll::Ready(()) };
        if self.read_ended {
            return Poll::Pending;
        }
        if self.input.is_empty() {
            self.input = buffers::take();
        } else {
            let missing = self.connection.missing(self.input.len());
            self.input.reserve(missing.clamp(READ_SIZE / 16, 16 * self.input.len().max(READ_SIZE)));
        }
        let result = poll_read_buf(Pin::new(io), cx, &mut self.input);
        if result.is_pending() || self.input.is_empty() {
            self.release_input();
        }
        match result {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0)) => {
                self.read_ended = true;
                self.connection.handle_eof(now);
            }
            Poll::Ready(Err(error)) => {
                self.read_ended = true;
                self.io_error.get_or_insert(error);
                self.connection.handle_eof(now);
                self.connection.abort(now);
            }
        }
        Poll::Ready(())
    }

    /// Keeps no more of a buffer than there is in it.
    fn release_input(&mut self) {
        let used = self.input.len();
        if used == 0 {
            buffers::give_back(std::mem::take(&mut self.input));
        } else if used <= READ_SIZE / 16 && self.connection.missing(used) < READ_SIZE / 2 {
            let rest = BytesMut::from(&self.input[..]);
            buffers::give_back(std::mem::replace(&mut self.input, rest));
        }
    }

    /// Whether enough was taken in for an application that does not ask.
    fn is_paused(&self) -> bool {
        self.waiting.len() >= MAX_WAITING || self.waiting_bytes >= MAX_WAITING_BYTES
    }

    /// Ends the transport as far as the protocol allows by now.
    fn follow_transport(&mut self, cx: &mut Context<'_>) {
        match self.connection.transport() {
            Transport::Open => {}
            Transport::HalfClose if self.half_closed => {}
            Transport::HalfClose => {
                let Some(io) = &mut self.io else { return };
                // An error will show when reading.
                self.half_closed = Pin::new(io).poll_shutdown(cx).is_ready();
            }
            Transport::Close => {
                // Before the peer sees the end: its place is free when it comes back.
                self.companions = Vec::new();
                if let Some(io) = self.io.take() {
                    io.close(cx);
                }
                self.input = BytesMut::new();
            }
        }
    }

    /// Whether the application may be told the end: a server's, when its Close is written; a client's,
    /// when the server has ended the transport (RFC 6455 §7.1.1).
    fn may_report_end(&mut self, cx: &mut Context<'_>) -> bool {
        self.follow_transport(cx);
        self.has_ended() || (self.half_closed && !self.connection.is_client())
    }

    fn report_end(&mut self) -> Option<Result<Message, Error>> {
        if std::mem::replace(&mut self.end_reported, true) {
            return None;
        }
        let failure = self.closed()?.failure?;
        Some(Err(match (failure, self.io_error.take()) {
            (Failure::Lost, Some(error)) => Error::Io(error),
            _ => Error::Failed(failure),
        }))
    }
}
