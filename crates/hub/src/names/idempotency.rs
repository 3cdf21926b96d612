//! Idempotency keys: names of publications that may be repeated.

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

    /// The publisher, a line break and the key, as one text.
    pub fn as_text(&self) -> &str {
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
