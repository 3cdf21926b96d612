//! The messages of a shard that wait to be sent or for their answer, without I/O.
//!
//! They are sent in the order in which they came. After one that was not taken all wait a while, and then go
//! one at a time until one is taken; one with the id of another that is just being stored waits alone. One that
//! is sent again waits until all later ones of its source have their answers, and is given up if one was taken.
//!
//! Where few are under way each is sent at once. Where many are, those that come meanwhile are sent together: what goes
//! and comes in one piece costs each server and the node less, and none waits for more than what is under way anyway.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::PUBLISH_TIMEOUT;

/// How many messages may be under way at once.
const WINDOW: usize = 4096;
/// With fewer under way none is gathered.
const FEW: usize = 16;
/// How many are sent together at most before more are gathered.
const TOGETHER: usize = 64;
/// How long they are gathered at most.
const GATHERING: Duration = Duration::from_millis(5);

/// What is sent in an order.
pub(super) trait Sequenced {
    /// Whether both have to keep their order.
    fn is_of(&self, other: &Self) -> bool;
}

/// The queue. Numbers are in the order in which the messages came.
pub(super) struct PublishQueue<T> {
    /// How many may be under way at once.
    window: usize,
    /// The number of the next message.
    next: u64,
    waiting: BTreeMap<u64, Queued<T>>,
    flying: BTreeMap<u64, Queued<T>>,
    /// Those that wait alone, and until when.
    later: BTreeMap<u64, (Instant, Queued<T>)>,
    /// Nothing is sent before this.
    not_before: Option<Instant>,
    /// Until when those that wait are joined by others.
    gathers_until: Option<Instant>,
    /// Whether one message at a time is sent, because the last one was not taken.
    careful: bool,
    /// Whether one may have been overtaken.
    is_overtaken: bool,
}

struct Queued<T> {
    message: T,
    /// When it is given up if it waits.
    until: Instant,
    /// Whether it was sent before.
    is_repeated: bool,
    /// Whether a later one of its source was taken, or may have been.
    is_overtaken: bool,
}

impl<T> PublishQueue<T> {
    /// One that has no more under way than `answers` of them fit beside each other.
    pub(super) fn new(answers: usize) -> Self {
        Self {
            window: answers.clamp(1, WINDOW),
            next: 0,
            waiting: BTreeMap::new(),
            flying: BTreeMap::new(),
            later: BTreeMap::new(),
            not_before: None,
            gathers_until: None,
            careful: false,
            is_overtaken: false,
        }
    }
}

impl<T: Sequenced> PublishQueue<T> {
    pub(super) fn push(&mut self, message: T, now: Instant) {
        let until = now + PUBLISH_TIMEOUT;
        let queued = Queued { message, until, is_repeated: false, is_overtaken: false };
        self.waiting.insert(self.next, queued);
        self.next += 1;
    }

    /// Whether nothing waits or is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_empty() && self.later.is_empty()
    }

    /// Whether those that wait are to be joined by others before they are sent: with many under way, until half as many
    /// wait, or [`TOGETHER`].
    pub(super) fn gathers(&mut self, now: Instant) -> bool {
        // One that is over would wake the task again and again.
        self.end_pauses(now);
        let (flying, waiting) = (self.flying.len(), self.waiting.len());
        let is_enough = waiting == 0 || flying < FEW || waiting >= TOGETHER.min(flying / 2);
        let until = *self.gathers_until.get_or_insert(now + GATHERING);
        if is_enough || until <= now {
            self.gathers_until = None;
        }
        self.gathers_until.is_some()
    }

    /// Whether one may be sent now.
    pub(super) fn has_next(&mut self, now: Instant) -> bool {
        self.end_pauses(now);
        let window = if self.careful { 1 } else { self.window };
        self.not_before.is_none() && self.flying.len() < window && self.is_first_free()
    }

    /// Whether there is a first one that may be sent as far as its order is concerned.
    fn is_first_free(&self) -> bool {
        let Some((number, first)) = self.waiting.first_key_value() else { return false };
        let is_of = |later: &Queued<T>| first.message.is_of(&later.message);
        !first.is_repeated || !self.flying.range(number..).any(|(_, later)| is_of(later))
    }

    /// The next that may be sent now, with its number. From now on it is under way.
    pub(super) fn next(&mut self, now: Instant) -> Option<(u64, &mut T)> {
        if !self.has_next(now) {
            return None;
        }
        let (number, queued) = self.waiting.pop_first()?;
        let queued = self.flying.entry(number).insert_entry(queued).into_mut();
        Some((number, &mut queued.message))
    }

    /// One that is under way.
    pub(super) fn flying(&mut self, number: u64) -> Option<&mut T> {
        self.flying.get_mut(&number).map(|queued| &mut queued.message)
    }

    /// The numbers of those under way of which this is true.
    pub(super) fn all_flying(&self, is_meant: impl Fn(&T) -> bool) -> Vec<u64> {
        let meant = self.flying.iter().filter(|(_, queued)| is_meant(&queued.message));
        meant.map(|(number, _)| *number).collect()
    }

    /// The least of what those under way have.
    pub(super) fn least_flying<V: Ord>(&self, of: impl Fn(&T) -> V) -> Option<V> {
        self.flying.values().map(|queued| of(&queued.message)).min()
    }

    /// One that was under way has its answer: whether it is stored, as far as that is known.
    pub(super) fn take(&mut self, number: u64, may_be_stored: bool) -> Option<T> {
        let Queued { message, .. } = self.flying.remove(&number)?;
        if may_be_stored {
            let waiting = self.waiting.range_mut(..number);
            for (_, earlier) in self.flying.range_mut(..number).chain(waiting) {
                if message.is_of(&earlier.message) {
                    (earlier.is_overtaken, self.is_overtaken) = (true, true);
                }
            }
        }
        Some(message)
    }

    /// Those that would be stored behind a later one of their source if they were sent again.
    pub(super) fn overtaken(&mut self) -> Vec<T> {
        if !self.is_overtaken {
            return Vec::new();
        }
        self.is_overtaken = self.flying.values().any(|queued| queued.is_overtaken);
        let is_lost = |queued: &Queued<T>| queued.is_repeated && queued.is_overtaken;
        let lost = self.waiting.extract_if(.., |_, queued| is_lost(queued));
        lost.map(|(_, queued)| queued.message).collect()
    }

    /// One was taken: the others may go at once.
    pub(super) fn release(&mut self) {
        self.careful = false;
    }

    /// Nothing is sent before that time, and then one message at first.
    pub(super) fn hold(&mut self, until: Instant) {
        self.not_before = self.not_before.max(Some(until));
        self.careful = true;
    }

    /// One that was under way is sent again, before those that came after it.
    pub(super) fn again(&mut self, number: u64) {
        if let Some(queued) = self.flying.remove(&number) {
            self.waiting.insert(number, Queued { is_repeated: true, ..queued });
        }
    }

    /// One that was under way is sent again after `time`; the others go on.
    pub(super) fn later(&mut self, number: u64, time: Instant) {
        if let Some(queued) = self.flying.remove(&number) {
            self.later.insert(number, (time, queued));
        }
    }

    /// When something is to be done though nothing comes.
    pub(super) fn wake_at(&self, now: Instant) -> Instant {
        let oldest = self.waiting.values().next().map(|queued| queued.until);
        let held = self.not_before.filter(|_| !self.waiting.is_empty());
        let later = self.later.values().map(|(time, queued)| (*time).min(queued.until)).min();
        [oldest, held, later, self.gathers_until]
            .into_iter()
            .flatten()
            .fold(now + PUBLISH_TIMEOUT, Instant::min)
    }

    /// Those that have waited for too long.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<T> {
        let alone = self.later.extract_if(.., |_, (_, queued)| queued.until <= now);
        let mut expired: Vec<_> = alone.map(|(_, (_, queued))| queued.message).collect();
        // They came in the order of their numbers.
        while let Some(first) = self.waiting.first_entry()
            && first.get().until <= now
        {
            expired.push(first.remove().message);
        }
        expired
    }

    fn end_pauses(&mut self, now: Instant) {
        self.not_before = self.not_before.filter(|time| now < *time);
        for (number, (_, queued)) in self.later.extract_if(.., |_, (time, _)| *time <= now) {
            self.waiting.insert(number, queued);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(20);

    /// The first letter is the source.
    impl Sequenced for &str {
        fn is_of(&self, other: &Self) -> bool {
            self[..1] == other[..1]
        }
    }

    fn queue(now: Instant) -> PublishQueue<&'static str> {
        let mut queue = PublishQueue::new(WINDOW);
        ["a", "b", "c"].into_iter().for_each(|message| queue.push(message, now));
        queue
    }

    /// All that may be sent now.
    fn sent(queue: &mut PublishQueue<&'static str>, now: Instant) -> Vec<(u64, &'static str)> {
        std::iter::from_fn(|| queue.next(now).map(|(number, message)| (number, *message))).collect()
    }

    #[test]
    fn one_with_the_id_of_another_that_is_being_stored_waits_alone() {
        let now = Instant::now();
        let mut queue = queue(now);
        assert_eq!(sent(&mut queue, now), [(0, "a"), (1, "b"), (2, "c")]);
        queue.later(1, now + PAUSE);
        queue.push("d", now);
        assert_eq!(sent(&mut queue, now), [(3, "d")], "the others go on");
        assert_eq!(queue.wake_at(now), now + PAUSE);
        assert_eq!(sent(&mut queue, now + PAUSE), [(1, "b")]);
        for number in 0..4 {
            assert!(queue.take(number, true).is_some());
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn one_that_waits_alone_is_given_up_in_time() {
        let now = Instant::now();
        let mut queue = queue(now);
        sent(&mut queue, now);
        let almost = now + PUBLISH_TIMEOUT - PAUSE / 2;
        queue.later(1, almost + PAUSE);
        assert_eq!(queue.wake_at(almost), now + PUBLISH_TIMEOUT);
        assert!(queue.expired(almost).is_empty());
        assert_eq!(queue.expired(now + PUBLISH_TIMEOUT), ["b"]);
        assert!(!queue.is_empty(), "the others are under way");
    }

    #[test]
    fn after_one_that_was_not_taken_all_wait_and_keep_their_order() {
        let now = Instant::now();
        let mut queue = queue(now);
        assert_eq!(sent(&mut queue, now).len(), 3);
        for number in [2, 0, 1] {
            queue.again(number);
            queue.hold(now + PAUSE);
        }
        assert_eq!((sent(&mut queue, now), queue.wake_at(now)), (vec![], now + PAUSE));
        assert_eq!(sent(&mut queue, now + PAUSE), [(0, "a")], "one at a time");
        assert_eq!(queue.take(0, true), Some("a"));
        queue.release();
        assert_eq!(sent(&mut queue, now + PAUSE), [(1, "b"), (2, "c")]);
    }

    #[test]
    fn one_that_was_overtaken_by_another_of_its_source_is_given_up() {
        let now = Instant::now();
        let mut queue = PublishQueue::new(WINDOW);
        ["a1", "b1", "a2", "b2"].into_iter().for_each(|message| queue.push(message, now));
        assert_eq!(sent(&mut queue, now).len(), 4);
        // No server takes the first two; then there is a leader, which takes the third.
        for number in [0, 1] {
            queue.again(number);
            queue.hold(now + PAUSE);
        }
        assert!(queue.overtaken().is_empty(), "nothing is known of the others");
        assert_eq!(queue.take(2, true), Some("a2"));
        queue.release();
        assert_eq!(queue.overtaken(), ["a1"]);
        assert_eq!(sent(&mut queue, now + PAUSE), [], "the answer to b2 may be that it is stored");
        assert_eq!(queue.take(3, false), Some("b2"));
        assert!(queue.overtaken().is_empty());
        assert_eq!(sent(&mut queue, now + PAUSE), [(1, "b1")], "b2 was refused");
    }

    #[test]
    fn what_is_known_after_a_later_one_is_given_up_too_and_an_answer_that_is_late_is_none() {
        let now = Instant::now();
        let mut queue = PublishQueue::new(WINDOW);
        ["a1", "a2", "a3"].into_iter().for_each(|message| queue.push(message, now));
        assert_eq!(sent(&mut queue, now).len(), 3);
        // Whether it is stored is not known.
        assert_eq!(queue.take(2, true), Some("a3"));
        assert_eq!(queue.take(0, true), Some("a1"), "its answer was only late");
        assert!(queue.overtaken().is_empty());
        queue.again(1);
        assert_eq!(queue.overtaken(), ["a2"]);
        assert!(queue.is_empty() && queue.overtaken().is_empty());
    }

    /// How many may be sent now, of those that wait.
    fn sent_together(queue: &mut PublishQueue<&'static str>, now: Instant) -> usize {
        if queue.gathers(now) { 0 } else { sent(queue, now).len() }
    }

    #[test]
    fn where_few_are_under_way_none_is_gathered() {
        let now = Instant::now();
        let mut queue = PublishQueue::new(WINDOW);
        for _ in 0..FEW {
            queue.push("a", now);
            assert_eq!(sent_together(&mut queue, now), 1);
        }
        queue.push("a", now);
        assert_eq!(sent_together(&mut queue, now), 0);
        // Whatever is under way has its answer at last.
        queue.take(0, true);
        assert_eq!(sent_together(&mut queue, now), 1);
    }

    #[test]
    fn where_many_are_under_way_those_that_come_meanwhile_are_sent_together() {
        let now = Instant::now();
        let mut queue = PublishQueue::new(WINDOW);
        (0..256).for_each(|_| queue.push("a", now));
        assert_eq!(sent_together(&mut queue, now), 256);
        for pushed in 1..=TOGETHER {
            queue.push("a", now);
            let is_enough = pushed == TOGETHER;
            assert_eq!(sent_together(&mut queue, now), if is_enough { TOGETHER } else { 0 });
        }
        // With 40 under way 20 are enough.
        assert!((0..280).all(|number| queue.take(number, true).is_some()));
        (0..19).for_each(|_| queue.push("a", now));
        assert_eq!(sent_together(&mut queue, now), 0);
        queue.push("a", now);
        assert_eq!(sent_together(&mut queue, now), 20);
    }

    #[test]
    fn those_that_are_gathered_go_in_time_though_no_answer_comes() {
        let now = Instant::now();
        let mut queue = PublishQueue::new(WINDOW);
        (0..100).for_each(|_| queue.push("a", now));
        assert_eq!(sent_together(&mut queue, now), 100);
        queue.push("a", now);
        assert_eq!(sent_together(&mut queue, now), 0);
        assert_eq!(queue.wake_at(now), now + GATHERING);
        queue.push("a", now + GATHERING / 2);
        assert_eq!(sent_together(&mut queue, now + GATHERING / 2), 0);
        assert_eq!(sent_together(&mut queue, now + GATHERING), 2);
        // The next have their own time.
        queue.push("a", now + GATHERING);
        assert_eq!(sent_together(&mut queue, now + GATHERING), 0);
        assert_eq!(queue.wake_at(now + GATHERING), now + 2 * GATHERING);
    }

    #[test]
    fn a_pause_that_is_over_does_not_wake_the_task_while_others_are_gathered() {
        let now = Instant::now();
        let mut queue = PublishQueue::new(WINDOW);
        (0..100).for_each(|_| queue.push("a", now));
        assert_eq!(sent_together(&mut queue, now), 100);
        queue.later(7, now + PAUSE);
        queue.hold(now + PAUSE);
        queue.push("a", now + PAUSE);
        assert!(queue.gathers(now + PAUSE));
        assert_eq!(queue.wake_at(now + PAUSE), now + PAUSE + GATHERING);
    }

    #[test]
    fn what_is_not_taken_is_given_up_in_its_order() {
        let now = Instant::now();
        let mut queue = queue(now);
        queue.hold(now + 2 * PUBLISH_TIMEOUT);
        queue.push("d", now + PAUSE);
        assert_eq!(queue.wake_at(now), now + PUBLISH_TIMEOUT);
        assert_eq!(queue.expired(now + PUBLISH_TIMEOUT), ["a", "b", "c"]);
        assert_eq!(queue.expired(now + PUBLISH_TIMEOUT + PAUSE), ["d"]);
        assert!(queue.is_empty());
    }
}
