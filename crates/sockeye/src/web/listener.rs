//! A listener: what is called, and when.

use std::{fmt, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::Event;

pub(super) type Callback = Arc<dyn Fn(&Event) + Send + Sync>;

/// A listener that was added, for
/// [`remove_event_listener`](super::WebSocket::remove_event_listener).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(super) u64);

/// A listener that can be told apart from others, for
/// [`add_event_listener_with`](super::WebSocket::add_event_listener_with): the same one added twice
/// counts once. Clones are the same.
#[derive(Clone)]
pub struct EventListener(pub(super) Callback);

impl EventListener {
    /// Calls this for each event.
    pub fn new(listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }
}

impl fmt::Debug for EventListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventListener").finish_non_exhaustive()
    }
}

/// How a listener is called (DOM, `AddEventListenerOptions`). By default for each event, after those
/// that capture, until it is removed.
#[derive(Debug, Clone, Default)]
pub struct ListenerOptions {
    pub(super) capture: bool,
    pub(super) once: bool,
    pub(super) signal: Option<CancellationToken>,
}

impl ListenerOptions {
    /// Has it called before those that do not capture.
    pub fn capture(mut self) -> Self {
        self.capture = true;
        self
    }

    /// Has it called for the next event only.
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Has it removed when this token is cancelled. If it is cancelled already, nothing is added.
    pub fn signal(mut self, signal: CancellationToken) -> Self {
        self.signal = Some(signal);
        self
    }
}
