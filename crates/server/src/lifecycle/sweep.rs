//! Sweeping: old messages leave idle channels. Channels in use drop theirs as they are used.
//!
//! Channels inside another program sweep as well, without being asked to: [`Sweeper::keep`] starts the task that
//! does it where none runs. It ends with the channels, and one that has ended with its runtime is started again by
//! the next request.

use std::time::Duration;

use sockeye_hub::Hub;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::background::BackgroundTask;

/// How often it is swept.
const SWEEP: Duration = Duration::from_secs(5);

/// The task that sweeps one hub, aborted when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Sweeper(BackgroundTask);

impl Sweeper {
    /// Starts to sweep if nothing sweeps yet, and there is a runtime to do it on.
    pub(crate) fn keep(&self, hub: &Hub) {
        self.0.keep(|| sweep(hub.clone()));
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
