//! Idempotency keys: a publication that is repeated gets the position it has already.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a key is charged for beside its text, in bytes.
const KEY_OVERHEAD: u64 = 64;

/// Names one publication of one publisher, so that it can be repeated without being published
/// twice: see [`Publication::key`](crate::Publication::key).
///
/// A channel remembers a key for [`REMEMBERED`](Self::REMEMBERED) at least, whatever becomes of the
/// entry. What is remembered counts against [`Options::max_bytes`](crate::Options::max_bytes); when
/// that is reached, a publication with a new key is refused rather than an old key forgotten early.
/// There is one exception: keys of the account that holds most make room for accounts that hold
/// less, when nothing else does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// The text is no [`IdempotencyKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an idempotency key is 1 to {} visible ASCII characters or spaces",
    IdempotencyKey::MAX_LEN
)]
pub struct BadIdempotencyKey;

impl IdempotencyKey {
    /// The longest key, in bytes.
    pub const MAX_LEN: usize = 255;

    /// How long a key is remembered at least.
    pub const REMEMBERED: Duration = Duration::from_mins(5);

    /// The key of that publisher. Publishers without a name, `""`, share their keys.
    ///
    /// # Errors
    ///
    /// [`BadIdempotencyKey`] unless the key is 1 to [`MAX_LEN`](Self::MAX_LEN) visible ASCII
    /// characters or spaces.
    pub fn new(publisher: &str, key: &str) -> Result<Self, BadIdempotencyKey> {
        let plain = key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if key.is_empty() || key.len() > Self::MAX_LEN || !plain {
            return Err(BadIdempotencyKey);
        }
        // No key has a line break, so the last one separates the two whatever the publisher's name.
        Ok(Self(format!("{publisher}\n{key}").into()))
    }

    /// Publisher and key as one text, from which [`of_text`](Self::of_text) makes it again.
    pub(crate) fn as_text(&self) -> &str {
        &self.0
    }

    pub(crate) fn of_text(text: &str) -> Self {
        Self(text.into())
    }

    /// What remembering it is charged for, in bytes.
    pub(crate) fn charge(&self) -> u64 {
        self.0.len() as u64 + KEY_OVERHEAD
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({:?})", &*self.0)
    }
}

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
