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
}

/// When a key was used, and the offset that it got then.
#[derive(Debug)]
struct Use {
    ts: u64,
    offset: u64,
    key: IdempotencyKey,
}

impl Keys {
    pub(crate) fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    /// The offset that was given for the key.
    pub(crate) fn find(&self, key: &IdempotencyKey) -> Option<u64> {
        self.offsets.get(key).copied()
    }

    /// Forgets all; gives what that was charged for.
    pub(crate) fn clear(&mut self) -> u64 {
        let charge = self.used.iter().map(|used| used.key.charge()).sum();
        *self = Self::default();
        charge
    }

    pub(crate) fn remember(&mut self, key: IdempotencyKey, offset: u64, ts: u64) {
        self.offsets.insert(key.clone(), offset);
        self.used.push_back(Use { ts, offset, key });
    }

    /// The offset just before that of the oldest key remembered, if there is one.
    pub(crate) fn start(&self) -> Option<u64> {
        self.used.front().map(|oldest| oldest.offset - 1)
    }

    /// Forgets what was used long enough before `now`; gives what that was charged for.
    pub(crate) fn expire(&mut self, now: u64) -> u64 {
        let oldest = now.saturating_sub(IdempotencyKey::REMEMBERED.as_millis() as u64);
        let mut charge = 0;
        while let Some(Use { offset, key, .. }) = self.used.pop_front_if(|used| used.ts < oldest) {
            charge += key.charge();
            // Unless it was used again since: what a store gives back may hold both.
            if self.find(&key) == Some(offset) {
                self.offsets.remove(&key);
            }
        }
        if self.used.is_empty() {
            *self = Self::default();
        }
        charge
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
        keys.remember(key.clone(), 3, 0);
        keys.remember(key.clone(), 9, span + 1);
        assert_eq!(keys.start(), Some(2));
        assert_eq!(keys.expire(span + 2), key.charge());
        assert_eq!((keys.find(&key), keys.start()), (Some(9), Some(8)));
        assert_eq!(keys.expire(3 * span), key.charge());
        assert!(keys.is_empty() && keys.find(&key).is_none());
    }
}
