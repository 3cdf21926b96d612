//! Who is told what, and in which order: the DOM's `EventTarget`, and HTML's event handlers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Event, EventInit, missed::Missed};

/// A listener that was added, for
/// [`remove_event_listener`](super::WebSocket::remove_event_listener).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

pub(super) type Callback = Arc<dyn Fn(&Event) + Send + Sync>;

/// The listeners of one socket, in the order in which they are called.
#[derive(Default)]
pub(super) struct EventTarget {
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    list: Vec<Arc<Listener>>,
    added: u64,
    /// The events that nobody has listened for, where they are kept.
    missed: Option<Missed>,
}

struct Listener {
    id: ListenerId,
    name: Box<str>,
    kind: Kind,
    callback: Mutex<Callback>,
    removed: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Called each time.
    Lasting,
    /// Called for the first event only.
    Once,
    /// `on…`: there is one for each name; a new one takes the place of the one before.
    Handler,
}

impl EventTarget {
    pub(super) fn add(&self, name: &str, kind: Kind, callback: Callback) -> ListenerId {
        let mut listeners = self.listeners();
        if kind == Kind::Handler
            && let Some(handler) = listeners.handler(name)
        {
            *handler.callback.lock().unwrap_or_else(PoisonError::into_inner) = callback;
            return handler.id;
        }
        let id = ListenerId(listeners.added);
        listeners.added += 1;
        listeners.list.push(Arc::new(Listener {
            id,
            name: name.into(),
            kind,
            callback: Mutex::new(callback),
            removed: AtomicBool::new(false),
        }));
        id
    }

    pub(super) fn remove(&self, id: ListenerId) {
        self.listeners().remove(|listener| listener.id == id);
    }

    pub(super) fn remove_handler(&self, name: &str) {
        self.listeners()
            .remove(|listener| listener.kind == Kind::Handler && *listener.name == *name);
    }

    pub(super) fn has_handler(&self, name: &str) -> bool {
        self.listeners().handler(name).is_some()
    }

    /// Removes all.
    pub(super) fn clear(&self) {
        let removed = std::mem::take(&mut *self.listeners());
        // What they captured is dropped without the lock.
        drop(removed);
    }

    /// From now on, an event that nobody listens for is kept for its first listener.
    pub(super) fn keep_missed(&self) {
        self.listeners().missed = Some(Missed::default());
    }

    /// Keeps an event if nobody listens for it and such events are kept, or if others of its name are
    /// still to be told; otherwise gives it back.
    pub(super) fn keep_if_missed(&self, event: EventInit) -> Option<EventInit> {
        let mut listeners = self.listeners();
        let is_heard = listeners.has(event.name());
        match &mut listeners.missed {
            Some(missed) if !is_heard || missed.has(event.name()) => {
                missed.keep(event);
                None
            }
            _ => Some(event),
        }
    }

    /// Takes the first event that was kept and has a listener now.
    pub(super) fn take_missed(&self) -> Option<EventInit> {
        let mut listeners = self.listeners();
        let mut missed = listeners.missed.take()?;
        let event = missed.take(|name| listeners.has(name));
        listeners.missed = Some(missed);
        event
    }

    /// Whether there are events that nobody has listened for.
    pub(super) fn has_missed(&self) -> bool {
        self.listeners().missed.as_ref().is_some_and(|missed| !missed.is_empty())
    }

    /// Calls the listeners of the event's name: those that are there when it begins and have not been
    /// removed when their turn comes. One that panics does not keep the others from being called.
    pub(super) fn dispatch(&self, event: &Event) {
        let listeners: Vec<_> = {
            let listeners = self.listeners();
            listeners
                .list
                .iter()
                .filter(|listener| *listener.name == *event.name())
                .cloned()
                .collect()
        };
        for listener in listeners {
            if listener.removed.load(Ordering::Acquire) {
                continue;
            }
            if listener.kind == Kind::Once {
                self.remove(listener.id);
            }
            let callback = listener.callback.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if catch_unwind(AssertUnwindSafe(|| callback(event))).is_err() {
                tracing::error!("a listener for {:?} panicked", event.name());
            }
            if event.is_stopped() {
                return;
            }
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listeners {
    fn has(&self, name: &str) -> bool {
        self.list.iter().any(|listener| *listener.name == *name)
    }

    fn handler(&self, name: &str) -> Option<&Arc<Listener>> {
        self.list.iter().find(|listener| listener.kind == Kind::Handler && *listener.name == *name)
    }

    fn remove(&mut self, which: impl Fn(&Listener) -> bool) {
        self.list.retain(|listener| {
            let remove = which(listener);
            if remove {
                listener.removed.store(true, Ordering::Release);
            }
            !remove
        });
    }
}
