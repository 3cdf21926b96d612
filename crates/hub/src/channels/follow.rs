//! Following a backplane: what comes from the engine goes into the channels that are in memory, and what
//! is older is read when it is asked for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use crate::backplane::{Arrival, ChannelEnd, Cluster, EndTimes, Ends, Sink, Stored, What};
use crate::channels::channel::free;
use crate::channels::{Backing, Channel, ChannelState, Extent, Registry};
use crate::log::{Content, Dropped, Log};
use crate::{Entry, Epoch, Position, Start};

/// What a backplane tells its hub. It does not keep the hub alive.
#[derive(Debug)]
pub(crate) struct Follower(Weak<Registry>);

impl Follower {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        Self(Arc::downgrade(registry))
    }

    /// Does something with the hub, if there still is one.
    fn with(&self, act: impl FnOnce(&Registry, &Cluster)) {
        if let Some(registry) = self.0.upgrade()
            && let Backing::Cluster(cluster) = &registry.kept
        {
            act(&registry, cluster);
        }
    }
}

impl Sink for Follower {
    fn begin(&self, shard: u16, epoch: Epoch, upto: u64, ends: Vec<ChannelEnd>) {
        self.with(|registry, cluster| {
            let mut known = cluster.progress.hold(shard);
            let (is_another, before) = (known.epoch != epoch, known.upto);
            if is_another || before < upto || !known.has_begun {
                let passed = if is_another { (upto, upto) } else { (before, upto) };
                known.ends.begin(&ends, passed, registry.options.clock.now());
            }
            let ends = &known.ends;
            if is_another {
                let at = Position { epoch, offset: upto };
                registry.each_of(cluster, shard, |channel| channel.restart(at, ends, registry));
            } else if before < upto {
                registry.each_of(cluster, shard, |channel| channel.skip(upto, ends, registry));
            }
            cluster.progress.begin(shard, known, epoch, upto);
        });
    }

    fn arrived(&self, shard: u16, arrivals: Vec<Arrival>, upto: u64) {
        self.with(|registry, cluster| {
            let mut known = cluster.progress.hold(shard);
            let before = known.upto;
            let (arrivals, doubtful) = known.ends.follow(arrivals, before);
            let dropped = registry.arrived(arrivals);
            for channel in doubtful.iter().filter_map(|name| registry.map.find(name).ok()) {
                channel.skip(upto, &known.ends, registry);
            }
            cluster.progress.moved(shard, known, upto);
            // A whole history may have gone: no lock is held while its memory is freed.
            dropped.into_iter().for_each(free);
            registry.make_room_in_memory();
        });
    }

    fn skipped(&self, shard: u16, upto: u64, ends: Vec<ChannelEnd>) {
        self.with(|registry, cluster| {
            let mut known = cluster.progress.hold(shard);
            let passed = (known.upto, upto);
            known.ends.begin(&ends, passed, registry.options.clock.now());
            let ends = &known.ends;
            registry.each_of(cluster, shard, |channel| channel.skip(upto, ends, registry));
            cluster.progress.moved(shard, known, upto);
        });
    }
}

impl Registry {
    /// Gives each channel in memory what came for it, all at once: what is missing between two of them
    /// was trimmed for those that follow. Gives what went for it.
    fn arrived(&self, arrivals: Vec<Arrival>) -> Vec<VecDeque<Arc<Entry>>> {
        let mut groups: Vec<(Arc<Channel>, Vec<Arrival>)> = Vec::new();
        let mut found = HashMap::new();
        for arrival in arrivals {
            let Some(channel) = arrival.what.channel() else { continue };
            if let Some(&group) = found.get(channel) {
                let (_, group): &mut (_, Vec<_>) = &mut groups[group];
                group.push(arrival);
            } else if let Ok(channel) = self.map.find(channel) {
                found.insert(channel.name.clone(), groups.len());
                groups.push((channel, vec![arrival]));
            }
        }
        let dropped = groups.into_iter().flat_map(|(channel, group)| channel.arrived(group, self));
        dropped.collect()
    }

    fn each_of(&self, cluster: &Cluster, shard: u16, each: impl Fn(&Channel)) {
        for channel in self.map.all() {
            if cluster.backplane.shard(&channel.name) == shard {
                each(&channel);
            }
        }
    }

    /// Lets go of channels without readers while memory is full: they can be read again.
    pub(crate) fn make_room_in_memory(&self) {
        let is_full = || self.meter.bytes_in_all() > self.options.max_bytes;
        if is_full() {
            self.map.evict_some(&self.meter, is_full);
        }
    }
}

/// With a backplane.
impl Channel {
    /// Whether a reader can begin at `start` with what is here.
    pub(crate) fn has(&self, start: Start) -> bool {
        if self.is_whole() {
            return true;
        }
        match start {
            Start::Now | Start::Last(0) => true,
            Start::After(position) => {
                let state = self.lock();
                position.epoch == state.log.end().epoch && position.offset >= state.log.start()
                    || state.log.is_behind_end(position)
            }
            Start::Earliest | Start::Last(_) | Start::Foreign | Start::Since(_) => false,
        }
    }

    /// These came. They are charged to no account: the engine has them, and this is a copy. Gives what
    /// went for them.
    fn arrived(&self, arrivals: Vec<Arrival>, registry: &Registry) -> Vec<VecDeque<Arc<Entry>>> {
        let Registry { options, meter, program, .. } = registry;
        // Measured outside the lock; and copied, for a part of what a connection has read keeps all of it.
        let came = |Arrival { offset, ts, what }| match what {
            What::Message { payload, event, id, .. } => {
                let payload = payload.as_ref().to_payload();
                let content = Content::new(payload, event, program.number);
                Some((offset, ts, Came::Message(content, id)))
            }
            What::Forget(_) => Some((offset, ts, Came::Forget)),
            What::End(_) => Some((offset, ts, Came::End)),
            What::Open { .. } => Some((offset, ts, Came::Open)),
            What::Clock | What::Other => None,
        };
        let arrivals: Vec<_> = arrivals.into_iter().filter_map(came).collect();
        let (mut dropped, mut forgotten) = (Vec::new(), Vec::new());
        {
            let mut state = self.lock();
            if state.retired {
                return Vec::new();
            }
            for (offset, ts, came) in arrivals {
                if offset <= state.log.last() {
                    continue;
                }
                match came {
                    Came::Message(content, id) => {
                        let message = (offset, ts, content, id);
                        dropped.extend(state.arrived(message, registry));
                    }
                    Came::Forget => {
                        meter.dropped_all(&state.log);
                        forgotten.push(state.log.forget_at(offset, ts));
                    }
                    Came::End => state.log.end_known(offset),
                    Came::Open => state.log.open_at(offset),
                }
            }
            dropped.extend(state.expire(
                options.history_of(&self.name),
                meter,
                options.clock.now(),
            ));
        }
        self.grown.notify_waiters();
        if !dropped.is_empty() {
            forgotten.push(dropped.into());
        }
        forgotten
    }

    /// The shard is in another epoch, or begins there: nothing that was here counts.
    fn restart(&self, at: Position, ends: &Ends, registry: &Registry) {
        let meter = &registry.meter;
        let keys = |state: &mut ChannelState| {
            meter.remove_keys(state.keys.bytes());
            std::mem::take(&mut state.keys)
        };
        self.begin_live(at.offset, ends, registry, keys, |log| log.restart(at));
    }

    /// What came up to that offset is not known.
    fn skip(&self, upto: u64, ends: &Ends, registry: &Registry) {
        self.begin_live(upto, ends, registry, |_| (), |log| log.skip(upto));
    }

    /// Begins to follow from `live_from` on with an empty log, all under one lock: a read of what was
    /// before is not taken for one of what is there now.
    fn begin_live<T>(
        &self,
        live_from: u64,
        ends: &Ends,
        registry: &Registry,
        also: impl FnOnce(&mut ChannelState) -> T,
        drop_all: impl FnOnce(&mut Log) -> VecDeque<Arc<Entry>>,
    ) {
        let (_also, dropped) = {
            let mut state = self.lock();
            let also = also(&mut state);
            state.live_from = live_from;
            self.set_extent(Extent::Live);
            let dropped = state.drop_all(&registry.meter, drop_all);
            if let Some(end) = ends.of(&self.name) {
                state.log.end_known(end.offset);
            }
            (also, dropped)
        };
        self.grown.notify_waiters();
        free(dropped);
    }

    /// Puts what the engine holds before what came since. Whether it is new enough for that; then all
    /// of the channel is here.
    pub(crate) fn complete(&self, stored: &Stored, times: EndTimes, registry: &Registry) -> bool {
        let Registry { options, meter, program, .. } = registry;
        let (epoch, from) = {
            let state = self.lock();
            (state.log.end().epoch, state.live_from)
        };
        if !stored.is_whole(from) {
            return self.is_whole();
        }
        let now = options.clock.now();
        let shown = stored.shown(options, now);
        let older = stored.messages[shown.first..].iter().take_while(|older| older.offset <= from);
        let entries: Vec<_> = older
            .filter(|older| !stored.is_void(older, times))
            .filter_map(|older| {
                let What::Message { payload, event, .. } = &older.what else { return None };
                let payload = payload.as_ref().to_payload();
                let content = Content::new(payload, event.clone(), program.number);
                let position = Position { epoch, offset: older.offset };
                Some(Arc::new(Entry::restored(position, older.ts, content, &meter.forms)))
            })
            .collect();
        let _dropped = {
            let mut state = self.lock();
            if self.is_whole() || (state.log.end().epoch, state.live_from) != (epoch, from) {
                return self.is_whole();
            }
            // Behind the end of a channel nothing is missing.
            let end = Some(state.log.end().offset).filter(|_| state.log.has_ended());
            let until = end.map_or(from, |end| end.min(from));
            // If some of what came since is gone already, what is older is not shown.
            if state.log.start() <= from {
                meter.restored(&entries);
                let (start, forgotten) = (shown.start.min(until), shown.forgotten.min(from));
                state.log.prepend(start, forgotten, entries);
                state.remember_stored(stored, (from, times), program.number, meter);
            }
            if !state.log.is_empty() {
                state.mark_persistent(meter);
            }
            self.set_extent(Extent::Whole);
            state.expire(options.history_of(&self.name), meter, now)
        };
        true
    }
}

/// What came on a channel.
enum Came {
    Message(Content, Option<Arc<str>>),
    Forget,
    End,
    Open,
}

/// What came, in parts: offset, time, content and id.
type Message = (u64, u64, Content, Option<Arc<str>>);

impl ChannelState {
    /// A message came; gives what went for it where all channels in memory have readers.
    fn arrived(&mut self, (offset, ts, content, id): Message, registry: &Registry) -> Dropped {
        let Registry { meter, program, .. } = registry;
        let position = Position { epoch: self.log.end().epoch, offset };
        let entry = Arc::new(Entry::new(position, ts, content, &meter.forms));
        let surplus = registry.over(entry.charge()).min(entry.charge());
        let mut dropped = Dropped::default();
        self.log.make_room(surplus, &mut dropped);
        self.release(&dropped, meter);
        meter.published(entry.charge());
        self.log.push(entry);
        if let Some(id) = id {
            self.remember_id(&id, offset, ts, program.number, meter);
        }
        self.mark_persistent(meter);
        dropped
    }
}
