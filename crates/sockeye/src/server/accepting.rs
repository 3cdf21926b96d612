//! Accepting from the listeners of a server.

use std::{
    io,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::net::{Accepted, Incomings, Listener};

/// A warning that nothing can be accepted is logged this often at most.
const WARN_INTERVAL: Duration = Duration::from_secs(1);

/// What is accepted on any of the listeners, the one at `first` before the others.
pub(super) struct Accepting<'l> {
    pub(super) listeners: &'l [Listener],
    pub(super) first: usize,
    /// Whether a handshake of TLS comes before any answer.
    pub(super) is_secure: bool,
    /// When it was logged last that nothing could be accepted.
    pub(super) warned: &'l Mutex<Option<Instant>>,
}

/// The answer while there are no file descriptors.
const NO_DESCRIPTORS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n\
    content-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n\
    the server has no file descriptors left";

impl Incomings for Accepting<'_> {
    type Connection = Accepted;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (later, sooner) = self.listeners.split_at(self.first);
        let mut polled = sooner.iter().chain(later).map(|listener| listener.poll_accept(cx));
        polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
    }

    fn cannot_accept(&self, error: &io::Error) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL) {
            *warned = Some(Instant::now());
            tracing::warn!("cannot accept connections, trying again: {error}");
        }
    }

    fn refuse(&self, connection: Accepted) {
        connection.refuse(if self.is_secure { b"" } else { NO_DESCRIPTORS });
    }
}
