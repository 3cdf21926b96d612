//! The idempotency keys of a channel: a publication that is repeated gets the position it has already.

use std::collections::{HashMap, VecDeque};

use crate::IdempotencyKey;

/// The keys that a channel remembers, with the offset that each got.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    offsets: HashMap<IdempotencyKey, u64>,
    /// Each use, in their order. A key may have been used again when its time was over.
    used: VecDeque<Use>,
    /// What they are charged for.
    bytes: u64,
}

/// When a key was used, and the offset that it got then.
#[derive(Debug)]
struct Use {
    ts: u64,
    offset: u64,
    key: IdempotencyKey,
    /// The number of the account that it is charged to.
    payer: u32,
}

impl Keys {
    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }

    /// What the keys are charged for, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// The offset that was given for the key.
    pub(crate) fn find(&self, key: &IdempotencyKey) -> Option<u64> {
        self.offsets.get(key).copied()
    }

    pub(crate) fn remember(&mut self, key: IdempotencyKey, offset: u64, ts: u64, payer: u32) {
        self.offsets.insert(key.clone(), offset);
        self.bytes += key.charge();
        self.used.push_back(Use { ts, offset, key, payer });
    }

    /// The offset just before that of the oldest key remembered, if there is one.
    pub(crate) fn start(&self) -> Option<u64> {
        self.used.front().map(|oldest| oldest.offset - 1)
    }

    /// All keys were used before `time`, whatever was said of them: the clock was ahead.
    pub(crate) fn correct(&mut self, time: u64) {
        self.used.iter_mut().for_each(|used| used.ts = used.ts.min(time));
    }

    /// Forgets what was used long enough before `now`, at most `limit` keys, and tells the number of
    /// the account and the bytes that each was charged for. Gives how many they were.
    pub(crate) fn expire(
        &mut self,
        now: u64,
        limit: usize,
        mut forgotten: impl FnMut(u32, u64),
    ) -> usize {
        // Most channels never have any.
        if self.used.capacity() == 0 {
            return 0;
        }
        let oldest = now.saturating_sub(IdempotencyKey::REMEMBERED.as_millis() as u64);
        let mut count = 0;
        while count < limit
            && let Some(used) = self.used.pop_front_if(|used| used.ts < oldest)
        {
            forgotten(used.payer, used.key.charge());
            self.forget(&used);
            count += 1;
        }
        if self.used.is_empty() {
            *self = Self::default();
        }
        count
    }

    /// What each account, by its number, is charged for keys, in bytes.
    pub(crate) fn charges(&self) -> HashMap<u32, u64> {
        let mut charges = HashMap::new();
        for used in &self.used {
            *charges.entry(used.payer).or_default() += used.key.charge();
        }
        charges
    }

    /// Forgets the oldest keys of that account among the oldest `limit` ones: as many as it takes to
    /// free `quota` bytes, at most `spare` bytes; gives how many they are and their bytes.
    pub(crate) fn evict(
        &mut self,
        payer: u32,
        (quota, spare): (u64, u64),
        limit: usize,
    ) -> (usize, u64) {
        let (mut count, mut bytes) = (0, 0);
        let mut kept = Vec::new();
        for used in self.used.drain(..limit.min(self.used.len())).collect::<Vec<_>>() {
            let charge = used.key.charge();
            if used.payer == payer && bytes < quota && bytes + charge <= spare {
                (count, bytes) = (count + 1, bytes + charge);
                self.forget(&used);
            } else {
                kept.push(used);
            }
        }
        for used in kept.into_iter().rev() {
            self.used.push_front(used);
        }
        (count, bytes)
    }

    fn forget(&mut self, used: &Use) {
        self.bytes -= used.key.charge();
        // Unless it was used again since: what a store gives back may hold both.
        if self.find(&used.key) == Some(used.offset) {
            self.offsets.remove(&used.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_used_again_is_remembered_from_then_on() {
        let key = IdempotencyKey::new("ann", "7").unwrap();
        let span = IdempotencyKey::REMEMBERED.as_millis() as u64;
        let mut keys = Keys::default();
        keys.remember(key.clone(), 3, 0, 7);
        keys.remember(key.clone(), 9, span + 1, 8);
        assert_eq!(keys.start(), Some(2));
        let expire = |keys: &mut Keys, now| {
            let mut forgotten = Vec::new();
            keys.expire(now, 9, |payer, charge| forgotten.push((payer, charge)));
            forgotten
        };
        assert_eq!(expire(&mut keys, span + 2), [(7, key.charge())]);
        assert_eq!((keys.find(&key), keys.start()), (Some(9), Some(8)));
        assert_eq!(expire(&mut keys, 3 * span), [(8, key.charge())]);
        assert!(keys.is_empty() && keys.find(&key).is_none());
    }
}
