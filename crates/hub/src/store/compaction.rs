//! Compaction: what was deleted leaves the disk also when nothing comes after it.
//!
//! The tree drops rows when it rewrites its files, which it does as new ones come. After a large
//! deletion and silence it would do so never; so when most of it is dead it is rewritten whole.

use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use fjall::Keyspace;

use super::rows::META;

/// How much has to be dead for it to be worth the while, in bytes.
const MIN_DEAD_BYTES: u64 = 8 << 20;

/// What is done about what is dead in a tree.
#[derive(Debug, Default)]
pub(super) struct Compaction(Mutex<CompactionState>);

#[derive(Debug, Default)]
struct CompactionState {
    step: Step,
    /// How much was dead still after the tree was rewritten last, in bytes.
    left: u64,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    None,
    /// What was in memory is on its way into the tree.
    Flushing,
    Rewriting(JoinHandle<()>),
}

impl Compaction {
    /// Takes the next step, if one is due, for a tree of which that many bytes are alive. It does not
    /// wait for anything.
    pub(super) fn step(&self, rows: &Keyspace, alive: u64) -> Result<(), fjall::Error> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let dead = rows.disk_space().saturating_sub(alive);
        match &state.step {
            Step::None if dead >= alive.max(state.left + MIN_DEAD_BYTES) => {
                rows.rotate_memtable()?;
                state.step = Step::Flushing;
            }
            Step::Flushing if rows.sealed_memtable_count() == 0 => {
                let rows = rows.clone();
                let thread = Builder::new().name("sockeye-compact".to_owned());
                state.step = Step::Rewriting(thread.spawn(move || rewrite(&rows))?);
            }
            Step::Rewriting(thread) if thread.is_finished() => {
                *state = CompactionState { step: Step::None, left: dead };
                // The tree looks for files that it needs no more when something new comes into it.
                if let Some(meta) = rows.get(META)? {
                    rows.insert(META, meta)?;
                    rows.rotate_memtable()?;
                }
            }
            Step::None | Step::Flushing | Step::Rewriting(_) => {}
        }
        Ok(())
    }
}

fn rewrite(rows: &Keyspace) {
    if let Err(error) = rows.major_compact() {
        tracing::warn!(%error, "what was deleted stays on disk for now");
    }
}

impl Drop for Compaction {
    /// Waits for the thread: as long as it has the rows, they cannot be opened again.
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Step::Rewriting(thread) = std::mem::take(&mut state.step) {
            // A panic there was told where it happened.
            let _ = thread.join();
        }
    }
}
