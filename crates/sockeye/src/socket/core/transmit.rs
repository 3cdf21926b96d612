//! The sending side of a connection: from the application through the protocol to the transport.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use sockeye_proto::{
    Compression, Fragment, Message, MessageKind, Prepared, State as Stage, TransportState,
};
use tokio::{io::AsyncWrite, sync::oneshot};

use super::{
    outgoing::{BehindStream, Outgoing},
    pings::Pings,
    state::SocketState,
    transport::ByteStream,
};
use crate::{
    Error, clock,
    ring::{self, Socket},
};

/// How much is queued before senders wait.
const HIGH_WATER: usize = 64 << 10;
/// How many buffers one write takes.
const MAX_SLICES: usize = 16;

/// What the application has asked to send and the protocol has not taken yet.
#[derive(Default)]
pub(super) struct Outbound {
    /// What few connections have.
    rare: Option<Box<Rare>>,
    pub(super) write_side: WriteSide,
    /// Whether something was queued that was never written.
    pub(super) discarded: bool,
    /// Whether the background driver is scheduled and has not served the connection yet.
    pub(super) scheduled: bool,
}

#[derive(Default)]
struct Rare {
    /// While a message is being sent in fragments: the messages that were accepted before it began.
    behind_stream: Option<BehindStream>,
    /// The pings that the application has sent, if any.
    pings: Option<Pings>,
}

impl Outbound {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn pings(&mut self) -> Option<&mut Pings> {
        self.rare.as_mut()?.pings.as_mut()
    }
}

/// Whether the transport takes bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteSide {
    #[default]
    Open,
    /// No more: a write has failed. The transport may still have bytes to give.
    Failed,
}

impl SocketState {
    /// Whether a sender may queue more.
    pub(in crate::socket) fn has_room(&self) -> bool {
        self.has_room_between() && !self.is_streaming()
    }

    /// The same for what may go between the fragments of a message: pings, and the fragments themselves.
    pub(in crate::socket) fn has_room_between(&self) -> bool {
        self.connection.queued() < HIGH_WATER || self.connection.state() == Stage::Closed
    }

    /// How many bytes are queued and not written yet.
    pub(in crate::socket) fn queued(&self) -> usize {
        let behind = self
            .outbound
            .rare
            .iter()
            .flat_map(|rare| &rare.behind_stream)
            .flat_map(|behind| &behind.0);
        self.connection.queued() + behind.map(Outgoing::len).sum::<usize>()
    }

    /// Queues a ping of the application; the receiver gets its round-trip time.
    pub(in crate::socket) fn ping(&mut self) -> Result<oneshot::Receiver<Duration>, Error> {
        self.check_write_side()?;
        let (latency, now) = (self.latency(), clock::elapsed());
        let pings = self.outbound.rare().pings.get_or_insert_with(|| Pings::new(latency));
        let queued = self.connection.ping(pings.next_payload());
        match queued {
            Ok(()) => Ok(pings.sent(now)),
            Err(misuse) => Err(self.send_error(misuse)),
        }
    }

    /// The latest round-trip time: of a ping of the application, or of keepalive.
    pub(in crate::socket) fn latency(&self) -> Option<Duration> {
        match self.outbound.rare.as_ref().and_then(|rare| rare.pings.as_ref()) {
            Some(pings) => pings.latency,
            None => self.connection.keepalive_latency(),
        }
    }

    /// Queues a message, behind one that is being sent in fragments. The caller has checked that there is
    /// room, perhaps before a stream began.
    pub(in crate::socket) fn queue(
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

    /// Begins a message in fragments. The caller has checked that there is room.
    pub(in crate::socket) fn begin_stream(&mut self) -> Result<(), Error> {
        self.closed_to_sending().map_or(Ok(()), Err)?;
        self.outbound.rare().behind_stream = Some(BehindStream::default());
        Ok(())
    }

    /// Queues the next fragment of a message. The last one lets others send again.
    pub(in crate::socket) fn queue_fragment(
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
    pub(in crate::socket) fn end_stream(&mut self) {
        let behind = self.outbound.rare.as_mut().and_then(|rare| rare.behind_stream.take());
        for waiting in behind.unwrap_or_default().0 {
            let queued = match waiting {
                Outgoing::Message(message, compression) => self.queue(message, compression),
                Outgoing::Prepared(prepared) => self.queue_prepared(&prepared),
            };
            // It fails only when the connection is closing.
            self.outbound.discarded |= queued.is_err();
        }
    }

    /// Whether other messages have to wait for the end of one in fragments.
    pub(super) fn is_streaming(&self) -> bool {
        self.outbound.rare.as_ref().is_some_and(|rare| rare.behind_stream.is_some())
            && self.connection.state() == Stage::Open
    }

    /// The queue of other messages during that time.
    pub(super) fn behind_stream(&mut self) -> Option<&mut Vec<Outgoing>> {
        let is_streaming = self.is_streaming();
        let behind = self.outbound.rare.as_mut().and_then(|rare| rare.behind_stream.as_mut());
        behind.filter(|_| is_streaming).map(|behind| &mut behind.0)
    }

    /// Queues a message that was prepared for many connections.
    pub(in crate::socket) fn queue_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        self.check_write_side()?;
        if let Some(behind) = self.behind_stream() {
            behind.push(Outgoing::Prepared(prepared.clone()));
            return Ok(());
        }
        self.connection.send_prepared(prepared).map_err(|misuse| self.send_error(misuse))
    }

    /// Queues frames that were made before. No message is being sent in fragments.
    pub(in crate::socket) fn queue_frames(&mut self, frames: &Bytes) -> Result<(), Error> {
        self.check_write_side()?;
        self.connection.send_frames(frames).map_err(|misuse| self.send_error(misuse))
    }

    /// The same, and writes them as far as the transport takes them: past the queue if that is empty.
    pub(in crate::socket) fn write_frames(
        &mut self,
        frames: &Bytes,
        cx: &mut Context<'_>,
    ) -> Result<(), Error> {
        self.check_write_side()?;
        self.connection.may_send_frames().map_err(|misuse| self.send_error(misuse))?;
        let is_first = !self.connection.transmit().has_remaining();
        let written = if is_first { self.write_past_queue(frames, cx) } else { Poll::Pending };
        self.take_written(frames, written, cx)
    }

    /// Writes to a transport that keeps nothing for itself.
    fn write_past_queue(&mut self, frames: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.lifecycle.writable() {
            Some(ByteStream::Tcp(stream)) => Pin::new(stream).poll_write(cx, frames),
            _ => Poll::Pending,
        }
    }

    /// The socket to write frames to past the queue. `None` where there is something before them, where they are not
    /// to be sent, and where the transport keeps something for itself.
    pub(in crate::socket) fn socket_past_queue(&self) -> Option<Socket<'_>> {
        let ByteStream::Tcp(stream) = self.lifecycle.writing_to()? else { return None };
        let is_next = self.queued() == 0
            && !self.is_streaming()
            && self.check_write_side().is_ok()
            && self.connection.may_send_frames().is_ok();
        if is_next { ring::socket(stream) } else { None }
    }

    /// What came of writing frames past the queue: the rest of them is queued, and written as far as the transport
    /// takes it.
    pub(in crate::socket) fn take_written(
        &mut self,
        frames: &Bytes,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Error> {
        let written = match written {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(error)) => {
                self.fail_writing(error);
                0
            }
            Poll::Pending => 0,
        };
        if written < frames.len() {
            self.queue_frames(&frames.slice(written..))?;
            self.write(cx);
        }
        Ok(())
    }

    /// Writes what is queued, as far as the transport takes it, then half-closes or closes the transport if
    /// the protocol says so.
    pub(in crate::socket) fn write(&mut self, cx: &mut Context<'_>) {
        self.write_queued(cx);
        self.follow_transport(cx);
    }

    pub(super) fn write_queued(&mut self, cx: &mut Context<'_>) {
        let Some(io) = self.lifecycle.io() else { return };
        let is_last = self.connection.transport_afterwards() != TransportState::Open;
        let result = loop {
            let outbox = self.connection.transmit();
            if !outbox.has_remaining() {
                // A transport that buffers, such as TLS, may have sent nothing yet.
                break if is_last { io.poll_flush_last(cx) } else { Pin::new(io).poll_flush(cx) };
            }
            if self.outbound.write_side == WriteSide::Failed {
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
            self.fail_writing(error);
            self.discard_queued();
        }
    }

    /// A write has failed. What the peer has sent before may still be unread; reading will find the end.
    fn fail_writing(&mut self, error: io::Error) {
        self.outbound.write_side = WriteSide::Failed;
        self.lifecycle.note_error(error);
    }

    /// Discards what cannot be written any more.
    pub(super) fn discard_queued(&mut self) {
        self.outbound.discarded |= self.queued() > 0;
        if let Some(behind) =
            self.outbound.rare.as_mut().and_then(|rare| rare.behind_stream.as_mut())
        {
            *behind = BehindStream::default();
        }
        let outbox = self.connection.transmit();
        outbox.advance(outbox.remaining());
    }

    pub(super) fn on_pong(&mut self, payload: &[u8], now: Duration) {
        let Some(pings) = self.outbound.pings() else { return };
        if payload.is_empty() {
            // The pong of a keepalive ping, which the protocol has measured.
            pings.latency = self.connection.keepalive_latency().or(pings.latency);
        } else {
            pings.on_pong(payload, now);
        }
    }

    pub(super) fn stop_waiting_for_pongs(&mut self) {
        if let Some(pings) = self.outbound.pings() {
            pings.give_up();
        }
    }
}
