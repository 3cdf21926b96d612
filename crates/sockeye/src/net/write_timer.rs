//! The deadline of writes: what counts is progress, so a peer that takes a little now and then stays.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

/// How long the writes of one connection, or of one stream, have made no progress. Most never wait, so its
/// timer is made when one does.
#[derive(Debug, Default)]
pub struct WriteTimer(Option<Pin<Box<Sleep>>>);

impl WriteTimer {
    /// Whether writing has made no progress for `limit`, after a write with this result. If not, the task is
    /// woken when it has.
    pub fn has_expired<T>(
        &mut self,
        cx: &mut Context<'_>,
        limit: Duration,
        written: &Poll<T>,
    ) -> bool {
        if written.is_ready() {
            self.0 = None;
            return false;
        }
        let stalled = self.0.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled.as_mut().poll(cx).is_ready()
    }
}
