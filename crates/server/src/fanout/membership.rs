//! A member, as the task of its connection knows it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use sockeye_hub::Page;

use super::Group;

/// A reader is served by a group, until this is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    group: Arc<Group>,
    place: Arc<Place>,
}

/// What is known of a reader that is not a member any more.
#[derive(Debug)]
pub(crate) struct Left {
    /// Everything up to this offset was sent.
    pub(crate) offset: u64,
    /// The last page of that, if its bytes are still queued: it is to be waited for, and counted then.
    pub(crate) unwritten: Option<Box<Page>>,
}

/// What a member shares with its membership.
#[derive(Debug)]
pub(super) struct Place {
    /// The index among the members; read and changed while these are locked.
    index: AtomicUsize,
    /// Where it stands, from when the group has ended its membership until its task takes that.
    left: Mutex<Option<Box<Left>>>,
    task: AtomicWaker,
}

/// The index of one that is not among the members.
const NOWHERE: usize = usize::MAX;

impl Membership {
    pub(super) fn new(group: Arc<Group>, place: Arc<Place>) -> Self {
        Self { group, place }
    }

    /// Waits until the group does not serve the reader any more, or until `is_enough`, which is asked whenever the
    /// task is woken. Cancel-safe.
    pub(crate) async fn ended(&self, is_enough: impl Fn() -> bool) -> Left {
        poll_fn(|cx| match is_enough() {
            true => Poll::Ready(self.leave()),
            false => self.place.poll_left(cx),
        })
        .await
    }

    /// Waits until the group does not serve the reader any more. Cancel-safe.
    pub(crate) async fn left(&self) -> Left {
        poll_fn(|cx| self.place.poll_left(cx)).await
    }

    /// The same, apart from this: it is not to be waited for when this was dropped before.
    pub(crate) fn leaving(&self) -> Self {
        Self { group: Arc::clone(&self.group), place: Arc::clone(&self.place) }
    }

    /// Leaves, which what waits for that is told.
    pub(crate) fn recall(&self) {
        if let Some(left) = self.group.dismiss(&self.place) {
            self.place.leave(left);
        }
    }

    /// Whether the group does not serve the reader any more; wakes `cx` when that changes.
    pub(crate) fn poll_has_left(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered before the look, so no wake is lost.
        self.place.task.register(cx.waker());
        if self.place.left().is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Leaves, unless the group has ended the membership already: before that was told.
    pub(crate) fn leave(&self) -> Left {
        let left = self.group.dismiss(&self.place).or_else(|| self.place.take_left());
        left.expect("a reader is a member until its place says where it stands")
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let _ = self.group.dismiss(&self.place);
    }
}

impl Place {
    pub(super) fn new() -> Self {
        Self { index: AtomicUsize::new(NOWHERE), left: Mutex::default(), task: AtomicWaker::new() }
    }

    /// The index among the members, if it is one.
    pub(super) fn index(&self) -> Option<usize> {
        Some(self.index.load(Relaxed)).filter(|index| *index != NOWHERE)
    }

    pub(super) fn set_index(&self, index: usize) {
        self.index.store(index, Relaxed);
    }

    /// It is among the members no more.
    pub(super) fn clear_index(&self) {
        self.set_index(NOWHERE);
    }

    /// The group has ended its membership.
    pub(super) fn leave(&self, left: Left) {
        *self.left() = Some(Box::new(left));
        self.task.wake();
    }

    fn poll_left(&self, cx: &Context<'_>) -> Poll<Left> {
        // Registered before the look, so no wake is lost.
        self.task.register(cx.waker());
        self.take_left().map_or(Poll::Pending, Poll::Ready)
    }

    fn take_left(&self) -> Option<Left> {
        self.left().take().map(|left| *left)
    }

    fn left(&self) -> MutexGuard<'_, Option<Box<Left>>> {
        // Consistent between any two statements, so a panic elsewhere does not matter.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
