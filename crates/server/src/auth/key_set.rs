//! The public keys of an issuer, a JSON Web Key Set (RFC 7517 §5): found by their `kid`, and replaced while the
//! server runs.
//!
//! The program fetches the set. It is told when a token names a key that is missing, and the token waits for it; but
//! not more often than every [`KeySet::BETWEEN_SEARCHES`], for a token can name any key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::key::{Algorithm, VerifyingKey};
use super::token::Object;

/// The public keys of an issuer, for [`AuthKey::from_set`](super::AuthKey::from_set). Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keys: RwLock<Arc<[PublishedKey]>>,
    failures: std::sync::atomic::AtomicU64,
    search: Mutex<Search>,
    asked: Notify,
    answered: watch::Sender<()>,
}

/// The search for keys that are missing.
#[derive(Debug, Default)]
struct Search {
    /// Whether a task waits to be asked.
    is_served: bool,
    is_under_way: bool,
    last: Option<Instant>,
}

#[derive(Debug)]
struct PublishedKey {
    kid: Option<Box<str>>,
    key: Arc<VerifyingKey>,
}

/// Why a token has no key in the set.
pub(super) enum NoKey {
    /// No key has its `kid`; or it has none, and it is not plain which key it means.
    Unknown,
    /// The key with its `kid` is for this algorithm.
    OtherAlgorithm(Algorithm),
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            keys: RwLock::new(Arc::new([])),
            failures: Default::default(),
            search: Mutex::default(),
            asked: Notify::new(),
            answered: watch::Sender::new(()),
        }
    }
}

impl KeySet {
    /// The largest set, in bytes.
    pub const MAX_BYTES: usize = 256 << 10;
    /// The most keys in a set, those among them that cannot be used.
    pub const MAX_KEYS: usize = 100;
    /// How long after a search for a missing key the next one begins at the earliest.
    pub const BETWEEN_SEARCHES: Duration = Duration::from_secs(10);
    /// How long a token waits for a search.
    pub const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);

    /// A set without keys, which refuses every token until it is [replaced](Self::replace).
    pub fn new() -> Self {
        Self::default()
    }

    /// The set in these bytes of JSON.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace).
    pub fn from_json(json: &[u8]) -> Result<Self, KeySetError> {
        let set = Self::new();
        set.replace(json)?;
        Ok(set)
    }

    /// Replaces the keys by those of these bytes, and ends a search for missing ones. Whether they are others than
    /// before.
    ///
    /// Used are public keys for signatures by `RS256` (2048 to 8192 bits), `ES256` and `EdDSA` (Ed25519). Others are
    /// left out, secrets and private keys among them.
    ///
    /// # Errors
    ///
    /// When it is not a set, too large, or without a key that can be used. Then the keys stay as they are.
    pub fn replace(&self, json: &[u8]) -> Result<bool, KeySetError> {
        let keys: Arc<[PublishedKey]> = parse(json)?.into();
        let mut current = self.0.keys.write().unwrap_or_else(PoisonError::into_inner);
        let is_same = current.len() == keys.len()
            && current
                .iter()
                .zip(&*keys)
                .all(|(one, other)| one.kid == other.kid && one.key.is_same_as(&other.key));
        *current = keys;
        drop(current);
        self.answer();
        Ok(!is_same)
    }

    /// Says that the set could not be fetched: the keys stay as they are, and a search for missing ones has ended.
    pub fn keep(&self) {
        self.0.failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.answer();
    }

    /// Waits until a token names a key that is missing. Then the set is to be fetched, and [replaced](Self::replace)
    /// or [kept](Self::keep). Until this has been called for the first time, such tokens are refused at once.
    pub async fn missed(&self) {
        self.search().is_served = true;
        self.0.asked.notified().await;
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often it could not be fetched.
    pub(crate) fn failures(&self) -> u64 {
        self.0.failures.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether it is the same set, whatever is in it.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The key for a token with this `kid` and `alg`.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        algorithm: jsonwebtoken::Algorithm,
    ) -> Result<Arc<VerifyingKey>, NoKey> {
        let keys = self.keys();
        let is_meant = |key: &&PublishedKey| match kid {
            Some(kid) => key.kid.as_deref() == Some(kid),
            None => keys.len() == 1,
        };
        let mut meant = keys.iter().filter(is_meant);
        let is_of_algorithm =
            |key: &&PublishedKey| jsonwebtoken::Algorithm::from(key.key.algorithm) == algorithm;
        if let Some(found) = meant.clone().find(is_of_algorithm) {
            return Ok(Arc::clone(&found.key));
        }
        Err(meant.next().map_or(NoKey::Unknown, |key| NoKey::OtherAlgorithm(key.key.algorithm)))
    }

    /// Has the set fetched, because a key is missing, and waits until that is done. Whether it was done: not so soon
    /// after the last time.
    pub(super) async fn look_again(&self) -> bool {
        let mut answered = self.0.answered.subscribe();
        {
            let (mut search, now) = (self.search(), Instant::now());
            let is_early = search.last.is_some_and(|last| now - last < Self::BETWEEN_SEARCHES);
            if !search.is_served || is_early && !search.is_under_way {
                return false;
            }
            if !search.is_under_way {
                (search.is_under_way, search.last) = (true, Some(now));
                self.0.asked.notify_one();
            }
        }
        timeout(Self::SEARCH_TIMEOUT, answered.changed()).await.is_ok()
    }

    fn answer(&self) {
        self.search().is_under_way = false;
        self.0.answered.send_replace(());
    }

    fn keys(&self) -> Arc<[PublishedKey]> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn search(&self) -> MutexGuard<'_, Search> {
        self.0.search.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(json: &[u8]) -> Result<Vec<PublishedKey>, KeySetError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Box<RawValue>>,
    }
    if json.len() > KeySet::MAX_BYTES {
        return Err(KeySetError::TooLarge);
    }
    let Object(Set { keys }) =
        serde_json::from_slice(json).map_err(|wrong| KeySetError::Malformed(wrong.to_string()))?;
    if keys.len() > KeySet::MAX_KEYS {
        return Err(KeySetError::TooManyKeys);
    }
    // A key of a kind that is not known here must not take the others with it.
    let read = |key: &RawValue| serde_json::from_str(key.get()).ok();
    let public = keys.iter().filter(|key| is_public(key));
    let usable: Vec<_> = public.filter_map(|key| usable(&read(key)?)).collect();
    if usable.is_empty() { Err(KeySetError::NoKeys) } else { Ok(usable) }
}

/// Whether it has no private half (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2): with one that is published
/// anybody can sign.
fn is_public(key: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Half {
        d: Option<IgnoredAny>,
    }
    serde_json::from_str(key.get()).is_ok_and(|Object(Half { d })| d.is_none())
}

/// The key, if it is one for signatures by an algorithm of ours.
fn usable(jwk: &Jwk) -> Option<PublishedKey> {
    let is_for_signatures = !matches!(
        &jwk.common.public_key_use,
        Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))
    );
    let verifies = jwk.common.key_operations.as_ref();
    if !is_for_signatures || verifies.is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::Rs256,
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
            Algorithm::Es256
        }
        AlgorithmParameters::OctetKeyPair(point) if point.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDsa
        }
        _ => return None,
    };
    let of_this = jsonwebtoken::jwk::KeyAlgorithm::from(jsonwebtoken::Algorithm::from(algorithm));
    if jwk.common.key_algorithm.is_some_and(|named| named != of_this) {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok().filter(is_strong)?;
    let kid = jwk.common.key_id.as_deref().map(Into::into);
    Some(PublishedKey { kid, key: Arc::new(VerifyingKey::new(algorithm, key)) })
}

/// Whether the numbers are those of a key: a point of the curve, or a modulus of 2048 to 8192 bits.
fn is_strong(key: &DecodingKey) -> bool {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => {
            let leading = n.iter().take_while(|byte| **byte == 0).count();
            let bits = n
                .get(leading)
                .map_or(0, |first| (n.len() - leading) * 8 - first.leading_zeros() as usize);
            (2048..=8192).contains(&bits)
        }
        DecodingKeyKind::SecretOrDer(point) => match point.len() {
            32 => ParsedPublicKey::new(&ED25519, point).is_ok(),
            _ => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok(),
        },
    }
}

/// Why bytes are not a set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// It is not JSON with `keys`.
    #[error("it is not a JSON Web Key Set, an object with a list of `keys`: {0}")]
    Malformed(String),
    /// No key in it can be used.
    #[error("it has no public key for RS256 (2048 to 8192 bits), ES256 or EdDSA (Ed25519)")]
    NoKeys,
    /// It is larger than [`KeySet::MAX_BYTES`].
    #[error("it is larger than {} KiB", KeySet::MAX_BYTES >> 10)]
    TooLarge,
    /// It has more than [`KeySet::MAX_KEYS`].
    #[error("it has more than {} keys", KeySet::MAX_KEYS)]
    TooManyKeys,
}
