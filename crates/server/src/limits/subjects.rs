//! How much one subject has open: connections by whichever address and transport.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The subjects that have something open, and how much each may have. There are as many of them as connections at
/// most.
#[derive(Debug, Default)]
pub(crate) struct Subjects {
    max: Option<usize>,
    counts: Arc<Mutex<HashMap<Box<str>, usize>>>,
}

/// Allows one WebSocket, stream or long poll of a subject; free when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct SubjectPermit(#[expect(dead_code, reason = "held, and never read")] Arc<Held>);

#[derive(Debug)]
struct Held {
    counts: Arc<Mutex<HashMap<Box<str>, usize>>>,
    subject: Box<str>,
}

/// The subject has as much open as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubjectFull;

impl Subjects {
    /// No limit for `None`.
    pub(crate) fn new(max: Option<usize>) -> Self {
        Self { max, counts: Arc::default() }
    }

    /// A permit for one more of this subject; `None` where there is no limit, or no subject.
    pub(crate) fn acquire(
        &self,
        subject: Option<&str>,
    ) -> Result<Option<SubjectPermit>, SubjectFull> {
        let (Some(max), Some(subject)) = (self.max, subject) else { return Ok(None) };
        let mut counts = lock(&self.counts);
        let count = counts.get(subject).copied().unwrap_or_default();
        if count >= max {
            return Err(SubjectFull);
        }
        counts.insert(subject.into(), count + 1);
        let held = Held { counts: Arc::clone(&self.counts), subject: subject.into() };
        Ok(Some(SubjectPermit(Arc::new(held))))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.subject) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.subject);
            }
        }
        // Many that have left leave no memory behind.
        if counts.capacity() > 1024 && counts.len() < counts.capacity() / 8 {
            let few = counts.len() * 2;
            counts.shrink_to(few);
        }
    }
}

fn lock(counts: &Mutex<HashMap<Box<str>, usize>>) -> MutexGuard<'_, HashMap<Box<str>, usize>> {
    // Each change is complete before anything in it can panic.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_as_many_as_it_may_and_nothing_is_left_of_those_that_are_gone() {
        let subjects = Subjects::new(Some(2));
        let first = subjects.acquire(Some("ann")).unwrap().unwrap();
        let second = subjects.acquire(Some("ann")).unwrap();
        assert_eq!(subjects.acquire(Some("ann")).unwrap_err(), SubjectFull);
        assert!(subjects.acquire(None).unwrap().is_none());
        let ben = subjects.acquire(Some("ben")).unwrap();
        let clone = first.clone();
        drop(first);
        assert!(subjects.acquire(Some("ann")).is_err());
        drop(clone);
        drop(subjects.acquire(Some("ann")).unwrap());
        drop((second, ben));
        assert!(lock(&subjects.counts).is_empty());
        let many: Vec<_> = (0..10_000).map(|n| subjects.acquire(Some(&n.to_string()))).collect();
        assert!(many.iter().all(Result::is_ok));
        drop(many);
        let counts = lock(&subjects.counts);
        assert!(counts.is_empty() && counts.capacity() <= 1024, "{}", counts.capacity());
    }
}
