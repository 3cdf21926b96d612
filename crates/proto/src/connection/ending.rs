//! The end of a connection: Close frames, failures, and a Close of the peer's that is not answered yet, so
//! that what is still to be sent comes before the answer (RFC 6455 §5.5.1).

use alloc::{boxed::Box, string::ToString};
use core::time::Duration;

use bytes::BytesMut;

use super::{Connection, Ending, Event, Receiver, State};
use crate::{
    close::CloseFrame,
    closed::{CloseSignal, Closed, Peer},
    error::Failure,
    frame::{MAX_CONTROL_PAYLOAD, Opcode},
};

/// How long a Close of the peer's is held at most.
const MAX_HOLD: Duration = Duration::from_secs(1);

/// Whether a Close of the peer's is answered at once.
#[derive(Clone, Copy)]
pub(super) enum CloseHold {
    Never,
    /// The next one is held.
    Next,
    /// One is held; whether the next one were, too.
    Held(bool),
}

impl CloseHold {
    pub(super) fn new(holds: bool) -> Self {
        if holds { Self::Next } else { Self::Never }
    }

    pub(super) fn is_held(self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// Without one that is held.
    pub(super) fn ended(self) -> Self {
        if let Self::Held(next) = self { Self::new(next) } else { self }
    }
}

impl Connection {
    /// Whether the peer's Close has arrived and is not answered yet: see [`hold_close`](Self::hold_close).
    pub fn has_held_close(&self) -> bool {
        self.close_hold.is_held()
    }

    /// Whether the peer's Close is held, or answered at once, which is the default. While it is held
    /// messages can still be sent, and reach the peer before the answer (RFC 6455 §5.5.1); until
    /// [`answer_close`](Self::answer_close), [`close`](Self::close), or a second has passed (less if
    /// [`close_timeout`](crate::Config::close_timeout) is).
    pub fn hold_close(&mut self, hold: bool) {
        self.close_hold = match self.close_hold {
            CloseHold::Held(_) => CloseHold::Held(hold),
            CloseHold::Never | CloseHold::Next => CloseHold::new(hold),
        };
    }

    /// Answers the peer's Close with its own code, if it is held.
    pub fn answer_close(&mut self, now: Duration) {
        if self.close_hold.is_held() {
            self.end_hold(now);
            let ending = self.ending.as_ref();
            let received = ending.and_then(|ending| ending.closed.received.frame().cloned());
            self.queue_close(received, Peer::Remote, now);
        }
    }

    /// The peer has sent its Close, and may still read.
    pub(super) fn begin_hold(&mut self, frame: Option<CloseFrame>, now: Duration) {
        self.close_hold = CloseHold::Held(true);
        self.receiver = Receiver::default();
        self.times.message_ended();
        let deadline = now.checked_add(MAX_HOLD.min(self.config.close_timeout));
        let ending = self.ending(Peer::Remote, now);
        ending.closed.received = frame.into();
        ending.deadline = deadline;
    }

    /// The peer's Close is held no longer: from now on it has its time to end the transport.
    pub(super) fn end_hold(&mut self, now: Duration) {
        self.close_hold = self.close_hold.ended();
        self.heard_out &= !self.pinged;
        self.stop_receiving();
        let deadline = now.checked_add(self.config.close_timeout);
        self.ending(Peer::Remote, now).deadline = deadline;
    }

    /// Fails the WebSocket connection (RFC 6455 §7.1.7).
    pub(super) fn fail(&mut self, failure: Failure, initiator: Peer, now: Duration) {
        self.stop_receiving();
        if self.ending.is_none()
            && !self.over
            && let Some(code) = failure.close_code()
        {
            let frame = CloseFrame::new(code, failure.to_string()).unwrap_or(code.into());
            self.queue_close(Some(frame), initiator, now);
        }
        self.ending(initiator, now).closed.failure = Some(failure);
    }

    /// The peer has broken a rule, or passed a limit: the last event.
    #[cold]
    pub(super) fn fail_receiving(
        &mut self,
        failure: Failure,
        input: &mut BytesMut,
        now: Duration,
    ) -> Option<Event> {
        input.clear();
        self.fail(failure, Peer::Local, now);
        self.report_closed()
    }

    /// The end: no ping is answered any more, and of a message begun nothing is kept.
    pub(super) fn stop_receiving(&mut self) {
        self.state = State::Closed;
        self.close_hold = self.close_hold.ended();
        self.pong_due = None;
        self.receiver = Receiver::default();
        self.deflate = None;
    }

    pub(super) fn report_closed(&mut self) -> Option<Event> {
        let ending = self.ending.as_deref_mut().filter(|ending| !ending.reported)?;
        ending.reported = true;
        Some(Event::Closed(ending.closed.clone()))
    }

    pub(super) fn queue_close(
        &mut self,
        frame: Option<CloseFrame>,
        initiator: Peer,
        now: Duration,
    ) {
        let (mut body, mut length) = ([0; MAX_CONTROL_PAYLOAD], 0);
        if let Some(frame) = &frame {
            length = 2 + frame.reason().len();
            body[..2].copy_from_slice(&frame.code().as_u16().to_be_bytes());
            body[2..length].copy_from_slice(frame.reason().as_bytes());
        }
        self.queue_control(Opcode::Close, &body[..length]);
        self.ending(initiator, now).closed.sent = frame.into();
    }

    /// The end, which begins now if it has not begun. All deadlines are absolute: this one is set
    /// once. One too far away to be told is none.
    pub(super) fn ending(&mut self, initiator: Peer, now: Duration) -> &mut Ending {
        let timeout = self.config.close_timeout;
        self.ending.get_or_insert_with(|| {
            let (sent, received) = (CloseSignal::Absent, CloseSignal::Absent);
            let closed = Closed { initiator, sent, received, failure: None };
            let deadline = now.checked_add(timeout);
            Box::new(Ending { closed, deadline, reported: false })
        })
    }
}
