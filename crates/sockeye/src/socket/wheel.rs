//! The deadlines of a runtime's connections, gathered in ticks: a place among them costs a connection
//! a pointer there and a few bytes of its own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::clock;

/// How long a tick is. A deadline is told by so much later at the most.
const TICK: Duration = Duration::from_millis(10);
/// Deadlines that are far away are gathered: each is told by this part of the time until then later at
/// the most, and many of them at once. So the pings of a crowd, and its pongs, wake a thread seldom.
const SLACK: u64 = 32;
/// How many connections are told of at once, before others are served.
const AT_ONCE: usize = 64;

/// A tick, counted from the clock's beginning.
pub(super) type Tick = u64;
/// The tick of those that are not in the wheel.
pub(super) const NEVER: Tick = u64::MAX;
/// The tick of those that have no deadline and are in the wheel all the same: it does not come.
pub(super) const NO_DEADLINE: Tick = NEVER - 1;

/// What ticks are counted by.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { began: clock::now() }
    }

    /// The first tick at which a deadline has passed.
    pub(super) fn tick(self, deadline: Option<Instant>) -> Tick {
        let Some(deadline) = deadline else { return NO_DEADLINE };
        let ticks = (deadline - self.began).as_nanos().div_ceil(TICK.as_nanos());
        Tick::try_from(ticks).map_or(NO_DEADLINE, |tick| tick.min(NO_DEADLINE))
    }

    /// The tick, at or after this one, that it shares with others which are as far away.
    pub(super) fn gathered(self, tick: Tick, now: Instant) -> Tick {
        if tick >= NO_DEADLINE {
            return tick;
        }
        let left = tick.saturating_sub(self.tick(Some(now)));
        let step = 1 << (left / SLACK).max(1).ilog2();
        tick.checked_next_multiple_of(step).unwrap_or(NO_DEADLINE)
    }

    fn time_of(self, tick: Tick) -> Option<Instant> {
        let nanos = u128::from(tick) * TICK.as_nanos();
        self.began.checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }
}

/// All deadlines. A connection that is here is kept.
pub(super) struct Wheel<C> {
    clock: Clock,
    ticks: BTreeMap<Tick, Vec<Arc<C>>>,
}

/// Where a connection is in its wheel; only the wheel writes there.
pub(super) struct Place {
    tick: AtomicU64,
    index: AtomicU32,
}

impl<C: AsRef<Place>> Wheel<C> {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, ticks: BTreeMap::new() }
    }

    /// Sees to it that a connection is told of at this tick. One that is here for an earlier one stays
    /// where it is: when that comes, it is looked at again. So traffic, which moves deadlines back,
    /// costs nothing.
    pub(super) fn set(&mut self, connection: Arc<C>, tick: Tick) {
        let present = place_of(&connection).tick();
        if tick == NEVER || tick < present {
            self.remove(&connection);
            self.insert(connection, tick);
        }
    }

    /// When the next tick is due that somebody waits for.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ticks.first_key_value().and_then(|(tick, _)| self.clock.time_of(*tick))
    }

    /// Some of those whose time has come; they are not here any more.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Arc<C>> {
        let Some(mut first) = self.ticks.first_entry() else { return Vec::new() };
        if self.clock.time_of(*first.key()).is_none_or(|time| now < time) {
            return Vec::new();
        }
        let left = first.get().len().saturating_sub(AT_ONCE);
        let expired = first.get_mut().split_off(left);
        if left == 0 {
            first.remove();
        }
        expired.iter().for_each(|connection| place_of(connection).set(NEVER, 0));
        expired
    }

    /// All that are here; none is any more.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Arc<C>> {
        let all = std::mem::take(&mut self.ticks).into_values().flatten();
        all.inspect(|connection| place_of(connection).set(NEVER, 0))
    }

    fn insert(&mut self, connection: Arc<C>, tick: Tick) {
        if tick != NEVER {
            let those = self.ticks.entry(tick).or_default();
            place_of(&connection).set(tick, those.len());
            those.push(connection);
        }
    }

    fn remove(&mut self, connection: &Arc<C>) {
        let (tick, index) = (place_of(connection).tick(), place_of(connection).index());
        let Some(those) = self.ticks.get_mut(&tick) else { return };
        those.swap_remove(index);
        place_of(connection).set(NEVER, 0);
        if let Some(moved) = those.get(index) {
            place_of(moved).set(tick, index);
        }
        if those.is_empty() {
            self.ticks.remove(&tick);
        }
    }
}

fn place_of<C: AsRef<Place>>(connection: &Arc<C>) -> &Place {
    C::as_ref(connection)
}

impl Default for Place {
    fn default() -> Self {
        Self { tick: AtomicU64::new(NEVER), index: AtomicU32::new(0) }
    }
}

impl Place {
    fn tick(&self) -> Tick {
        self.tick.load(Ordering::Relaxed)
    }

    fn index(&self) -> usize {
        self.index.load(Ordering::Relaxed) as usize
    }

    fn set(&self, tick: Tick, index: usize) {
        self.tick.store(tick, Ordering::Relaxed);
        // There are not that many descriptors.
        self.index.store(index as u32, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Connection(Place);

    impl AsRef<Place> for Connection {
        fn as_ref(&self) -> &Place {
            &self.0
        }
    }

    #[test]
    fn a_deadline_is_told_not_before_it_has_passed_and_at_most_a_tick_later() {
        let clock = Clock::new();
        for millis in [0, 1, 9, 10, 11, 25_000] {
            let deadline = clock.began + Duration::from_millis(millis);
            let told = clock.time_of(clock.tick(Some(deadline))).unwrap();
            assert!(told >= deadline && told < deadline + TICK, "{millis} ms");
        }
        assert_eq!(clock.tick(None), NO_DEADLINE);
        assert!(clock.time_of(NO_DEADLINE).is_none());
    }

    #[test]
    fn deadlines_that_are_far_are_told_together_and_a_little_later() {
        let clock = Clock::new();
        let now = clock.began + Duration::from_secs(1000);
        let gathered = |tick| clock.gathered(100_000 + tick, now) - 100_000;
        for (left, told) in [(0, 0), (1, 1), (63, 63), (65, 66), (2500, 2528), (2528, 2528)] {
            assert_eq!(gathered(left), told);
        }
        for left in 0..100_000 {
            let later = gathered(left) - left;
            assert!(later * SLACK <= left, "{left} ticks away, {later} later");
        }
        // One that has passed, and none.
        assert_eq!(clock.gathered(3, now), 3);
        assert_eq!(clock.gathered(NO_DEADLINE, now), NO_DEADLINE);
        assert_eq!(clock.gathered(NEVER, now), NEVER);
    }

    proptest! {
        #[test]
        fn each_is_told_at_the_first_of_its_ticks_unless_it_wants_none(
            calls in prop::collection::vec((0..20usize, prop_oneof![Just(NEVER), 0..9u64]), 0..200),
        ) {
            let clock = Clock::new();
            let mut wheel = Wheel::new(clock);
            let connections: Vec<_> = (0..20).map(|_| Arc::new(Connection::default())).collect();
            let mut wanted = vec![NEVER; 20];
            for (i, tick) in calls {
                wheel.set(connections[i].clone(), tick);
                wanted[i] = if tick == NEVER { NEVER } else { tick.min(wanted[i]) };
            }
            for tick in 0..9 {
                let earliest = wanted.iter().copied().min().filter(|tick| *tick != NEVER);
                prop_assert_eq!(wheel.next(), earliest.and_then(|tick| clock.time_of(tick)));
                let told = wheel.take_expired(clock.time_of(tick).unwrap());
                for (connection, wanted) in connections.iter().zip(&mut wanted) {
                    let is_told = told.iter().any(|told| Arc::ptr_eq(told, connection));
                    prop_assert_eq!(is_told, *wanted == tick);
                    *wanted = if is_told { NEVER } else { *wanted };
                }
            }
            prop_assert!(connections.iter().all(|connection| Arc::strong_count(connection) == 1));
        }
    }

    #[test]
    fn a_crowd_is_told_in_portions() {
        let (clock, mut told) = (Clock::new(), 0);
        let mut wheel = Wheel::new(clock);
        (0..1000).for_each(|_| wheel.set(Arc::new(Connection::default()), 3));
        while wheel.next().is_some() {
            let portion = wheel.take_expired(clock.time_of(3).unwrap());
            assert!((1..=AT_ONCE).contains(&portion.len()));
            told += portion.len();
        }
        assert_eq!(told, 1000);
    }
}
