//! Which subscriber has which message, how long that took, and when the last of all subscribers had it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use tokio::sync::Notify;

use super::load_client::LoadExchange;
use super::message::Stamp;
use crate::bench::run::{Tally, Times, nanos};

/// What the threads have in common.
#[derive(Debug)]
pub(super) struct Deliveries {
    /// What the times in the messages count from.
    epoch: Instant,
    /// How many messages there are.
    published: AtomicU32,
    threads: usize,
    /// On how many threads all subscribers have the message of this number.
    by_threads: Mutex<Vec<usize>>,
    /// How many messages have come to all subscribers.
    complete: AtomicU64,
    more: Notify,
}

/// What the subscribers of one thread have received.
#[derive(Debug)]
pub(super) struct Subscribers<'d> {
    deliveries: &'d Deliveries,
    subscribers: usize,
    times: Times,
    /// How many subscribers of this thread have received the message of this number.
    by_subscribers: Vec<usize>,
    pub(super) tally: Tally,
}

impl Deliveries {
    /// Nothing yet, by that many threads.
    pub(super) fn by_threads(threads: usize) -> Self {
        Self {
            epoch: Instant::now(),
            published: AtomicU32::new(0),
            threads,
            by_threads: Mutex::default(),
            complete: AtomicU64::new(0),
            more: Notify::new(),
        }
    }

    /// The stamp of the next message, which is meant to go out at this time.
    pub(super) fn stamp(&self, intended: Instant) -> Stamp {
        let number = self.published.fetch_add(1, Relaxed);
        Stamp { intended: intended.saturating_duration_since(self.epoch), number }
    }

    /// Waits until that many messages have come to all subscribers. For one waiting task at a time.
    pub(super) async fn all_have(&self, messages: u64) {
        while self.complete.load(Relaxed) < messages {
            self.more.notified().await;
        }
    }

    /// All subscribers of a thread have deliveries this message; gives whether those of all threads have.
    fn thread_has(&self, number: usize) -> bool {
        let mut by_threads = self.by_threads.lock().unwrap_or_else(PoisonError::into_inner);
        let is_complete = one_more(&mut by_threads, number) == self.threads;
        if is_complete {
            self.complete.fetch_add(1, Relaxed);
            self.more.notify_one();
        }
        is_complete
    }
}

impl<'d> Subscribers<'d> {
    /// Of that many subscribers on this thread.
    pub(super) fn of_thread(deliveries: &'d Deliveries, subscribers: usize, times: Times) -> Self {
        let (by_subscribers, tally) = (Vec::new(), Tally::default());
        Self { deliveries, subscribers, times, by_subscribers, tally }
    }

    /// One of the subscribers has a message now.
    pub(super) fn hear(&mut self, payload: &[u8], now: Instant) -> anyhow::Result<()> {
        let stamp = Stamp::of(payload).context("a message came that this run has not sent")?;
        let number = stamp.number as usize;
        let is_ours = stamp.number < self.deliveries.published.load(Relaxed);
        let intended = self.deliveries.epoch.checked_add(stamp.intended).filter(|_| is_ours);
        let intended = intended.context("a message of another run has come")?;
        self.tally.message_at(now, &self.times, intended, payload.len());
        let is_last_here = one_more(&mut self.by_subscribers, number) == self.subscribers;
        if is_last_here && self.deliveries.thread_has(number) && self.times.count(now) {
            self.tally.note_last(nanos(now.saturating_duration_since(intended)));
        }
        Ok(())
    }

    /// Bytes have gone over the connection of a subscriber.
    pub(super) fn traffic(&mut self, turn: &LoadExchange) {
        if self.times.count(turn.now) {
            self.tally.received += turn.received as u64;
            self.tally.sent += turn.sent as u64;
        }
    }
}

/// Counts one more of this number, and gives how many there are.
fn one_more(counts: &mut Vec<usize>, number: usize) -> usize {
    if counts.len() <= number {
        counts.resize(number + 1, 0);
    }
    counts[number] += 1;
    counts[number]
}
