//! Accounts: which publisher the room of a hub is charged to, and how much of it each holds.
//!
//! An account exists as long as it holds something, so a peer that makes many of them needs room for
//! each. Finding the largest reads 16 bytes of each, side by side in memory: 100,000 accounts take
//! some 0.1 ms, and only a hub that is full looks.

mod share;
mod slots;
mod stakes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

pub use self::share::Share;
pub(crate) use self::slots::Slots;
pub(crate) use self::stakes::Stakes;
use crate::ChannelName;

/// Accounts whose counters lie side by side.
const CHUNK: usize = 256;

/// What a hub has a bound for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capacity {
    /// [`Options::max_channels`](crate::Options::max_channels).
    Channels,
    /// [`Options::max_bytes`](crate::Options::max_bytes).
    Bytes,
}

/// A place in the order of use: a [turn](Stamp::turn), and a number that makes it unique.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) u64, u64);

/// Counts on with each stamp and each sweep: an order of use that a clock which is set back does
/// not disturb, and that costs a use one load.
static TURN: AtomicU64 = AtomicU64::new(1);

/// How much an account holds.
#[derive(Debug, Default)]
struct Held {
    bytes: AtomicU64,
    channels: AtomicU64,
}

type Chunk = [Held; CHUNK];

/// One account. It closes when the last reference to it is dropped.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) name: Arc<str>,
    pub(crate) number: u32,
    counters: Arc<Chunk>,
    /// The channels in which it holds bytes, longest unused first. A stamp may be older than the
    /// last use: a channel that is found to have been used since is listed anew.
    stakes: Mutex<BTreeMap<Stamp, ChannelName>>,
    accounts: Weak<Accounts>,
}

/// All accounts of a hub.
#[derive(Debug, Default)]
pub(crate) struct Accounts(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    numbers: BTreeMap<Arc<str>, u32>,
    /// By number.
    accounts: Vec<Weak<Account>>,
    /// Numbers that are not in use.
    free: Vec<u32>,
    counters: Vec<Arc<Chunk>>,
}

impl Stamp {
    /// Later than all stamps and turns before.
    pub(crate) fn next() -> Self {
        let turn = TURN.fetch_add(1, Relaxed);
        Self(turn, turn)
    }

    /// Later than all stamps and all uses before, and earlier than all uses from now on. A turn has
    /// many uses, so what was used just now has the turn of the next stamp.
    pub(crate) fn after_all_uses() -> Self {
        Self(TURN.fetch_add(1, Relaxed) + 1, 0)
    }

    /// Of that turn, later than its other stamps.
    pub(crate) fn of(turn: u64) -> Self {
        Self(turn, TURN.fetch_add(1, Relaxed))
    }

    /// The turn in which something is used now: later than all stamps made before.
    pub(crate) fn turn() -> u64 {
        TURN.load(Relaxed)
    }
}

impl Held {
    fn of(&self, capacity: Capacity) -> &AtomicU64 {
        match capacity {
            Capacity::Bytes => &self.bytes,
            Capacity::Channels => &self.channels,
        }
    }
}

impl Account {
    fn counter(&self, capacity: Capacity) -> &AtomicU64 {
        self.counters[self.number as usize % CHUNK].of(capacity)
    }

    pub(crate) fn held(&self, capacity: Capacity) -> u64 {
        self.counter(capacity).load(Relaxed)
    }

    pub(crate) fn charge(&self, capacity: Capacity, amount: u64) {
        self.counter(capacity).fetch_add(amount, Relaxed);
    }

    /// Charges one amount and takes back another one that was charged.
    pub(crate) fn exchange(&self, capacity: Capacity, amount: u64, back: u64) {
        self.counter(capacity).fetch_add(amount.wrapping_sub(back), Relaxed);
    }

    pub(crate) fn discharge(&self, capacity: Capacity, amount: u64) {
        self.counter(capacity).fetch_sub(amount, Relaxed);
    }

    pub(crate) fn list(&self, stamp: Stamp, channel: ChannelName) {
        self.stakes().insert(stamp, channel);
    }

    pub(crate) fn unlist(&self, stamp: Stamp) {
        self.stakes().remove(&stamp);
    }

    /// The channel unused longest of those listed after `after` and before `before`.
    pub(crate) fn next_stake(&self, after: Stamp, before: Stamp) -> Option<(Stamp, ChannelName)> {
        let stakes = self.stakes();
        first_between(&stakes, after, before)
    }

    fn stakes(&self) -> MutexGuard<'_, BTreeMap<Stamp, ChannelName>> {
        // It is whole between any two statements.
        self.stakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first channel of those listed after `after` and before `before`.
pub(crate) fn first_between(
    listed: &BTreeMap<Stamp, ChannelName>,
    after: Stamp,
    before: Stamp,
) -> Option<(Stamp, ChannelName)> {
    use std::ops::Bound::Excluded;
    if after >= before {
        return None;
    }
    let first = listed.range((Excluded(after), Excluded(before))).next();
    first.map(|(stamp, channel)| (*stamp, channel.clone()))
}

impl Accounts {
    /// The account of that name, opened if there is none.
    pub(crate) fn of(self: &Arc<Self>, name: &str) -> Arc<Account> {
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner).find(name);
        if let Some(account) = found {
            return account;
        }
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.find(name).unwrap_or_else(|| table.open(name, Arc::downgrade(self)))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).numbers.len()
    }

    /// The account that holds most, but for these; `None` if the others hold nothing.
    pub(crate) fn largest(&self, capacity: Capacity, except: &[u32]) -> Option<Arc<Account>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (mut most, mut largest) = (0, None);
        for (number, held) in (0_u32..).zip(table.counters.iter().flat_map(|chunk| chunk.iter())) {
            let held = held.of(capacity).load(Relaxed);
            if held > most && !except.contains(&number) {
                (most, largest) = (held, Some(number));
            }
        }
        table.accounts.get(largest? as usize)?.upgrade()
    }

    fn close(&self, account: &Account) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Another may have been opened under the name since this one was found closing.
        if table.numbers.get(&account.name) == Some(&account.number) {
            table.numbers.remove(&account.name);
        }
        table.free.push(account.number);
    }
}

impl Table {
    fn find(&self, name: &str) -> Option<Arc<Account>> {
        let number = *self.numbers.get(name)?;
        self.accounts.get(number as usize)?.upgrade()
    }

    fn open(&mut self, name: &str, accounts: Weak<Accounts>) -> Arc<Account> {
        let number = self.free.pop().unwrap_or_else(|| {
            self.accounts.push(Weak::new());
            self.accounts.len() as u32 - 1
        });
        let chunk = number as usize / CHUNK;
        if chunk == self.counters.len() {
            self.counters.push(Arc::new(std::array::from_fn(|_| Held::default())));
        }
        let counters = Arc::clone(&self.counters[chunk]);
        let name: Arc<str> = name.into();
        self.numbers.insert(Arc::clone(&name), number);
        let stakes = Mutex::default();
        let account = Arc::new(Account { name, number, counters, stakes, accounts });
        self.accounts[number as usize] = Arc::downgrade(&account);
        account
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(accounts) = self.accounts.upgrade() {
            accounts.close(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_lives_as_long_as_something_refers_to_it() {
        let accounts = Arc::new(Accounts::default());
        let ann = accounts.of("ann");
        assert!(Arc::ptr_eq(&ann, &accounts.of("ann")));
        ann.charge(Capacity::Bytes, 7);
        let others: Vec<_> = (0..1000).map(|n| accounts.of(&n.to_string())).collect();
        assert_eq!(accounts.count(), 1001);
        drop(others);
        assert_eq!(accounts.count(), 1);
        ann.discharge(Capacity::Bytes, 7);
        drop(ann);
        assert_eq!(accounts.count(), 0);
        let table = accounts.0.read().unwrap();
        assert_eq!((table.free.len(), table.accounts.len()), (1001, 1001));
    }

    #[test]
    fn the_largest_account_is_found() {
        let accounts = Arc::new(Accounts::default());
        assert!(accounts.largest(Capacity::Bytes, &[]).is_none());
        let all: Vec<_> = (0..600_u64)
            .map(|n| {
                let account = accounts.of(&n.to_string());
                account.charge(Capacity::Channels, n * 7919 % 600);
                account
            })
            .collect();
        let largest = accounts.largest(Capacity::Channels, &[]).unwrap();
        assert_eq!(largest.held(Capacity::Channels), 599);
        let second = accounts.largest(Capacity::Channels, &[largest.number]).unwrap();
        assert_eq!(second.held(Capacity::Channels), 598);
        assert!(accounts.largest(Capacity::Bytes, &[]).is_none());
        drop(all);
    }
}
