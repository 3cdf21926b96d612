//! How far each shard is known here, and the publishers that wait until their message is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::{Amount, EndTimes, Ends, Figure};
use crate::{Epoch, Position, PublishError};

/// How long a publisher whose message is stored waits until it can be read here. Then it is told the
/// position nevertheless: other hubs have it. Longer than it takes to find out that the engine has lost
/// what it had, when the position would be one of another epoch.
const COMES_BACK: Duration = Duration::from_secs(10);
/// How often those are told that have waited for so long, at most.
const TOGETHER: Duration = Duration::from_millis(100);

/// The shards of a backplane.
#[derive(Debug)]
pub(crate) struct FeedProgress {
    shards: Box<[Shard]>,
    /// What is charged for publications that have no outcome yet, in bytes.
    pub(crate) queued: AtomicU64,
    /// How many publishers were told before their message could be read here.
    unseen: AtomicU64,
}

#[derive(Debug)]
struct Shard {
    known: Mutex<Known>,
    /// Wakes the tasks that wait for an offset.
    moved: Notify,
}

/// What is known of a shard. It is held while what came is given to the channels, and while a channel
/// is added: so one that is added has everything from there on.
#[derive(Debug)]
pub(crate) struct Known {
    /// Some epoch until the shard begins.
    pub(crate) epoch: Epoch,
    pub(crate) upto: u64,
    pub(crate) has_begun: bool,
    /// The channels that have ended by then.
    pub(crate) ends: Ends,
    waiting: BTreeMap<u64, Vec<AwaitedReply>>,
    /// Whether a task tells those that have waited for too long.
    is_timed: bool,
}

/// A publisher whose message is stored, and until when it waits for it to come.
#[derive(Debug)]
struct AwaitedReply {
    publisher: Publisher,
    until: Instant,
}

/// The outcome of a publication or a deletion, to be told once. Dropped without a word it is
/// [`PublishError::Unknown`]: it may have been taken.
pub struct Reply {
    publisher: Publisher,
    progress: Arc<FeedProgress>,
    shard: u16,
    epoch: Epoch,
    charge: u64,
    /// Where it is waited, if the publisher is on a runtime.
    runtime: Option<Handle>,
}

#[derive(Debug)]
enum Publisher {
    Of(oneshot::Sender<Result<Position, PublishError>>),
    OfNothing(oneshot::Sender<Result<(), PublishError>>),
    /// It was told.
    Gone,
}

impl FeedProgress {
    pub(crate) fn new(shards: u16, times: EndTimes) -> Self {
        let shard = || Shard {
            known: Mutex::new(Known {
                epoch: Epoch::random(),
                upto: 0,
                has_begun: false,
                ends: Ends::new(times),
                waiting: BTreeMap::new(),
                is_timed: false,
            }),
            moved: Notify::new(),
        };
        let shards = (0..shards).map(|_| shard()).collect();
        Self { shards, queued: AtomicU64::new(0), unseen: AtomicU64::new(0) }
    }

    /// What is known of the shard, held.
    pub(crate) fn hold(&self, shard: u16) -> MutexGuard<'_, Known> {
        // It is whole between any two statements.
        self.shards[usize::from(shard)].known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to where the shard is known; `None` until it begins.
    pub(crate) fn place(&self, shard: u16) -> Option<Position> {
        let known = self.hold(shard);
        known.has_begun.then_some(Position { epoch: known.epoch, offset: known.upto })
    }

    /// Tells the tasks that wait how far the shard is known now. The guard is that of [`hold`](Self::hold).
    pub(crate) fn moved(&self, shard: u16, mut known: MutexGuard<'_, Known>, upto: u64) {
        known.upto = upto;
        let later = known.waiting.split_off(&(upto + 1));
        let reached = std::mem::replace(&mut known.waiting, later);
        let outcomes: Vec<_> =
            reached.into_iter().map(|(offset, all)| (known.outcome(offset), all)).collect();
        drop(known);
        for (outcome, publishers) in outcomes {
            for stored in publishers {
                stored.publisher.tell(outcome);
            }
        }
        self.shards[usize::from(shard)].moved.notify_waiters();
    }

    /// The shard goes on in an epoch, known up to `upto`. What was under way may have been lost.
    pub(crate) fn begin(
        &self,
        shard: u16,
        mut known: MutexGuard<'_, Known>,
        epoch: Epoch,
        upto: u64,
    ) {
        let upto = if known.epoch == epoch { upto.max(known.upto) } else { upto };
        if known.epoch != epoch {
            for stored in std::mem::take(&mut known.waiting).into_values().flatten() {
                stored.publisher.tell(Err(PublishError::Unknown));
            }
        }
        (known.epoch, known.has_begun) = (epoch, true);
        self.moved(shard, known, upto);
    }

    /// Waits until the shard is known up to `offset`, or is in another epoch.
    pub(crate) async fn reach(&self, shard: u16, Position { epoch, offset }: Position) {
        loop {
            let moved = self.shards[usize::from(shard)].moved.notified();
            let is_there = self
                .place(shard)
                .is_none_or(|place| place.epoch != epoch || place.offset >= offset);
            if is_there {
                return;
            }
            moved.await;
        }
    }

    /// What operators see of it.
    pub(crate) fn figures(&self) -> [Figure; 2] {
        let ended = (0..).zip(&self.shards).map(|(shard, _)| self.hold(shard).ends.count());
        [
            Figure {
                name: "stored_unseen",
                help: "Publications stored that did not come to this node in 10 s",
                amount: Amount::Count(self.unseen.load(Relaxed)),
            },
            Figure {
                name: "ended_channels",
                help: "Channels that have ended and are not forgotten yet, 131072 of a shard at most",
                amount: Amount::Level(ended.sum::<usize>() as f64),
            },
        ]
    }

    fn reply(self: &Arc<Self>, shard: u16, publisher: Publisher, charge: u64) -> Reply {
        self.queued.fetch_add(charge, Relaxed);
        let epoch = self.hold(shard).epoch;
        let runtime = Handle::try_current().ok();
        Reply { publisher, progress: Arc::clone(self), shard, epoch, charge, runtime }
    }

    /// For a publication that is charged for that many bytes until its outcome is known.
    pub(crate) fn position_reply(
        self: &Arc<Self>,
        shard: u16,
        charge: u64,
    ) -> (Reply, oneshot::Receiver<Result<Position, PublishError>>) {
        let (publisher, outcome) = oneshot::channel();
        (self.reply(shard, Publisher::Of(publisher), charge), outcome)
    }

    /// For a deletion.
    pub(crate) fn empty_reply(
        self: &Arc<Self>,
        shard: u16,
    ) -> (Reply, oneshot::Receiver<Result<(), PublishError>>) {
        let (publisher, outcome) = oneshot::channel();
        (self.reply(shard, Publisher::OfNothing(publisher), 0), outcome)
    }
}

impl Known {
    /// Up to where the shard is known.
    pub(crate) fn place(&self) -> Position {
        Position { epoch: self.epoch, offset: self.upto }
    }

    /// What became of a message that is stored there and has come.
    fn outcome(&self, offset: u64) -> Result<Position, PublishError> {
        match self.ends.is_void(offset) {
            Some(true) => Err(PublishError::Ended),
            Some(false) => Ok(Position { epoch: self.epoch, offset }),
            None => Err(PublishError::Unknown),
        }
    }

    /// When the first of those that wait has waited for too long.
    fn next_until(&self) -> Option<Instant> {
        self.waiting.values().flatten().map(|stored| stored.until).min()
    }

    /// Those that have.
    fn take_late(&mut self, now: Instant) -> Vec<(u64, Publisher)> {
        let mut late = Vec::new();
        self.waiting.retain(|offset, publishers| {
            let expired = publishers.extract_if(.., |stored| stored.until <= now);
            late.extend(expired.map(|stored| (*offset, stored.publisher)));
            !publishers.is_empty()
        });
        late
    }
}

/// What tells the publishers of a shard that have waited for too long. Where its runtime ends before, the
/// next that waits begins another.
struct LateReplies {
    progress: Arc<FeedProgress>,
    shard: u16,
    is_done: bool,
}

impl LateReplies {
    /// Tells them, until none waits.
    async fn tell(mut self) {
        while let Some(next) = self.next() {
            // Many that came one after the other are told together.
            sleep_until(next.max(Instant::now() + TOGETHER)).await;
            let (epoch, late) = {
                let mut known = self.progress.hold(self.shard);
                (known.epoch, known.take_late(Instant::now()))
            };
            self.progress.unseen.fetch_add(late.len() as u64, Relaxed);
            for (offset, publisher) in late {
                publisher.tell(Ok(Position { epoch, offset }));
            }
        }
    }

    /// When there is something to tell; if never, it is done.
    fn next(&mut self) -> Option<Instant> {
        let mut known = self.progress.hold(self.shard);
        let next = known.next_until();
        if next.is_none() {
            (known.is_timed, self.is_done) = (false, true);
        }
        next
    }
}

impl Drop for LateReplies {
    fn drop(&mut self) {
        if !self.is_done {
            self.progress.hold(self.shard).is_timed = false;
        }
    }
}

impl Reply {
    /// It was taken, at this offset. The publisher is told when the shard is known up to there, so it
    /// reads what it wrote; or, if that takes longer than 10 s, then.
    pub fn taken(mut self, offset: u64) {
        let publisher = std::mem::replace(&mut self.publisher, Publisher::Gone);
        let mut known = self.progress.hold(self.shard);
        if known.epoch != self.epoch {
            drop(known);
            publisher.tell(Err(PublishError::Unknown));
        } else if known.upto >= offset {
            let outcome = known.outcome(offset);
            drop(known);
            publisher.tell(outcome);
        } else {
            let until = Instant::now() + COMES_BACK;
            known.waiting.entry(offset).or_default().push(AwaitedReply { publisher, until });
            let Some(runtime) = self.runtime.clone().filter(|_| !known.is_timed) else { return };
            known.is_timed = true;
            drop(known);
            let progress = Arc::clone(&self.progress);
            runtime.spawn(LateReplies { progress, shard: self.shard, is_done: false }.tell());
        }
    }

    /// It was not taken, or, with [`PublishError::Unknown`], may have been.
    pub fn refused(mut self, error: PublishError) {
        std::mem::replace(&mut self.publisher, Publisher::Gone).tell(Err(error));
    }

    /// Whether no task waits for the outcome any more.
    pub fn is_closed(&self) -> bool {
        match &self.publisher {
            Publisher::Of(publisher) => publisher.is_closed(),
            Publisher::OfNothing(caller) => caller.is_closed(),
            Publisher::Gone => true,
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // A publisher that is dropped with it learns that the outcome is not known.
        self.progress.queued.fetch_sub(self.charge, Relaxed);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl Publisher {
    fn tell(self, outcome: Result<Position, PublishError>) {
        // One that does not wait does not need the answer.
        match self {
            Self::Of(publisher) => drop(publisher.send(outcome)),
            Self::OfNothing(caller) => drop(caller.send(outcome.map(drop))),
            Self::Gone => {}
        }
    }
}
