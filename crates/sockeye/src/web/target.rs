//! The dispatch of events, and its order: the DOM's `EventTarget`, and HTML's event handlers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Event, EventInit,
    listener::{Callback, ListenerId, ListenerOptions},
    missed::Missed,
};

/// The listeners of one socket, in the order in which they are called.
#[derive(Default)]
pub(super) struct EventTarget {
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    list: Vec<Arc<Listener>>,
    added: u64,
    /// The events that had no listener, if those are kept.
    missed: Option<Missed>,
}

struct Listener {
    id: ListenerId,
    name: Box<str>,
    /// Whether it is an `on…`: there is one for each name; a new one takes the place of the one before.
    is_handler: bool,
    options: ListenerOptions,
    callback: Mutex<Callback>,
    removed: AtomicBool,
}

impl EventTarget {
    /// Adds a listener, unless the same is there for the same phase, or its signal is cancelled.
    pub(super) fn add(
        &self,
        name: &str,
        callback: Callback,
        options: ListenerOptions,
    ) -> ListenerId {
        let mut listeners = self.listeners();
        let same = listeners.find(|other| other.is_same(name, &callback, &options));
        let id = match same {
            Some(same) => same.id,
            None => listeners.push(name, false, callback, options),
        };
        let cancelled = listeners.remove(Listener::is_cancelled);
        drop(listeners);
        // What they captured is dropped without the lock.
        drop(cancelled);
        id
    }

    /// Sets the `on…` of a name.
    pub(super) fn set_handler(&self, name: &str, callback: Callback) {
        let mut listeners = self.listeners();
        let replaced = match listeners.handler(name) {
            Some(handler) => Some(std::mem::replace(&mut *handler.callback(), callback)),
            None => {
                listeners.push(name, true, callback, ListenerOptions::default());
                None
            }
        };
        drop(listeners);
        drop(replaced);
    }

    pub(super) fn remove(&self, id: ListenerId) {
        self.remove_all(|listener| listener.id == id);
    }

    pub(super) fn remove_handler(&self, name: &str) {
        self.remove_all(|listener| listener.is_handler && *listener.name == *name);
    }

    fn remove_all(&self, which: impl Fn(&Listener) -> bool) {
        let removed = self.listeners().remove(which);
        // What they captured is dropped without the lock.
        drop(removed);
    }

    pub(super) fn has_handler(&self, name: &str) -> bool {
        self.listeners().handler(name).is_some()
    }

    /// Removes all.
    pub(super) fn clear(&self) {
        let removed = std::mem::take(&mut *self.listeners());
        drop(removed);
    }

    /// From now on, an event without a listener is kept for the first listener of its name.
    pub(super) fn keep_missed(&self) {
        self.listeners().missed = Some(Missed::default());
    }

    /// Keeps an event if it has no listener and such events are kept, or if others that came before it
    /// have a listener now and are still to be told; otherwise gives it back.
    pub(super) fn keep_if_missed(&self, event: EventInit) -> Option<EventInit> {
        let mut listeners = self.listeners();
        let Some(mut missed) = listeners.missed.take() else { return Some(event) };
        let is_heard = listeners.has(event.name());
        let back = if !is_heard {
            missed.keep(event);
            None
        } else if missed.has(|name| listeners.has(name)) {
            missed.append(event);
            None
        } else {
            Some(event)
        };
        listeners.missed = Some(missed);
        back
    }

    /// Takes the first event that was kept and has a listener now.
    pub(super) fn take_missed(&self) -> Option<EventInit> {
        let mut listeners = self.listeners();
        let mut missed = listeners.missed.take()?;
        let event = missed.take(|name| listeners.has(name));
        listeners.missed = Some(missed);
        event
    }

    /// Whether events without a listener are kept.
    pub(super) fn has_missed(&self) -> bool {
        self.listeners().missed.as_ref().is_some_and(|missed| !missed.is_empty())
    }

    /// Calls the listeners of the event's name: those that are there when it begins and have not been
    /// removed when their turn comes, those that capture first. One that panics does not keep the others
    /// from being called.
    pub(super) fn dispatch(&self, event: &Event) {
        let listeners = self.listeners().of(event.name());
        for listener in listeners {
            if !listener.is_active() {
                continue;
            }
            if listener.options.once {
                self.remove(listener.id);
            }
            let callback = listener.callback().clone();
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
    fn push(
        &mut self,
        name: &str,
        is_handler: bool,
        callback: Callback,
        options: ListenerOptions,
    ) -> ListenerId {
        let id = ListenerId(self.added);
        self.added += 1;
        self.list.push(Arc::new(Listener {
            id,
            name: name.into(),
            is_handler,
            options,
            callback: Mutex::new(callback),
            removed: AtomicBool::new(false),
        }));
        id
    }

    /// Those of a name, in the order in which they are called: at the target of an event, those that
    /// capture come first (DOM §2.9).
    fn of(&self, name: &str) -> Vec<Arc<Listener>> {
        let named = self.list.iter().filter(|listener| *listener.name == *name);
        let mut listeners: Vec<_> = named.cloned().collect();
        listeners.sort_by_key(|listener| !listener.options.capture);
        listeners
    }

    fn has(&self, name: &str) -> bool {
        self.list.iter().any(|listener| *listener.name == *name && listener.is_active())
    }

    fn handler(&self, name: &str) -> Option<&Arc<Listener>> {
        self.find(|listener| listener.is_handler && *listener.name == *name)
    }

    fn find(&self, which: impl Fn(&Listener) -> bool) -> Option<&Arc<Listener>> {
        self.list.iter().find(|listener| which(listener))
    }

    fn remove(&mut self, which: impl Fn(&Listener) -> bool) -> Vec<Arc<Listener>> {
        let removed: Vec<_> = self.list.extract_if(.., |listener| which(listener)).collect();
        for listener in &removed {
            listener.removed.store(true, Ordering::Release);
        }
        removed
    }
}

impl Listener {
    fn is_active(&self) -> bool {
        !self.removed.load(Ordering::Acquire) && !self.is_cancelled()
    }

    fn is_cancelled(&self) -> bool {
        self.options.signal.as_ref().is_some_and(|signal| signal.is_cancelled())
    }

    fn is_same(&self, name: &str, callback: &Callback, options: &ListenerOptions) -> bool {
        !self.is_handler
            && *self.name == *name
            && self.options.capture == options.capture
            && Arc::ptr_eq(&self.callback(), callback)
    }

    fn callback(&self) -> MutexGuard<'_, Callback> {
        self.callback.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Data;

    fn message() -> EventInit {
        EventInit::message("message", Data::from(vec![0; 1]), String::new())
    }

    fn listen(target: &EventTarget, name: &str) {
        target.add(name, Arc::new(|_| {}), ListenerOptions::default());
    }

    /// Listeners may be added in another thread, between any two calls of the task.
    #[test]
    fn an_event_is_told_behind_those_that_were_missed_before_it() {
        let target = EventTarget::default();
        target.keep_missed();
        assert!(target.keep_if_missed(EventInit::new("open")).is_none());
        assert!(target.take_missed().is_none());
        listen(&target, "open");
        listen(&target, "message");
        assert!(target.keep_if_missed(message()).is_none(), "open was not told yet");
        let names: Vec<String> = std::iter::from_fn(|| target.take_missed())
            .map(|event| event.name().to_owned())
            .collect();
        assert_eq!(names, ["open", "message"]);
        assert!(target.keep_if_missed(message()).is_some(), "nothing is to be told before it");
    }

    #[test]
    fn an_event_that_has_a_listener_is_not_dropped_for_those_that_were_missed() {
        let target = EventTarget::default();
        target.keep_missed();
        (0..100).for_each(|_| assert!(target.keep_if_missed(message()).is_none()));
        listen(&target, "message");
        assert!(
            target
                .keep_if_missed(EventInit::message("message", Data::from("last"), String::new()))
                .is_none()
        );
        let told = std::iter::from_fn(|| target.take_missed()).last().unwrap();
        assert_eq!(told.message_size(), 4);
        // One without a listener holds up no other.
        assert!(target.keep_if_missed(EventInit::new("error")).is_none());
        assert!(target.keep_if_missed(message()).is_some());
    }
}
