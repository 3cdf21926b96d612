//! The lifecycle of a connection: when its transport ends, and what the application is told.

use std::{
    io,
    pin::Pin,
    task::{Context, Waker},
};

use sockeye_proto::{
    CloseCode, CloseFrame, Closed, Failure, Misuse, State as Stage, TransportState,
};
use tokio::io::AsyncWrite;

use super::{
    attachment::Attachment,
    receive::{ReadSide, ReaderState},
    state::SocketState,
    transmit::WriteSide,
    transport::ByteStream,
};
use crate::{Error, clock};

/// The transport of a connection, and what its end has done so far.
///
/// The transport is open, half-closed, or closed. An enum of these would take a word more.
pub(super) struct Lifecycle {
    /// `None` when it is closed.
    io: Option<ByteStream>,
    /// Whether this end has ended its direction (FIN).
    half_closed: bool,
    /// Whether the application was told how the connection ended.
    end_reported: bool,
    /// The first error of the transport, if it had one.
    io_error: Option<io::Error>,
    /// Dropped when the transport ends. Their destructors take no lock of a connection.
    attachments: Option<Box<dyn Attachment>>,
}

impl Lifecycle {
    pub(super) fn new(io: ByteStream) -> Self {
        let (half_closed, end_reported) = (false, false);
        Self { io: Some(io), half_closed, end_reported, io_error: None, attachments: None }
    }

    /// The transport, unless it is closed.
    pub(super) fn io(&mut self) -> Option<&mut ByteStream> {
        self.io.as_mut()
    }

    /// The transport, if it takes bytes.
    pub(super) fn writable(&mut self) -> Option<&mut ByteStream> {
        self.io.as_mut().filter(|_| !self.half_closed)
    }

    /// The same, to look at.
    pub(super) fn writing_to(&self) -> Option<&ByteStream> {
        self.io.as_ref().filter(|_| !self.half_closed)
    }

    /// Whether this end has ended its direction; the peer has not, or its end was not read yet.
    fn is_half_closed(&self) -> bool {
        self.io.is_some() && self.half_closed
    }

    /// Ends this end's direction, as far as the transport is ready to. An error will show when reading.
    fn half_close(&mut self, cx: &mut Context<'_>) {
        if let Some(io) = self.writable() {
            self.half_closed = Pin::new(io).poll_shutdown(cx).is_ready();
        }
    }

    /// Closes the transport.
    fn close(&mut self) {
        if let Some(io) = self.io.take() {
            io.close(self.half_closed);
        }
    }

    /// Keeps the first error of the transport, which the application is told.
    pub(super) fn note_error(&mut self, error: io::Error) {
        self.io_error.get_or_insert(error);
    }

    /// The application is being told the end.
    pub(super) fn tell_attachments(&mut self) {
        if let Some(attachments) = &mut self.attachments {
            attachments.end_reported();
        }
    }
}

impl SocketState {
    pub(super) fn follow_transport(&mut self, cx: &mut Context<'_>) {
        if self.has_ended() {
            return;
        }
        let is_drained = self.inbound.read_side == ReadSide::Drained;
        match self.connection.transport() {
            TransportState::Open => {}
            TransportState::HalfClose if self.lifecycle.is_half_closed() => {}
            TransportState::HalfClose if is_drained && self.connection.is_heard_out() => {
                self.close()
            }
            TransportState::HalfClose => self.lifecycle.half_close(cx),
            TransportState::Close => self.close(),
        }
    }

    /// The runtime has ended: sends the Close of a dropped connection if the transport takes it at once, and
    /// closes the transport.
    pub(in crate::socket) fn abandon(&mut self) {
        if self.has_ended() {
            return;
        }
        let now = clock::elapsed();
        self.connection.close(self.default_close_frame(), now);
        self.write_queued(&mut Context::from_waker(Waker::noop()));
        self.connection.abort(now);
        self.close();
    }

    /// The Close that is sent when no handle is left: 1001 by a server, an empty one by a client.
    pub(in crate::socket) fn default_close_frame(&self) -> Option<CloseFrame> {
        (!self.connection.is_client()).then_some(CloseCode::GOING_AWAY.into())
    }

    /// Whether the peer's Close is held without a reason: the reader has asked for more than what came
    /// before it, or there is none.
    pub(super) fn has_idle_close(&self) -> bool {
        let inbound = &self.inbound;
        let is_wanted = match inbound.reader {
            ReaderState::Gone => false,
            ReaderState::Busy => true,
            ReaderState::Idle | ReaderState::Waiting => {
                inbound.has_waiting() || inbound.answers_close
            }
        };
        self.connection.has_held_close() && !is_wanted
    }

    fn close(&mut self) {
        // Before the peer sees the end, so that its slot is free when it connects again.
        self.lifecycle.attachments = None;
        self.lifecycle.close();
        self.discard_queued();
        self.inbound.input.discard();
    }

    /// Whether the application may be told the end: of a failure at once, because the transport is ended in
    /// the background; of a clean close on a server when its Close is written, and on a client when the
    /// server has ended the transport (RFC 6455 §7.1.1).
    pub(super) fn may_report_end(&self) -> bool {
        self.is_over() || (self.lifecycle.is_half_closed() && !self.connection.is_client())
    }

    /// Whether the transport is closed, or the connection has failed: no task waits for what is left to do.
    pub(in crate::socket) fn is_over(&self) -> bool {
        self.has_ended() || self.has_failed()
    }

    /// Whether the connection has failed; its transport may still have to be ended.
    pub(in crate::socket) fn has_failed(&self) -> bool {
        self.closed().is_some_and(|closed| closed.failure.is_some())
    }

    /// Why nothing can be sent any more, if so.
    pub(in crate::socket) fn closed_to_sending(&self) -> Option<Error> {
        if let Err(error) = self.check_write_side() {
            return Some(error);
        }
        let open = self.connection.state() == Stage::Open;
        (!open).then(|| self.send_error(Misuse::Closing))
    }

    /// An error if the transport takes no more bytes. What the peer has sent before may still be unread: the
    /// connection has not ended.
    pub(super) fn check_write_side(&self) -> Result<(), Error> {
        if self.outbound.write_side == WriteSide::Failed { Err(self.lost()) } else { Ok(()) }
    }

    /// Why nothing can be sent any more.
    pub(in crate::socket) fn send_error(&self, misuse: Misuse) -> Error {
        match self.connection.closing() {
            Some(Closed { failure: Some(Failure::Lost), .. }) => self.lost(),
            Some(Closed { failure: Some(failure), .. }) => Error::Failed(*failure),
            Some(closed) if misuse == Misuse::Closing => Error::Closed(Box::new(closed.clone())),
            _ => Error::Misuse(misuse),
        }
    }

    /// The failure, if there was one; the first time only.
    pub(super) fn report_end(&mut self) -> Option<Error> {
        if std::mem::replace(&mut self.lifecycle.end_reported, true) {
            return None;
        }
        Some(match self.closed()?.failure? {
            Failure::Lost => self.lost(),
            failure => Error::Failed(failure),
        })
    }

    /// The error of a lost transport, with the system's own where there is one. It is made anew for each
    /// caller.
    fn lost(&self) -> Error {
        let Some(error) = &self.lifecycle.io_error else { return Error::Failed(Failure::Lost) };
        Error::Io(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        })
    }

    /// Keeps something until the transport ends.
    pub(in crate::socket) fn until_end(&mut self, attachment: Box<dyn Attachment>) {
        if !self.has_ended() {
            self.lifecycle.attachments = Some(match self.lifecycle.attachments.take() {
                None => attachment,
                Some(others) => Box::new((others, attachment)),
            });
        }
    }

    /// Whether the transport is closed.
    pub(in crate::socket) fn has_ended(&self) -> bool {
        self.lifecycle.io.is_none()
    }

    pub(in crate::socket) fn closed(&self) -> Option<&Closed> {
        self.connection.closed()
    }
}
