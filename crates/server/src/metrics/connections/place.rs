//! The place of a connection in a group that delivers to it, which is a part of its record: so it takes no allocation.

use std::mem;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sockeye_hub::Page;

/// What is known of a reader that is not a member any more.
#[derive(Debug)]
pub(crate) struct Left {
    /// Everything up to this offset was sent.
    pub(crate) offset: u64,
    /// The last page of that, if its bytes are still queued: it is to be waited for, and counted then.
    pub(crate) unwritten: Option<Box<Page>>,
}

/// What a member shares with its membership: a reader is a member once at a time.
#[derive(Debug)]
pub(crate) struct Place {
    /// The index among the members; read and changed while these are locked.
    index: AtomicU32,
    standing: Mutex<Standing>,
}

#[derive(Debug)]
enum Standing {
    /// The group has not ended its membership, or its task knows that. What waits for it is woken.
    Waits(Waker),
    /// It has, and this is where it stands.
    Left(Box<Left>),
}

/// The index of one that is not among the members.
const NOWHERE: u32 = u32::MAX;

impl Place {
    /// The index among the members, if it is one.
    pub(crate) fn index(&self) -> Option<usize> {
        let index = self.index.load(Relaxed);
        (index != NOWHERE).then_some(index as usize)
    }

    pub(crate) fn set_index(&self, index: usize) {
        // There are fewer descriptors than that.
        self.index.store(index as u32, Relaxed);
    }

    /// It is among the members no more.
    pub(crate) fn clear_index(&self) {
        self.index.store(NOWHERE, Relaxed);
    }

    /// Nothing is left of an earlier membership.
    pub(crate) fn clear(&self) {
        *self.standing() = Standing::default();
    }

    /// The group has ended its membership.
    pub(crate) fn leave(&self, left: Left) {
        let before = mem::replace(&mut *self.standing(), Standing::Left(Box::new(left)));
        if let Standing::Waits(task) = before {
            task.wake();
        }
    }

    /// Ready when the group has ended its membership; wakes `cx` then.
    pub(crate) fn poll_has_left(&self, cx: &Context<'_>) -> Poll<()> {
        match self.standing().wait(cx) {
            Standing::Left(_) => Poll::Ready(()),
            Standing::Waits(_) => Poll::Pending,
        }
    }

    /// The same, and takes where it stands.
    pub(crate) fn poll_left(&self, cx: &Context<'_>) -> Poll<Left> {
        self.standing().wait(cx).take_left().map_or(Poll::Pending, Poll::Ready)
    }

    /// Where it stands, if the group has ended its membership.
    pub(crate) fn take_left(&self) -> Option<Left> {
        self.standing().take_left()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // Consistent between any two statements, so a panic elsewhere does not matter.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Wakes `cx` when the membership has ended.
    fn wait(&mut self, cx: &Context<'_>) -> &mut Self {
        if let Self::Waits(task) = self {
            task.clone_from(cx.waker());
        }
        self
    }

    fn take_left(&mut self) -> Option<Left> {
        match mem::take(self) {
            Self::Left(left) => Some(*left),
            waits @ Self::Waits(_) => {
                *self = waits;
                None
            }
        }
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self::Waits(Waker::noop().clone())
    }
}

impl Default for Place {
    fn default() -> Self {
        Self { index: AtomicU32::new(NOWHERE), standing: Mutex::default() }
    }
}
