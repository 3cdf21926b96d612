//! What each handle of a connection has inside: a counted reference to it.

use std::{future::poll_fn, sync::Arc};

use sockeye_proto::{Closed, Failure};

use super::core::shared::Shared;

/// A counted reference: the last one to go closes the connection.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.add_handle();
        Self { shared }
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) -> Closed {
        poll_fn(|cx| self.shared.poll_end(cx)).await;
        self.outcome()
    }

    pub(super) fn outcome(&self) -> Closed {
        self.shared.closed().unwrap_or_else(|| Closed::from(Failure::Aborted))
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}
