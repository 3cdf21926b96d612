//! Events that came before there was a listener for them, where nothing tells whether the code that
//! made the socket is about to add one.

use std::collections::VecDeque;

use super::EventInit;

/// How many events are kept, and how many bytes their messages have, before messages are dropped.
const MAX_EVENTS: usize = 16;
const MAX_BYTES: u64 = 64 << 10;

/// The events that had no listener, in order.
#[derive(Default)]
pub(super) struct Missed {
    events: VecDeque<EventInit>,
    bytes: u64,
}

impl Missed {
    /// Whether there is one whose name is wanted.
    pub(super) fn has(&self, is_wanted: impl Fn(&str) -> bool) -> bool {
        self.events.iter().any(|event| is_wanted(event.name()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Keeps an event. Of messages there may be too many; the other events come once.
    pub(super) fn keep(&mut self, event: EventInit) {
        let bytes = self.bytes + event.message_size();
        let fits = bytes <= MAX_BYTES && self.events.len() < MAX_EVENTS;
        if fits || !event.is_message() {
            self.append(event);
        }
    }

    /// Keeps an event, however many there are: one that is going to be told soon.
    pub(super) fn append(&mut self, event: EventInit) {
        self.bytes += event.message_size();
        self.events.push_back(event);
    }

    /// Takes the first event whose name is wanted.
    pub(super) fn take(&mut self, is_wanted: impl Fn(&str) -> bool) -> Option<EventInit> {
        let index = self.events.iter().position(|event| is_wanted(event.name()))?;
        let event = self.events.remove(index)?;
        self.bytes -= event.message_size();
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Data;

    fn message(size: usize) -> EventInit {
        EventInit::message("message", Data::from(vec![0; size]), String::new())
    }

    #[test]
    fn messages_without_a_listener_are_kept_up_to_a_limit_and_other_events_always() {
        let mut missed = Missed::default();
        missed.keep(EventInit::new("open"));
        (0..100).for_each(|_| missed.keep(message(1)));
        missed.keep(EventInit::new("close"));
        let kept =
            |missed: &Missed| missed.events.iter().filter(|event| event.is_message()).count();
        assert_eq!((missed.events.len(), kept(&missed)), (MAX_EVENTS + 1, MAX_EVENTS - 1));
        assert!(missed.take(|name| name == "open").is_some());
        assert!(missed.take(|name| name == "open").is_none());

        let mut missed = Missed::default();
        (0..10).for_each(|_| missed.keep(message(20 << 10)));
        assert_eq!(kept(&missed), 3);
        while missed.take(|_| true).is_some() {}
        assert_eq!((missed.is_empty(), missed.bytes), (true, 0));
    }
}
