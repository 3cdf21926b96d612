//! Answers that are still good, for all callers.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use tokio::time::Instant;

use super::answer::Answer;

/// How many answers a generation has. There are two, so that twice as many are kept at most.
pub(super) const GENERATION: usize = 16_384;

/// A question: of credentials nothing is kept but a digest.
pub(super) type Key = [u8; SHA256_OUTPUT_LEN];

/// The key of a question that is asked with this body.
pub(super) fn key(body: &[u8]) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(digest(&SHA256, body).as_ref());
    key
}

/// The answers, in two generations: when the younger one is full the older one is forgotten.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Entry>,
    old: HashMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    /// From then on the application is asked again: before the answer lapses, as what is open does.
    again: Instant,
    until: Instant,
}

impl Kept {
    /// The answer to this question, good for as long as it still is.
    pub(super) fn find(&self, key: &Key) -> Option<Answer> {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = generations.young.get(key).or_else(|| generations.old.get(key))?;
        let now = Instant::now();
        let good_for = found.until - now;
        (now < found.again).then(|| Answer { good_for, ..found.answer.clone() })
    }

    pub(super) fn forget(&self, key: &Key) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.remove(key);
        generations.old.remove(key);
    }

    /// Keeps an answer, unless it is good for no time.
    pub(super) fn keep(&self, key: Key, answer: &Answer) {
        if answer.good_for == Duration::ZERO {
            return;
        }
        let (now, time) = (Instant::now(), answer.good_for);
        let entry = Entry { answer: answer.clone(), again: now + time / 4 * 3, until: now + time };
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forgotten = HashMap::new();
        if generations.young.len() >= GENERATION {
            let young = mem::take(&mut generations.young);
            forgotten = mem::replace(&mut generations.old, young);
        }
        generations.young.insert(key, entry);
        // That takes a while.
        drop(generations);
        drop(forgotten);
    }
}
