//! Whether the store takes what is written to it, as its last write showed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::StoreError;

/// A write that takes longer than this is taken for one that does not return.
const STALL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Health(Mutex<LastWrite>);

#[derive(Debug)]
struct LastWrite {
    last: Result<(), StoreError>,
    /// When the write began that is under way.
    begun: Option<Instant>,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LastWrite { last: Ok(()), begun: None }))
    }

    /// Has the store written, and remembers what came of it.
    pub(crate) fn watch(
        &self,
        write: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.state().begun = Some(Instant::now());
        let written = write();
        let mut state = self.state();
        if state.last.is_err() && written.is_ok() {
            tracing::info!("the store takes messages again");
        }
        *state = LastWrite { last: written, begun: None };
        written
    }

    /// Why the store takes nothing at present, if so.
    pub(crate) fn check(&self, now: Instant) -> Result<(), StoreError> {
        let state = self.state();
        match state.begun {
            Some(begun) if now.saturating_duration_since(begun) > STALL => Err(StoreError::Stalled),
            _ => state.last,
        }
    }

    fn state(&self) -> MutexGuard<'_, LastWrite> {
        // It is replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_does_not_return_is_told() {
        let health = Health::new();
        let after = |time| Instant::now() + time;
        assert_eq!(health.check(after(STALL * 2)), Ok(()), "nothing is written");
        let written = health.watch(|| {
            assert_eq!(health.check(after(STALL / 2)), Ok(()));
            assert_eq!(health.check(after(STALL * 2)), Err(StoreError::Stalled));
            Err(StoreError::Failed)
        });
        assert_eq!(written, Err(StoreError::Failed));
        assert_eq!(health.check(after(STALL * 2)), Err(StoreError::Failed));
        assert_eq!(health.watch(|| Ok(())), Ok(()));
        assert_eq!(health.check(after(STALL * 2)), Ok(()));
    }
}
