//! A channel: a log behind a lock, and those who wait for it to grow.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::figures::Meter;
use crate::keys::Keys;
use crate::log::Log;
use crate::{
    ChannelName, Entry, Epoch, IdempotencyKey, Options, Position, Publication, PublishError,
};

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
    /// What was published with a key not long ago.
    pub(crate) keys: Keys,
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
            state: Mutex::new(State { log, keys: Keys::default(), lasting: false, retired: false }),
            grown: Notify::new(),
            readers: AtomicUsize::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under the lock but the clock, which is asked between changes: a
        // panic leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends and wakes whoever waits, unless it was done before. `None` if the hub has let go of this channel meanwhile.
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
            if let Some(position) = state.repeated(publication) {
                return Some(Ok(position));
            }
            let mut dropped = match state.admit(publication, options, meter) {
                Ok(dropped) => dropped,
                Err(error) => return Some(Err(error)),
            };
            let position = state.log.append(now, |position, ts| {
                let event = publication.event.clone();
                Entry::new(position, ts, payload, event, Arc::clone(meter))
            });
            meter.published(publication.charge());
            state.remember(publication, position, meter);
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
    /// Whether nothing would be lost with this channel but its offset.
    pub(crate) fn is_idle(&self) -> bool {
        self.log.is_empty() && self.keys.is_empty()
    }

    /// The position that the publication got when it came first, if it came before.
    fn repeated(&self, publication: &Publication<'_>) -> Option<Position> {
        let offset = self.keys.find(publication.key.as_ref()?)?;
        Some(Position { offset, ..self.log.end() })
    }

    fn remember(&mut self, publication: &Publication<'_>, position: Position, meter: &Meter) {
        let Some(key) = &publication.key else { return };
        meter.add_key(key.charge());
        self.keys.remember(key.clone(), position.offset, self.log.last_ts());
    }

    /// Makes room in the hub for an entry, at the cost of this channel alone.
    fn admit(
        &mut self,
        publication: &Publication<'_>,
        options: &Options,
        meter: &Meter,
    ) -> Result<Vec<Arc<Entry>>, PublishError> {
        let key = publication.key.as_ref().map_or(0, IdempotencyKey::charge);
        let charge = publication.charge() + key;
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
        meter.remove_keys(self.keys.expire(self.log.channel_time(now)));
        dropped
    }
}
