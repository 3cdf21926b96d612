//! Sweeping: old messages leave idle channels. Channels in use drop theirs as they are used.
//!
//! Channels inside another program sweep as well, without being asked to: [`Sweeper::keep`] starts the task that
//! does it where none runs. It ends with the channels, and one that has ended with its runtime is started again by
//! the next request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sockeye_hub::Hub;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::sleep;

/// How often it is swept.
const SWEEP: Duration = Duration::from_secs(5);

/// The task that sweeps one hub, aborted when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    /// Shared with the task, which clears it when it is dropped, with its runtime if need be.
    is_running: Arc<AtomicBool>,
    task: Mutex<Option<AbortHandle>>,
}

impl Sweeper {
    /// Starts to sweep if nothing sweeps yet, and there is a runtime to do it on.
    pub(crate) fn keep(&self, hub: &Hub) {
        if self.is_running.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (running, hub) = (Running(Arc::clone(&self.is_running)), hub.clone());
        let task = runtime.spawn(async move {
            let _running = running;
            sweep(hub).await;
        });
        *self.task() = Some(task.abort_handle());
    }

    fn task(&self) -> std::sync::MutexGuard<'_, Option<AbortHandle>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }
}

/// Held by the task that sweeps.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

async fn sweep(hub: Hub) {
    loop {
        sleep(SWEEP).await;
        let mut sweep = hub.begin_sweep();
        while sweep.slice() {
            // Other tasks run between any two slices.
            yield_now().await;
        }
    }
}
