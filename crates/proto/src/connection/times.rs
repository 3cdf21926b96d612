//! What a connection remembers of time. A `Duration` takes 16 bytes, and an `Option` of a number that
//! is never zero 8; so moments are kept as nanoseconds.

use core::{
    mem,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use crate::config::Keepalive;

pub(super) struct Times {
    last_received: Moment,
    message_began: Option<Moment>,
    /// When the last keepalive ping was sent.
    pinged: Option<Moment>,
    /// Whether nothing at all has arrived since that ping.
    is_silent: bool,
    /// Whether that ping's own pong has not come, whatever else has.
    awaits_pong: bool,
    latency: Option<Micros>,
}

/// Nanoseconds since the caller's start and one more; there are enough for 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(NonZeroU64);

/// Microseconds and one more, 71 minutes of them at the most.
#[derive(Clone, Copy)]
struct Micros(NonZeroU32);

impl Times {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            last_received: now.into(),
            message_began: None,
            pinged: None,
            is_silent: false,
            awaits_pong: false,
            latency: None,
        }
    }

    /// Bytes have arrived.
    pub(super) fn received(&mut self, now: Duration) {
        self.last_received = now.into();
        self.is_silent = false;
    }

    /// Nothing was read until now.
    pub(super) fn paused(&mut self, now: Duration) {
        self.received(now);
        self.message_began = self.message_began.map(|_| Moment::from(now));
    }

    /// A keepalive ping is on its way.
    pub(super) fn pinged(&mut self, now: Duration) {
        self.pinged = Some(Moment::from(now));
        (self.is_silent, self.awaits_pong) = (true, true);
    }

    /// Whether nothing at all has arrived since the last keepalive ping.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// The pong of a keepalive ping has arrived, if one was sent.
    pub(super) fn ponged(&mut self, now: Duration) {
        if let Some(pinged) = self.pinged
            && mem::take(&mut self.awaits_pong)
        {
            self.latency = Some(Micros::between(pinged, Moment::from(now)));
        }
    }

    /// How long the last pong of a keepalive ping took.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.latency.map(Micros::as_duration)
    }

    /// The message that is being received begins, or goes on in its next part.
    pub(super) fn message_begins(&mut self, now: Duration) {
        self.message_began = Some(Moment::from(now));
    }

    /// There is a message that is not complete; when it began counts.
    pub(super) fn message_goes_on(&mut self, now: Duration) {
        if self.message_began.is_none() {
            self.message_begins(now);
        }
    }

    pub(super) fn message_ended(&mut self) {
        self.message_began = None;
    }

    pub(super) fn message_deadline(&self, timeout: Duration) -> Option<Duration> {
        self.message_began?.after(timeout)
    }

    /// When to ping, or to give up the peer that does not answer.
    pub(super) fn keepalive_deadline(&self, keepalive: Keepalive) -> Option<Duration> {
        match self.pinged {
            Some(pinged) if self.is_silent => pinged.after(keepalive.timeout),
            _ => self.last_received.after(keepalive.interval),
        }
    }
}

impl Moment {
    /// A point in time so long after the moment; `None` if it is too far away to be told.
    fn after(self, timeout: Duration) -> Option<Duration> {
        Duration::from_nanos(self.0.get() - 1).checked_add(timeout)
    }
}

impl From<Duration> for Moment {
    fn from(time: Duration) -> Self {
        let seconds = time.as_secs().saturating_mul(1_000_000_000);
        Self(NonZeroU64::MIN.saturating_add(seconds.saturating_add(time.subsec_nanos().into())))
    }
}

impl Micros {
    fn between(begin: Moment, end: Moment) -> Self {
        let micros = end.0.get().saturating_sub(begin.0.get()) / 1000;
        Self(NonZeroU32::MIN.saturating_add(u32::try_from(micros).unwrap_or(u32::MAX)))
    }

    fn as_duration(self) -> Duration {
        Duration::from_micros((self.0.get() - 1).into())
    }
}
