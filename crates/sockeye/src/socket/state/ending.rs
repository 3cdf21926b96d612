//! How a connection ends: what becomes of its transport, and what the application is told.

use std::{
    io,
    pin::Pin,
    task::{Context, Waker},
};

use sockeye_proto::{CloseCode, CloseFrame, Closed, Failure, Misuse, Transport};
use tokio::io::AsyncWrite;

use super::{Stage, State};
use crate::{
    Error,
    socket::{input::Input, io::Io},
};

impl State {
    pub(super) fn follow_transport(&mut self, cx: &mut Context<'_>) {
        let Some(io) = &mut self.io else { return };
        match self.connection.transport() {
            Transport::Open => {}
            Transport::HalfClose if self.half_closed => {}
            Transport::HalfClose if self.drained && self.connection.is_heard_out() => self.close(),
            Transport::HalfClose => {
                // An error will show when reading.
                self.half_closed = Pin::new(io).poll_shutdown(cx).is_ready();
            }
            Transport::Close => self.close(),
        }
    }

    /// The runtime has ended. The peer is told as when the last handle is dropped, if the transport
    /// takes it at once; then the transport ends.
    pub(in crate::socket) fn abandon(&mut self) {
        if self.has_ended() {
            return;
        }
        let now = self.now();
        self.connection.close(self.farewell(), now);
        self.write_queued(&mut Context::from_waker(Waker::noop()));
        self.connection.abort(now);
        self.close();
    }

    /// The Close that is sent when no handle is left: 1001 by a server, an empty one by a client.
    pub(in crate::socket) fn farewell(&self) -> Option<CloseFrame> {
        (!self.connection.is_client()).then_some(CloseCode::GOING_AWAY.into())
    }

    /// Whether the peer's Close is held for nobody: all that came before it was taken and answered, or
    /// nobody is there to do so.
    pub(super) fn has_idle_close(&self) -> bool {
        let is_wanted = self.in_hand || self.waiting.is_some() || self.answers_close;
        self.connection.has_held_close() && !(self.has_reader && is_wanted)
    }

    fn close(&mut self) {
        // Before the peer sees the end: its place is free when it comes back.
        self.companions = None;
        self.io.take().into_iter().for_each(Io::close);
        self.discard_queued();
        self.input = Input::default();
    }

    /// Whether the application may be told the end. Of a failure at once: the transport is ended in the
    /// background. Of a clean close a server's is told when its Close is written; a client's, when the
    /// server has ended the transport (RFC 6455 §7.1.1).
    pub(super) fn may_report_end(&self) -> bool {
        self.is_over() || (self.half_closed && !self.connection.is_client())
    }

    /// Whether the transport is closed, or the connection has failed: all that is left is to end the
    /// transport, and nobody waits for that.
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

    /// Whether what is queued can still be written. Where it cannot, the peer's last words may yet be
    /// waiting for the reader: the connection is not at its end.
    pub(super) fn check_write_side(&self) -> Result<(), Error> {
        if self.write_failed { Err(self.lost()) } else { Ok(()) }
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

    /// What went wrong, if anything did; once.
    pub(super) fn report_end(&mut self) -> Option<Error> {
        if std::mem::replace(&mut self.end_reported, true) {
            return None;
        }
        Some(match self.closed()?.failure? {
            Failure::Lost => self.lost(),
            failure => Error::Failed(failure),
        })
    }

    /// That the transport was lost, with what the system said if it said anything: to each who asks.
    fn lost(&self) -> Error {
        let Some(error) = &self.io_error else { return Error::Failed(Failure::Lost) };
        Error::Io(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        })
    }
}
