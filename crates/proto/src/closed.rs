//! How a connection ended: which side closed first, with which Close frames, and why it failed if it did.

use core::fmt;

use crate::{close::CloseFrame, error::Failure};

/// One of the two ends of a connection, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// This end.
    Local,
    /// The other end.
    Remote,
}

/// What one end has sent of a Close frame (RFC 6455 §5.5.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CloseSignal {
    /// No Close frame.
    #[default]
    Absent,
    /// A Close frame without a code.
    Empty,
    /// A Close frame with a code and a reason.
    Frame(CloseFrame),
}

impl CloseSignal {
    /// The code and the reason, if there was a Close frame and it had them.
    pub fn frame(&self) -> Option<&CloseFrame> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::Absent | Self::Empty => None,
        }
    }

    /// Whether there was no Close frame.
    pub fn is_absent(&self) -> bool {
        *self == Self::Absent
    }
}

impl From<Option<CloseFrame>> for CloseSignal {
    /// The Close frame with this body, which may be empty.
    fn from(body: Option<CloseFrame>) -> Self {
        body.map_or(Self::Empty, Self::Frame)
    }
}

/// How a connection ended: a value, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The end that closed first: that sent the first Close frame, failed the connection, or dropped it.
    pub initiator: Peer,
    /// The Close frame that was sent.
    pub sent: CloseSignal,
    /// The Close frame that was received.
    pub received: CloseSignal,
    /// Why the connection failed, if it did.
    pub failure: Option<Failure>,
}

impl Closed {
    /// Whether the closing handshake is complete: a Close frame went each way (RFC 6455 §7.1.4).
    pub fn is_clean(&self) -> bool {
        !self.sent.is_absent() && !self.received.is_absent() && self.failure.is_none()
    }

    /// The code as RFC 6455 §7.1.5 and browsers have it: the one received, 1005 if the frame
    /// received was empty, 1006 if none was received or the connection failed.
    pub fn code(&self) -> u16 {
        match &self.received {
            _ if self.failure.is_some() => 1006,
            CloseSignal::Frame(frame) => frame.code().as_u16(),
            CloseSignal::Empty => 1005,
            CloseSignal::Absent => 1006,
        }
    }

    /// The reason received; empty where there was none.
    pub fn reason(&self) -> &str {
        let frame = self.received.frame().filter(|_| self.failure.is_none());
        frame.map_or("", CloseFrame::reason)
    }
}

impl From<Failure> for Closed {
    /// The end of a connection that this side gave up before any Close.
    fn from(failure: Failure) -> Self {
        let (sent, received) = (CloseSignal::Absent, CloseSignal::Absent);
        Self { initiator: Peer::Local, sent, received, failure: Some(failure) }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(failure) = &self.failure {
            return write!(f, "failed: {failure}");
        }
        let by = match self.initiator {
            Peer::Local => "closed by this end",
            Peer::Remote => "closed by the peer",
        };
        write!(f, "{by} with {}", self.code())?;
        if !self.reason().is_empty() {
            write!(f, " ({})", self.reason())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::CloseCode;

    #[test]
    fn a_connection_that_was_lost_has_no_code_of_a_close() {
        assert_ne!(Closed::from(Failure::Lost).code(), CloseCode::NORMAL);
    }
}
