//! What a Close frame carries: a code and a reason.

use core::fmt;

use crate::text::Text;

/// A status code that may stand in a Close frame (RFC 6455 §7.4).
///
/// Valid by construction: 1000–1003, 1007–1014 (the IANA registry's) and 3000–4999. The codes that
/// must never be sent (1004, 1005, 1006, 1015) and unassigned ones cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

/// The number may not stand in a Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("close code {0} is not 1000-1003, 1007-1014 or 3000-4999")]
pub struct InvalidCloseCode(pub u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server shuts down, or a page was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that the endpoint does not accept.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: data that is not what its message claims to be, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy was violated.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server did not agree to an extension that the client needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met a condition that it cannot go on from.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts; come back.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: overloaded; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid answer from upstream.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// A code that is known beforehand, such as one of the application's own.
    ///
    /// ```
    /// use sockeye_proto::CloseCode;
    ///
    /// const KICKED: CloseCode = CloseCode::new(4001);
    /// assert_eq!(KICKED, 4001);
    /// ```
    ///
    /// # Panics
    ///
    /// If the number may not stand in a Close frame; for a `const`, that is an error when it is
    /// compiled. A number that comes from elsewhere goes through `try_from`.
    pub const fn new(code: u16) -> Self {
        assert!(Self::may_be_sent(code), "a close code is 1000-1003, 1007-1014 or 3000-4999");
        Self(code)
    }

    const fn may_be_sent(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for CloseCode {
    type Error = InvalidCloseCode;

    fn try_from(code: u16) -> Result<Self, InvalidCloseCode> {
        if Self::may_be_sent(code) { Ok(Self(code)) } else { Err(InvalidCloseCode(code)) }
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl PartialEq<u16> for CloseCode {
    fn eq(&self, other: &u16) -> bool {
        self.0 == *other
    }
}

impl PartialEq<CloseCode> for u16 {
    fn eq(&self, other: &CloseCode) -> bool {
        *self == other.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The body of a Close frame: a code and a reason of at most 123 bytes (RFC 6455 §5.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    code: CloseCode,
    reason: Text,
}

/// The reason is longer than the 123 bytes that fit into a Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a close reason has at most 123 bytes of UTF-8, this one has {0}")]
pub struct ReasonTooLong(pub usize);

impl CloseFrame {
    /// The most bytes a reason may have.
    pub const MAX_REASON: usize = 123;

    /// A code with a reason, which may be empty.
    ///
    /// The reason is for logs and developers, not for people (RFC 6455 §5.5.1).
    pub fn new(code: CloseCode, reason: impl Into<Text>) -> Result<Self, ReasonTooLong> {
        let reason = reason.into();
        if reason.len() > Self::MAX_REASON {
            return Err(ReasonTooLong(reason.len()));
        }
        Ok(Self { code, reason })
    }

    /// The code.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// The reason; empty if none was given.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<CloseCode> for CloseFrame {
    fn from(code: CloseCode) -> Self {
        Self { code, reason: Text::default() }
    }
}

/// For what takes the body of a Close frame, which may be empty: there a code can stand as it is.
impl From<CloseCode> for Option<CloseFrame> {
    fn from(code: CloseCode) -> Self {
        Some(code.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules: W109, W110, W111.
    #[test]
    fn only_codes_that_may_be_sent_can_be_made() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, u16::MAX] {
            assert_eq!(CloseCode::try_from(code), Err(InvalidCloseCode(code)));
        }
        for code in [1000, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(CloseCode::try_from(code).map(u16::from), Ok(code));
        }
    }

    #[test]
    fn codes_compare_with_numbers() {
        const KICKED: CloseCode = CloseCode::new(4001);
        assert_eq!(KICKED, 4001);
        assert_eq!(4001, KICKED);
    }

    #[test]
    #[should_panic(expected = "a close code is 1000-1003, 1007-1014 or 3000-4999")]
    fn a_code_that_may_not_be_sent_cannot_be_made_as_a_constant() {
        CloseCode::new(1005);
    }

    /// Rule: W80.
    #[test]
    fn a_reason_fits_into_a_control_frame() {
        assert!(CloseFrame::new(CloseCode::NORMAL, "x".repeat(123)).is_ok());
        let error = CloseFrame::new(CloseCode::NORMAL, "é".repeat(62));
        assert_eq!(error, Err(ReasonTooLong(124)));
    }
}
