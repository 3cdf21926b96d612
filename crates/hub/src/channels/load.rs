//! Reading channels from a backplane: one read for all that ask for the same at once, a bounded number of
//! each shard at a time, the rest in the order in which they came.

use std::pin::pin;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{SemaphorePermit, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::backplane::Cluster;
use crate::channels::{Channel, Registry};
use crate::store::StoreError;
use crate::{ChannelName, Position, Start};

/// How long a read waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// How long a read is tried.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it is before it is tried again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a position that another hub gave is waited for, before the engine is asked whether there
/// is such a one; and then.
const AHEAD: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(8));

/// A read that waits or is under way, as long as its task runs.
pub(crate) type Load = Weak<LoadOutcome>;
/// What came of it. Each request that waits for it has a receiver.
type LoadOutcome = watch::Sender<Option<Result<(), StoreError>>>;

/// A channel that is ready to be read, as long as this is held: see [`Hub::load`](crate::Hub::load).
#[derive(Debug)]
#[must_use = "the hub may let go of what was loaded as soon as this is dropped"]
pub struct Loaded(Option<(Arc<Registry>, Arc<Channel>)>);

impl Loaded {
    /// A channel that is in memory for good.
    pub(crate) fn in_memory() -> Self {
        Self(None)
    }

    /// Of a channel that was joined.
    pub(crate) fn joined(registry: &Arc<Registry>, channel: Arc<Channel>) -> Self {
        Self(Some((Arc::clone(registry), channel)))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if let Some((registry, channel)) = &self.0 {
            registry.leave(channel);
        }
    }
}

impl Registry {
    /// Makes the channel ready for a reader that begins at `start`.
    pub(crate) async fn load_from(
        self: &Arc<Self>,
        cluster: &Cluster,
        name: &ChannelName,
        start: Start,
    ) -> Result<Loaded, StoreError> {
        let shard = cluster.backplane.shard(name);
        let place = cluster.progress.place(shard).ok_or(StoreError::Unavailable)?;
        let exists = match start {
            Start::After(position) if position > place => {
                wait_for(cluster, shard, position).await?
            }
            _ => true,
        };
        // From a position that does not exist a reader goes on with the oldest that is kept.
        let start = if exists { start } else { Start::Earliest };
        let channel = self.map.join(name, &self.meter);
        channel.touch();
        let loaded = Loaded::joined(self, Arc::clone(&channel));
        if !channel.has(start) {
            self.complete(cluster, &channel).await?;
        }
        Ok(loaded)
    }

    /// Reads what the engine holds of the channel. Requests for the same channel meanwhile share the read.
    pub(crate) async fn complete(
        self: &Arc<Self>,
        cluster: &Cluster,
        channel: &Arc<Channel>,
    ) -> Result<(), StoreError> {
        let mut outcome = {
            let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
            match loads.get(&channel.name).and_then(Weak::upgrade) {
                Some(load) => load.subscribe(),
                None => {
                    let (outcome, load) = self.begin(cluster, channel);
                    loads.insert(channel.name.clone(), load);
                    outcome
                }
            }
        };
        let outcome = outcome.wait_for(Option::is_some).await;
        outcome.ok().and_then(|outcome| *outcome).unwrap_or(Err(StoreError::Unavailable))
    }

    /// Begins to read. The read waits for its turn as long as a request waits for it; once begun, it is
    /// finished.
    fn begin(
        self: &Arc<Self>,
        cluster: &Cluster,
        channel: &Arc<Channel>,
    ) -> (watch::Receiver<Option<Result<(), StoreError>>>, Load) {
        let (outcome, load) = watch::channel(None);
        let outcome = Arc::new(outcome);
        let weak = Arc::downgrade(&outcome);
        // So the hub does not let go of it meanwhile.
        let joined = self.map.join(&channel.name, &self.meter);
        let loaded = Loaded::joined(self, Arc::clone(&joined));
        let (registry, cluster) = (Arc::clone(self), cluster.clone());
        tokio::spawn(async move {
            let entry = LoadGuard { registry: &registry, name: &joined.name, outcome };
            let read = entry.read(&cluster, &joined).await;
            registry.make_room_in_memory();
            if let Some(read) = read {
                entry.end(read);
            }
            drop(loaded);
        });
        (load, weak)
    }
}

/// A read among those under way. It ends with the task, also with one whose runtime ends: the next
/// request reads again.
struct LoadGuard<'a> {
    registry: &'a Registry,
    name: &'a ChannelName,
    outcome: Arc<LoadOutcome>,
}

impl LoadGuard<'_> {
    /// Reads when it is its turn, until what is read is as new as what is known here. `None` if no
    /// request waits for it any more.
    async fn read(&self, cluster: &Cluster, channel: &Channel) -> Option<Result<(), StoreError>> {
        let _place = match self.turn(cluster).await? {
            Ok(place) => place,
            Err(error) => return Some(Err(error)),
        };
        cluster.reads.count();
        let end = Instant::now() + READ_TIMEOUT;
        loop {
            let stored = timeout(READ_TIMEOUT, cluster.backplane.read(channel.name.clone())).await;
            match stored.unwrap_or(Err(StoreError::Unavailable)) {
                Ok(stored) if channel.complete(&stored, cluster.times, self.registry) => {
                    return Some(Ok(()));
                }
                Err(error) if Instant::now() > end => return Some(Err(error)),
                Ok(_) if Instant::now() > end => return Some(Err(StoreError::Unavailable)),
                Ok(_) | Err(_) if self.is_abandoned() => return None,
                Ok(_) | Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Waits for a place among the reads; `None` as soon as no request waits for this one any more.
    async fn turn<'c>(
        &self,
        cluster: &'c Cluster,
    ) -> Option<Result<SemaphorePermit<'c>, StoreError>> {
        let (shard, at_once) = (cluster.backplane.shard(self.name), cluster.backplane.reads());
        let mut place = pin!(timeout(TURN, cluster.reads.place(shard, at_once)));
        loop {
            tokio::select! {
                place = &mut place => return Some(place.map_err(|_| {
                    cluster.reads.count_late();
                    StoreError::Unavailable
                })),
                () = self.outcome.closed() => {}
            }
            if self.is_abandoned() {
                return None;
            }
        }
    }

    /// Whether no request waits for it: then it is not found any more.
    fn is_abandoned(&self) -> bool {
        let mut loads = self.registry.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let is_abandoned = self.outcome.receiver_count() == 0;
        if is_abandoned {
            loads.remove(self.name);
        }
        is_abandoned
    }

    fn end(self, read: Result<(), StoreError>) {
        let outcome = Arc::clone(&self.outcome);
        // A request that comes from now on begins another.
        drop(self);
        outcome.send_replace(Some(read));
    }
}

impl Drop for LoadGuard<'_> {
    fn drop(&mut self) {
        let mut loads = self.registry.loads.lock().unwrap_or_else(PoisonError::into_inner);
        // After one was abandoned there may be another.
        if loads.get(self.name).is_some_and(|load| load.ptr_eq(&Arc::downgrade(&self.outcome))) {
            loads.remove(self.name);
        }
    }
}

/// Waits for a position that a client has and this hub does not: it comes from one that is faster,
/// unless the engine knows nothing of it either. Then it is false, and the reader is told `reset`.
async fn wait_for(cluster: &Cluster, shard: u16, position: Position) -> Result<bool, StoreError> {
    if timeout(AHEAD.0, cluster.progress.reach(shard, position)).await.is_ok() {
        return Ok(true);
    }
    let last = timeout(READ_TIMEOUT, cluster.backplane.last(shard)).await;
    if last.unwrap_or(Err(StoreError::Unavailable))? < position.offset {
        return Ok(false);
    }
    let reached = timeout(AHEAD.1, cluster.progress.reach(shard, position)).await;
    reached.map(|_| true).map_err(|_| StoreError::Unavailable)
}
