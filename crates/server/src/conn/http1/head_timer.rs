//! Two deadlines in place of hyper's one: how long a connection may idle, and how long a head may take
//! once it has begun.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time::sleep;

use super::RequestTimeouts;
use crate::net::write_deadline::IoState;

/// The timer of one connection. hyper uses it only for the deadline of the next head, which it sets
/// when the connection becomes idle.
#[derive(Debug)]
pub(super) struct HeadTimer {
    pub(super) timeouts: RequestTimeouts,
    pub(super) connection: Arc<IoState>,
}

impl Timer for HeadTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        // What was read before is not part of this head.
        self.connection.has_read();
        Box::pin(HeadDeadline {
            sleep: Box::pin(sleep(self.timeouts.idle)),
            head: Some(self.timeouts.head),
            connection: Arc::clone(&self.connection),
        })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

/// Ready when the client has taken too long.
struct HeadDeadline {
    sleep: Pin<Box<tokio::time::Sleep>>,
    /// How long the head may take, until it has begun.
    head: Option<Duration>,
    connection: Arc<IoState>,
}

impl Sleep for HeadDeadline {}

impl Future for HeadDeadline {
    type Output = ();

    /// hyper polls it whenever bytes have arrived that do not complete the head.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.await_head();
        if self.head.is_some() && self.connection.has_read() {
            let until = tokio::time::Instant::now() + self.head.take().unwrap_or_default();
            self.sleep.as_mut().reset(until);
            self.connection.begin_head();
        }
        self.sleep.as_mut().poll(cx)
    }
}
