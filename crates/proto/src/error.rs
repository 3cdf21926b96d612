//! Errors, grouped by their cause: the peer, a limit, or the application. The text of an error names its cause where it has one;
//! `source` gives no cause that the text has named already.

use crate::close::CloseCode;

/// Why a connection failed (RFC 6455 §7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Violation(Violation),
    /// The peer exceeded a limit.
    #[error("a limit was exceeded: {0}")]
    Limit(Limit),
    /// The peer missed a deadline.
    #[error("the peer was too slow: {0}")]
    Deadline(Deadline),
    /// The transport ended without a closing handshake.
    #[error("the connection was lost without a closing handshake")]
    Lost,
    /// This end gave the connection up without a closing handshake.
    #[error("this end dropped the connection")]
    Aborted,
}

impl From<Violation> for Failure {
    fn from(error: Violation) -> Self {
        Self::Violation(error)
    }
}

impl From<Limit> for Failure {
    fn from(error: Limit) -> Self {
        Self::Limit(error)
    }
}

impl From<Deadline> for Failure {
    fn from(error: Deadline) -> Self {
        Self::Deadline(error)
    }
}

impl Failure {
    /// The code to tell the peer, if it can still be told anything.
    pub fn close_code(self) -> Option<CloseCode> {
        match self {
            Self::Violation(violation) => Some(violation.close_code()),
            Self::Limit(_) => Some(CloseCode::MESSAGE_TOO_BIG),
            Self::Deadline(Deadline::Message) => Some(CloseCode::POLICY_VIOLATION),
            Self::Deadline(Deadline::Keepalive) => Some(CloseCode::INTERNAL_ERROR),
            Self::Deadline(Deadline::Close) | Self::Lost | Self::Aborted => None,
        }
    }
}

/// The peer broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A Close frame of one byte (RFC 6455 §5.5.1).
    #[error("a Close payload of one byte")]
    CloseBody,
    /// A Close frame with a code that may not be sent (RFC 6455 §7.4).
    #[error("a Close frame with the code {0}, which must not be sent")]
    CloseCode(u16),
    /// A compressed message that is not DEFLATE data, or is cut off (RFC 7692 §7.2.2).
    #[error("a compressed message cannot be inflated")]
    Compression,
    /// A continuation with no message begun (RFC 6455 §5.4).
    #[error("a continuation frame without a message to continue")]
    Continuation,
    /// A control frame that is not the last of its message (RFC 6455 §5.5).
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A new message while another is not complete (RFC 6455 §5.4).
    #[error("a message began before the last one ended")]
    Interleaved,
    /// Text, or the reason of a Close, that is not UTF-8 (RFC 6455 §8.1).
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// A 64-bit length with its highest bit set (RFC 6455 §5.2).
    #[error("a frame's length has its highest bit set")]
    LengthTooBig,
    /// A control frame with more than 125 bytes (RFC 6455 §5.5).
    #[error("a control frame has more than 125 bytes")]
    LongControl,
    /// A length in a longer form than necessary (RFC 6455 §5.2).
    #[error("the length {0} is not in its shortest form")]
    LongForm(u64),
    /// A masked frame from a server (RFC 6455 §5.1).
    #[error("a server masked a frame")]
    Masked,
    /// Reserved bits that no extension gives a meaning (RFC 6455 §5.2), as RSV1-RSV2-RSV3.
    #[error("reserved bits are set ({0:03b})")]
    ReservedBits(u8),
    /// An opcode without a meaning (RFC 6455 §5.2).
    #[error("the opcode {0:#x} is unknown")]
    UnknownOpcode(u8),
    /// An unmasked frame from a client (RFC 6455 §5.1).
    #[error("a client did not mask a frame")]
    Unmasked,
}

impl Violation {
    /// The close code that it earns.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Compression | Self::InvalidUtf8 => CloseCode::INVALID_PAYLOAD,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// What makes it a plural.
fn s(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The peer passed a limit of [`Config`](crate::Config).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// More frames in one message than [`max_fragments`](crate::Config::max_fragments).
    #[error("a message has more than {max} fragment{}", s(*max))]
    Fragments {
        /// The limit.
        max: usize,
    },
    /// A message larger than [`max_message_size`](crate::Config::max_message_size).
    #[error("a message has more than {max} byte{}", s(*max))]
    MessageSize {
        /// The limit in bytes.
        max: usize,
    },
}

/// The peer missed a deadline of [`Config`](crate::Config).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Deadline {
    /// No Close came in answer to ours.
    #[error("it did not answer the Close")]
    Close,
    /// Nothing came after a keepalive ping.
    #[error("it did not answer a keepalive ping")]
    Keepalive,
    /// A message was not complete in time.
    #[error("it did not complete a message in time")]
    Message,
}

/// The application asked for what the protocol does not allow. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// Sending after the closing handshake began, or after the end.
    #[error("the connection is closing or closed: nothing more can be sent")]
    Closing,
    /// A fragment of another kind than its message, or a message begun inside another.
    #[error("a fragmented message is being sent: its last fragment must come first")]
    Fragmented,
    /// A ping or pong with more than 125 bytes.
    #[error("a ping or pong carries at most 125 bytes, this one has {0}")]
    LongControl(usize),
    /// Frames that were made before, on a client: it masks each frame anew (RFC 6455 §5.3).
    #[error("a client must mask each frame anew: it cannot send prepared frames")]
    Unmasked,
}
