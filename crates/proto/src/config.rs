//! Limits and deadlines of a connection.

use core::time::Duration;

/// Limits and deadlines of a connection. The defaults are safe with peers that are not trusted.
///
/// ```
/// use std::time::Duration;
/// use sockeye_proto::Config;
///
/// let config = Config::default().max_message_size(16 << 20).close_timeout(Duration::from_secs(1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The largest message received, in bytes of payload; a larger one fails the connection with
    /// 1009. Default 1 MiB.
    pub max_message_size: usize,
    /// The most frames that one message received may come in; empty ones count. Default 1024.
    ///
    /// Fragments of fewer than 64 bytes are also charged what they lack of 64. The charges may come to
    /// [`max_message_size`](Self::max_message_size), or 64 KiB where that is less, so that raising
    /// this number alone does not invite a flood of tiny frames.
    pub max_fragments: usize,
    /// The largest message that may be received [in parts](crate::Connection::receive_parts), in bytes
    /// of payload, in any number of fragments; a larger one fails the connection with 1009. Default
    /// none: what may be received whole, and no more. `usize::MAX` is no limit.
    ///
    /// Where it is set, a message beyond the limits above waits until the application has said
    /// whether it takes it in parts.
    pub max_streamed_size: Option<usize>,
    /// How long a message may take from its first byte to its last; where it is received in parts, from
    /// one to the next. Default 60 s; `None` for no limit. Other traffic does not extend it.
    pub message_timeout: Option<Duration>,
    /// How long the peer may take to answer a Close, and then to end the transport. Default 5 s.
    pub close_timeout: Duration,
    /// Pings on a silent connection. Default: every 25 s, and 20 s to answer. `None` for none.
    pub keepalive: Option<Keepalive>,
    /// Whether lengths in a longer form than necessary are accepted, against RFC 6455 §5.2.
    /// Default no. Only for peers known to be broken.
    pub accept_long_lengths: bool,
}

/// When to ping a silent peer, and when to give it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// A ping is sent when nothing was received for this long.
    pub interval: Duration,
    /// The connection fails when nothing at all is received for this long after the ping.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(25), timeout: Duration::from_secs(20) }
    }
}

impl Keepalive {
    /// Sets [`interval`](Self::interval).
    pub fn interval(mut self, time: Duration) -> Self {
        self.interval = time;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message_size: 1 << 20,
            max_fragments: 1024,
            max_streamed_size: None,
            message_timeout: Some(Duration::from_secs(60)),
            close_timeout: Duration::from_secs(5),
            keepalive: Some(Keepalive::default()),
            accept_long_lengths: false,
        }
    }
}

impl Config {
    /// Sets [`max_message_size`](Self::max_message_size), in bytes.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Sets [`max_fragments`](Self::max_fragments).
    pub fn max_fragments(mut self, fragments: usize) -> Self {
        self.max_fragments = fragments;
        self
    }

    /// Sets [`max_streamed_size`](Self::max_streamed_size), in bytes.
    pub fn max_streamed_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_streamed_size = bytes.into();
        self
    }

    /// Sets [`message_timeout`](Self::message_timeout).
    pub fn message_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.message_timeout = timeout.into();
        self
    }

    /// Sets [`close_timeout`](Self::close_timeout).
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Sets [`keepalive`](Self::keepalive).
    pub fn keepalive(mut self, keepalive: impl Into<Option<Keepalive>>) -> Self {
        self.keepalive = keepalive.into();
        self
    }

    /// Sets [`accept_long_lengths`](Self::accept_long_lengths).
    pub fn accept_long_lengths(mut self, accept: bool) -> Self {
        self.accept_long_lengths = accept;
        self
    }
}
