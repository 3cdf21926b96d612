//! What waits to be sent to other nodes, without I/O: bounded in bytes, with the sign of life ahead of
//! everything.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

/// The most bytes that wait. More is lost, which the other nodes notice and ask for.
const MAX_BYTES: usize = 16 << 20;
/// What a message is charged for beside its own length, in bytes.
const OVERHEAD: usize = 128;

/// What waits. Everything keeps its order but the sign of life.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<OutboxQueue>,
    filled: Notify,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct OutboxQueue {
    /// The newest sign of life, until it is taken.
    sign: Option<Bytes>,
    items: VecDeque<OutboxItem>,
    bytes: usize,
}

/// Something to be done, in its turn.
#[derive(Debug)]
pub(crate) enum OutboxItem {
    /// Under this subject.
    Send(String, Bytes),
    /// To tell that everything before has gone out.
    Flush(oneshot::Sender<()>),
}

impl OutboxItem {
    fn charge(&self) -> usize {
        match self {
            Self::Send(subject, message) => OVERHEAD + subject.len() + message.len(),
            Self::Flush(_) => 0,
        }
    }
}

impl Outbox {
    /// Has it sent behind everything else, if there is room.
    pub(crate) fn push(&self, item: OutboxItem) {
        let charge = item.charge();
        {
            let mut waiting = self.lock();
            if waiting.bytes + charge > MAX_BYTES {
                self.count_lost();
                return;
            }
            waiting.bytes += charge;
            waiting.items.push_back(item);
        }
        self.filled.notify_one();
    }

    /// Has the sign of life sent ahead of everything, in the place of an older one.
    pub(crate) fn set_sign(&self, sign: Bytes) {
        self.lock().sign = Some(sign);
        self.filled.notify_one();
    }

    /// The sign of life, or with `also_others` what is next; as soon as there is any. Cancel-safe.
    pub(crate) async fn next(&self, also_others: bool) -> NextSend {
        loop {
            // It counts from here on, so nothing that comes between the look and the wait is missed.
            let filled = self.filled.notified();
            if let Some(next) = self.lock().take(also_others) {
                return next;
            }
            filled.await;
        }
    }

    /// A message was not sent.
    pub(crate) fn count_lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    /// How many were not.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, OutboxQueue> {
        // It is whole between any two statements.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum NextSend {
    Sign(Bytes),
    Item(OutboxItem),
}

impl OutboxQueue {
    fn take(&mut self, also_others: bool) -> Option<NextSend> {
        if let Some(sign) = self.sign.take() {
            return Some(NextSend::Sign(sign));
        }
        if !also_others {
            return None;
        }
        let item = self.items.pop_front()?;
        self.bytes -= item.charge();
        Some(NextSend::Item(item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> OutboxItem {
        OutboxItem::Send("all".to_owned(), vec![0; length].into())
    }

    async fn taken(outbox: &Outbox) -> usize {
        match outbox.next(true).await {
            NextSend::Item(OutboxItem::Send(_, message)) => message.len(),
            next => panic!("{next:?}"),
        }
    }

    #[tokio::test]
    async fn the_newest_sign_of_life_goes_ahead_of_everything() {
        let outbox = Outbox::default();
        outbox.push(message(1));
        outbox.set_sign(Bytes::from_static(b"old"));
        outbox.push(message(2));
        outbox.set_sign(Bytes::from_static(b"new"));
        assert!(matches!(outbox.next(false).await, NextSend::Sign(sign) if sign == "new"));
        assert_eq!((taken(&outbox).await, taken(&outbox).await), (1, 2));
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_not_in_messages() {
        let outbox = Outbox::default();
        for _ in 0..50_000 {
            outbox.push(message(100));
        }
        assert_eq!(outbox.lost(), 0);
        for _ in 0..100 {
            outbox.push(message(350 << 10));
        }
        assert!((60..90).contains(&outbox.lost()), "{}", outbox.lost());
        for _ in 0..50_000 {
            assert_eq!(taken(&outbox).await, 100);
        }
        // What was taken has made room.
        let lost = outbox.lost();
        (0..30).for_each(|_| outbox.push(message(100 << 10)));
        assert_eq!(outbox.lost(), lost);
    }
}
