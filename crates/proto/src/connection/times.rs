//! What a connection remembers of time. An `Instant` takes 16 bytes; so only those are kept that are
//! used all the time, and the others as nanoseconds since the connection began.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::{Duration, Instant};

use crate::config::Keepalive;

pub(super) struct Times {
    /// When the connection began.
    origin: Instant,
    last_received: Instant,
    message_began: Option<Moment>,
    /// When the last keepalive ping was sent.
    pinged: Option<Moment>,
    /// Whether nothing at all has come since that ping.
    is_silent: bool,
    /// Whether that ping's own pong has not come, whatever else has.
    awaits_pong: bool,
    latency: Option<Micros>,
}

/// Nanoseconds since the origin and one more; there are enough for 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(NonZeroU64);

/// Microseconds and one more, 71 minutes of them at the most.
#[derive(Clone, Copy)]
struct Micros(NonZeroU32);

impl Times {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            last_received: now,
            message_began: None,
            pinged: None,
            is_silent: false,
            awaits_pong: false,
            latency: None,
        }
    }

    /// Bytes have come.
    pub(super) fn received(&mut self, now: Instant) {
        self.last_received = now;
        self.is_silent = false;
    }

    /// Nobody was listening until now.
    pub(super) fn paused(&mut self, now: Instant) {
        self.received(now);
        self.message_began = self.message_began.map(|_| self.moment(now));
    }

    /// A keepalive ping is on its way.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.pinged = Some(self.moment(now));
        (self.is_silent, self.awaits_pong) = (true, true);
    }

    /// Whether nothing at all has come since the last keepalive ping.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// The pong of a keepalive ping has come, if one was sent.
    pub(super) fn ponged(&mut self, now: Instant) {
        if let Some(pinged) = self.pinged
            && std::mem::take(&mut self.awaits_pong)
        {
            self.latency = Some(Micros::between(pinged, self.moment(now)));
        }
    }

    /// How long the last pong of a keepalive ping took.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.latency.map(Micros::as_duration)
    }

    /// The message that is being received begins, or goes on in its next part.
    pub(super) fn message_begins(&mut self, now: Instant) {
        self.message_began = Some(self.moment(now));
    }

    /// There is a message that is not complete; when it began counts.
    pub(super) fn message_goes_on(&mut self, now: Instant) {
        if self.message_began.is_none() {
            self.message_begins(now);
        }
    }

    pub(super) fn message_ended(&mut self) {
        self.message_began = None;
    }

    pub(super) fn message_deadline(&self, timeout: Duration) -> Option<Instant> {
        self.after(self.message_began?, timeout)
    }

    /// When to ping, or to give up the peer that does not answer.
    pub(super) fn keepalive_deadline(&self, keepalive: Keepalive) -> Option<Instant> {
        match self.pinged {
            Some(pinged) if self.is_silent => self.after(pinged, keepalive.timeout),
            _ => self.last_received.checked_add(keepalive.interval),
        }
    }

    fn moment(&self, now: Instant) -> Moment {
        Moment::after_origin(now.saturating_duration_since(self.origin))
    }

    /// A point in time so long after the moment; `None` if it is too far away to be told.
    fn after(&self, moment: Moment, timeout: Duration) -> Option<Instant> {
        let since_origin = Duration::from_nanos(moment.0.get() - 1);
        self.origin.checked_add(since_origin.checked_add(timeout)?)
    }
}

impl Moment {
    fn after_origin(time: Duration) -> Self {
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
