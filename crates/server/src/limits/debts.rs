//! What is still to be paid for of each address, or publisher, whose rate is counted.
//!
//! Nothing is kept of one that owes nothing. Many that owe something at once, such as an attacker with a network of
//! addresses, cannot fill the memory: beyond [`MOST`] the half of them that owes least is forgotten.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use tokio::time::Instant;

/// How many are kept before those without a debt are dropped.
const FEW: usize = 1024;
/// How many are kept at most.
pub(crate) const MOST: usize = 65_536;

/// When the debt of each is paid.
#[derive(Debug)]
pub(super) struct Debts<K> {
    until: HashMap<K, Instant>,
    /// How many there may be before they are looked through.
    sweep_at: usize,
}

impl<K: Eq + Hash> Debts<K> {
    pub(super) fn none() -> Self {
        Self { until: HashMap::new(), sweep_at: FEW }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    /// When it has paid, if it owes anything.
    pub(super) fn of<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Instant>
    where
        K: Borrow<Q>,
    {
        self.until.get(key).copied()
    }

    /// It owes until then.
    pub(super) fn owe(&mut self, key: K, until: Instant, now: Instant) {
        self.until.insert(key, until);
        if self.until.len() >= self.sweep_at {
            self.sweep(now);
        }
    }

    /// Changes the debt of one, if it has any.
    pub(super) fn change<Q: Eq + Hash + ?Sized>(
        &mut self,
        key: &Q,
        change: impl FnOnce(Instant) -> Instant,
    ) where
        K: Borrow<Q>,
    {
        if let Some(until) = self.until.get_mut(key) {
            *until = change(*until);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.until.retain(|_, until| *until > now);
        if self.until.len() >= MOST {
            let mut all: Vec<Instant> = self.until.values().copied().collect();
            let (_, median, _) = all.select_nth_unstable(MOST / 2);
            let median = *median;
            self.until.retain(|_, until| *until > median);
        }
        self.sweep_at = (self.until.len() * 2).clamp(FEW, MOST);
        self.until.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn beyond_the_most_those_that_owe_least_are_forgotten() {
        let (mut debts, now) = (Debts::none(), Instant::now());
        let owes = |number: usize| now + Duration::from_secs(1 + number as u64);
        for number in 0..3 * MOST {
            debts.owe(number, owes(number), now);
            assert!(debts.len() < MOST, "{number}");
        }
        for number in [3 * MOST - 1, 3 * MOST - MOST / 4] {
            assert_eq!(debts.of(&number), Some(owes(number)));
        }
        assert_eq!(debts.of(&0), None);
        // Those that owe the same are no exception.
        let mut debts = Debts::none();
        (0..2 * MOST).for_each(|number| debts.owe(number, owes(0), now));
        assert!(debts.len() < MOST);
    }

    #[test]
    fn nothing_is_kept_of_those_that_owe_nothing() {
        let (mut debts, mut now) = (Debts::none(), Instant::now());
        for number in 0..100_000_u32 {
            debts.owe(number, now + Duration::from_millis(20), now);
            now += Duration::from_micros(100);
        }
        assert!(debts.len() <= FEW, "{}", debts.len());
        assert!(debts.until.capacity() <= 4 * FEW, "{}", debts.until.capacity());
    }
}
