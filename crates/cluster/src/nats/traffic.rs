//! Requests that are under way on the connection. A server of NATS that is about to stop is left when all of
//! them have their answers: so a planned restart leaves none unanswered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_nats::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How often it is looked whether all have their answers, or whether requests may be made again.
const LOOK: Duration = Duration::from_millis(5);
/// How long the answers are waited for: a server that stops takes longer than that.
const ANSWERS: Duration = Duration::from_secs(3);
/// How long the next connection is waited for until requests may be made nevertheless.
const CONNECTS: Duration = Duration::from_secs(10);

/// The requests of one connection. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<TrafficState>);

#[derive(Debug, Default)]
struct TrafficState {
    is_leaving: AtomicBool,
    under_way: AtomicUsize,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<TrafficState>);

impl Traffic {
    /// A request begins, if none has to wait.
    pub(crate) fn begin(&self) -> Option<UnderWay> {
        // First this: a look at the count behind the mark sees it.
        self.0.under_way.fetch_add(1, SeqCst);
        let under_way = UnderWay(Arc::clone(&self.0));
        (!self.0.is_leaving.load(SeqCst)).then_some(under_way)
    }

    /// The same, as soon as none has to wait.
    pub(crate) async fn begun(&self) -> UnderWay {
        loop {
            if let Some(under_way) = self.begin() {
                return under_way;
            }
            sleep(LOOK).await;
        }
    }

    /// Takes another server, if there is any, when this one says that it is about to stop; until the client is
    /// closed.
    pub(crate) async fn leave_in_time(
        self,
        client: Client,
        mut stopping: watch::Receiver<u64>,
        mut connections: watch::Receiver<u64>,
    ) {
        while stopping.changed().await.is_ok() {
            if client.server_pool().await.is_ok_and(|servers| servers.len() < 2) {
                continue;
            }
            connections.mark_unchanged();
            self.0.is_leaving.store(true, SeqCst);
            let until = Instant::now() + ANSWERS;
            while self.0.under_way.load(SeqCst) > 0 && Instant::now() < until {
                sleep(LOOK).await;
            }
            tracing::info!(
                unanswered = self.0.under_way.load(SeqCst),
                "taking another server of NATS"
            );
            let is_open = client.force_reconnect().await.is_ok();
            let _ = timeout(CONNECTS, connections.changed()).await;
            self.0.is_leaving.store(false, SeqCst);
            if !is_open {
                return;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, SeqCst);
    }
}
