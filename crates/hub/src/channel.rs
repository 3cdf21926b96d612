//! A channel: a log behind a lock, and those who wait for it to grow.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::figures::Meter;
use crate::log::Log;
use crate::{ChannelName, Entry, Epoch, Options, Position, Publication, PublishError};

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: ChannelName,
    state: Mutex<State>,
    /// Wakes the readers that wait. The list of them is made of nodes in their own futures: a
    /// reader that waits costs the channel nothing.
    pub(crate) grown: Notify,
    /// Changed only while the shard is locked, so that a channel is never removed under a reader
    /// that is just coming.
    pub(crate) readers: AtomicUsize,
}

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) log: Log,
    /// Whether anything was ever published here: then the offset must be remembered.
    pub(crate) lasting: bool,
    /// Whether the hub has let go of this channel: who still holds it asks the hub for a new one.
    pub(crate) retired: bool,
}

impl Channel {
    pub(crate) fn new(name: ChannelName, epoch: Epoch, floor: u64) -> Self {
        let log = Log::new(epoch, floor);
        Self {
            name,
            state: Mutex::new(State { log, lasting: false, retired: false }),
            grown: Notify::new(),
            readers: AtomicUsize::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under the lock but the clock, which is asked between changes: a
        // panic leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends and wakes whoever waits. `None` if the hub has let go of this channel meanwhile.
    pub(crate) fn publish(
        &self,
        publication: &Publication<'_>,
        options: &Options,
        meter: &Arc<Meter>,
    ) -> Option<Result<Position, PublishError>> {
        // Copied and, at the end, freed outside the lock.
        let payload = publication.payload.to_payload();
        let (position, _dropped) = {
            let mut state = self.lock();
            if state.retired {
                return None;
            }
            let now = options.clock.now();
            let mut dropped = match state.admit(publication.charge(), options, meter) {
                Ok(dropped) => dropped,
                Err(error) => return Some(Err(error)),
            };
            let position = state.log.append(now, |position, ts| {
                let event = publication.event.clone();
                Entry::new(position, ts, payload, event, Arc::clone(meter))
            });
            meter.published(publication.charge());
            dropped.append(&mut state.expire(options, meter, now));
            (position, dropped)
        };
        self.grown.notify_waiters();
        Some(Ok(position))
    }

    /// Drops what the options do not cover any more, then reads.
    pub(crate) fn read<T>(
        &self,
        options: &Options,
        meter: &Meter,
        read: impl FnOnce(&Log, u64) -> T,
    ) -> T {
        let (read, _dropped) = {
            let mut state = self.lock();
            let now = options.clock.now();
            let dropped = state.expire(options, meter, now);
            (read(&state.log, now), dropped)
        };
        read
    }

    /// Drops the history.
    pub(crate) fn forget(&self, meter: &Meter) {
        let _dropped = {
            let mut state = self.lock();
            let dropped = state.log.forget();
            meter.dropped(&dropped);
            dropped
        };
        self.grown.notify_waiters();
    }
}

impl State {
    /// Makes room in the hub for an entry of that charge, at the cost of this channel alone.
    fn admit(
        &mut self,
        charge: u64,
        options: &Options,
        meter: &Meter,
    ) -> Result<Vec<Arc<Entry>>, PublishError> {
        let surplus = (meter.bytes_in_all() + charge).saturating_sub(options.max_bytes);
        if surplus > self.log.bytes() {
            return Err(PublishError::Full);
        }
        if !self.lasting {
            if meter.lasting.fetch_add(1, Relaxed) >= options.max_channels {
                meter.lasting.fetch_sub(1, Relaxed);
                return Err(PublishError::Full);
            }
            self.lasting = true;
        }
        let dropped = self.log.make_room(surplus);
        meter.dropped(&dropped);
        Ok(dropped)
    }

    fn expire(&mut self, options: &Options, meter: &Meter, now: u64) -> Vec<Arc<Entry>> {
        let dropped = self.log.trim(options, now);
        meter.dropped(&dropped);
        dropped
    }
}
