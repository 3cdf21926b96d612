//! The deadlines of a runtime's connections, gathered in ticks: each connection costs a pointer here and a
//! few bytes of its own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::clock;

/// The length of a tick. A deadline is reported at most one tick late.
const TICK: Duration = Duration::from_millis(10);
/// Distant deadlines are rounded up to shared ticks, by at most this fraction of the time left. So the
/// keepalive pings of many connections wake a thread seldom.
const SLACK: u64 = 32;
/// How many connections are reported at once, before other tasks run.
const AT_ONCE: usize = 64;

/// A tick, counted from the clock's beginning.
pub(super) type Tick = u64;
/// The tick of a connection that is not in the wheel.
pub(super) const NEVER: Tick = u64::MAX;
/// The tick of a connection that is in the wheel without a deadline: it never comes.
pub(super) const NO_DEADLINE: Tick = NEVER - 1;

/// The clock that ticks are counted by.
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

    /// The shared tick at or after this one, as [`SLACK`] allows.
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

/// All deadlines. A connection in the wheel is kept alive by it.
pub(super) struct Wheel<C> {
    clock: Clock,
    ticks: BTreeMap<Tick, Vec<Arc<C>>>,
}

/// A connection's position in its wheel; only the wheel writes it.
pub(super) struct TimerSlot {
    tick: AtomicU64,
    index: AtomicU32,
}

impl<C: AsRef<TimerSlot>> Wheel<C> {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, ticks: BTreeMap::new() }
    }

    /// Has a connection reported at this tick. One that is in the wheel for an earlier tick stays there, and
    /// is checked again at that tick: so traffic, which moves deadlines back, costs nothing.
    pub(super) fn set(&mut self, connection: Arc<C>, tick: Tick) {
        let present = slot_of(&connection).tick();
        if tick == NEVER || tick < present {
            self.remove(&connection);
            self.insert(connection, tick);
        }
    }

    /// The time of the first tick in the wheel.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ticks.first_key_value().and_then(|(tick, _)| self.clock.time_of(*tick))
    }

    /// Removes and returns some of the connections whose tick has passed.
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
        expired.iter().for_each(|connection| slot_of(connection).set(NEVER, 0));
        expired
    }

    /// Removes and returns all connections.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Arc<C>> {
        let all = std::mem::take(&mut self.ticks).into_values().flatten();
        all.inspect(|connection| slot_of(connection).set(NEVER, 0))
    }

    fn insert(&mut self, connection: Arc<C>, tick: Tick) {
        if tick != NEVER {
            let those = self.ticks.entry(tick).or_default();
            slot_of(&connection).set(tick, those.len());
            if those.len() == those.capacity() {
                // By an eighth: of what doubles, a quarter is empty.
                those.reserve_exact(those.len() / 8 + 4);
            }
            those.push(connection);
        }
    }

    fn remove(&mut self, connection: &Arc<C>) {
        let (tick, index) = (slot_of(connection).tick(), slot_of(connection).index());
        let Some(those) = self.ticks.get_mut(&tick) else { return };
        those.swap_remove(index);
        slot_of(connection).set(NEVER, 0);
        if let Some(moved) = those.get(index) {
            slot_of(moved).set(tick, index);
        }
        if those.is_empty() {
            self.ticks.remove(&tick);
        }
    }
}

fn slot_of<C: AsRef<TimerSlot>>(connection: &Arc<C>) -> &TimerSlot {
    C::as_ref(connection)
}

impl Default for TimerSlot {
    fn default() -> Self {
        Self { tick: AtomicU64::new(NEVER), index: AtomicU32::new(0) }
    }
}

impl TimerSlot {
    fn tick(&self) -> Tick {
        self.tick.load(Ordering::Relaxed)
    }

    fn index(&self) -> usize {
        self.index.load(Ordering::Relaxed) as usize
    }

    fn set(&self, tick: Tick, index: usize) {
        self.tick.store(tick, Ordering::Relaxed);
        // There are fewer descriptors than that.
        self.index.store(index as u32, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Connection(TimerSlot);

    impl AsRef<TimerSlot> for Connection {
        fn as_ref(&self) -> &TimerSlot {
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
