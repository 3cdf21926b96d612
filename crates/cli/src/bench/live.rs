//! What is shown on a terminal while the load runs: one line, renewed.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How often the line is renewed.
const RENEWED: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Live {
    begun: Instant,
    progress: Arc<AtomicU64>,
    is_shown: bool,
}

impl Live {
    pub(super) fn start(progress: Arc<AtomicU64>) -> Self {
        Self { begun: Instant::now(), progress, is_shown: stderr().is_terminal() }
    }

    /// Waits until then, and shows on the terminal how fast it goes.
    pub(super) fn show_until(&self, end: Instant) {
        let mut before = (Instant::now(), self.progress.load(Relaxed));
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) {
            thread::sleep(left.min(RENEWED));
            if self.is_shown {
                let now = (Instant::now(), self.progress.load(Relaxed));
                let rate = (now.1 - before.1) as f64 / (now.0 - before.0).as_secs_f64();
                let seconds = self.begun.elapsed().as_secs();
                // Nothing is lost if the terminal is gone.
                let _ = write!(stderr(), "\r\x1b[K{seconds:4} s  {rate:10.0} messages/s");
                before = now;
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
