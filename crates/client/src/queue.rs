//! What waits for one subscription: bounded, and told to the application in order.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::sync::Notify;

use crate::{Error, Position, message::Item};

/// How many bytes of messages wait for the application; one page may come on top.
pub(crate) const MAX_BYTES: usize = 16 << 20;

/// The queue between what reads a channel and the application.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// The most items that wait.
    most: usize,
    /// Told when half of it is free again.
    room: Notify,
    /// Told when it is known where reading begins.
    begun: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    /// The application, if it waits for an item.
    waker: Option<Waker>,
    /// Where reading begins.
    begins: Option<Position>,
    /// Nothing more comes: with the error, if it was one that the application has not been given.
    is_over: bool,
    error: Option<Error>,
}

impl Queue {
    pub(crate) fn new(most: usize) -> Self {
        let waiting = Mutex::default();
        Self { waiting, most, room: Notify::new(), begun: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is known where reading begins.
    pub(crate) fn begins(&self, at: &Position) {
        self.lock().begins.get_or_insert_with(|| at.clone());
        self.begun.notify_waiters();
    }

    /// Takes an item for the application.
    pub(crate) fn put(&self, item: Item) {
        let mut waiting = self.lock();
        if waiting.is_over {
            return;
        }
        if let Some(at) = item.position() {
            waiting.begins.get_or_insert_with(|| at.clone());
        }
        waiting.bytes += item.size();
        waiting.items.push_back(item);
        let waker = waiting.waker.take();
        drop(waiting);
        self.begun.notify_waiters();
        wake(waker);
    }

    /// Nothing more comes after what waits.
    pub(crate) fn end(&self, error: Option<Error>) {
        let mut waiting = self.lock();
        if std::mem::replace(&mut waiting.is_over, true) {
            return;
        }
        waiting.error = error;
        let waker = waiting.waker.take();
        drop(waiting);
        self.begun.notify_waiters();
        wake(waker);
    }

    /// The application wants nothing more.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_over = true;
        waiting.bytes = 0;
        waiting.items.clear();
        drop(waiting);
        self.room.notify_waiters();
    }

    /// The next item, for the application.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Option<Result<Item, Error>>> {
        let mut waiting = self.lock();
        if let Some(item) = waiting.items.pop_front() {
            waiting.bytes -= item.size();
            let has_room = waiting.items.len() <= self.most / 2 && waiting.bytes <= MAX_BYTES / 2;
            drop(waiting);
            if has_room {
                self.room.notify_waiters();
            }
            return Poll::Ready(Some(Ok(item)));
        }
        if waiting.is_over {
            return Poll::Ready(waiting.error.take().map(Err));
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn is_full(&self) -> bool {
        let waiting = self.lock();
        waiting.items.len() >= self.most || waiting.bytes >= MAX_BYTES
    }

    /// Waits until there is room: at once unless it is full, then until half of it is free.
    pub(crate) async fn room(&self) {
        if !self.is_full() {
            return;
        }
        loop {
            // Registered before the look, so that no wake is lost.
            let room = self.room.notified();
            let is_half_free = {
                let waiting = self.lock();
                waiting.items.len() <= self.most / 2 && waiting.bytes <= MAX_BYTES / 2
            };
            if is_half_free {
                return;
            }
            room.await;
        }
    }

    /// Waits until it is known where reading begins.
    pub(crate) async fn ready(&self) -> Result<Position, Error> {
        loop {
            let begun = self.begun.notified();
            tokio::pin!(begun);
            begun.as_mut().enable();
            {
                let waiting = self.lock();
                if let Some(at) = &waiting.begins {
                    return Ok(at.clone());
                }
                if waiting.is_over {
                    return Err(waiting.error.clone().unwrap_or(Error::Closed));
                }
            }
            begun.await;
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
