//! A task in the background of the channels, also inside another program, whose runtimes may end before them.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// A task that is started where it does not run, and aborted when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct BackgroundTask {
    /// Shared with the task, which clears it when it is dropped, with its runtime if need be.
    is_running: Arc<AtomicBool>,
    task: Mutex<Option<AbortHandle>>,
}

impl BackgroundTask {
    /// Starts the work if it does not run yet, and there is a runtime to do it on.
    pub(crate) fn keep<F>(&self, work: impl FnOnce() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.is_running.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (running, work) = (Running(Arc::clone(&self.is_running)), work());
        let task = runtime.spawn(async move {
            let _running = running;
            work.await;
        });
        *self.task() = Some(task.abort_handle());
    }

    fn task(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BackgroundTask {
    fn drop(&mut self) {
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }
}

/// Held by the task.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
