//! A member, as the task of its connection knows it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use sockeye_hub::Outlook;

use super::Group;
use crate::metrics::connections::{Deliveries, Left, Place};

/// A reader is served by a group, until this is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    group: Arc<Group>,
    /// They have the place of the member.
    deliveries: Deliveries,
}

impl Membership {
    pub(super) fn new(group: Arc<Group>, deliveries: Deliveries) -> Self {
        Self { group, deliveries }
    }

    fn place(&self) -> &Place {
        self.deliveries.place()
    }

    /// Waits until the group does not serve the reader any more, or until `is_enough`, which is asked whenever the
    /// task is woken. Cancel-safe.
    pub(crate) async fn ended(&self, is_enough: impl Fn() -> bool) -> Left {
        poll_fn(|cx| match is_enough() {
            true => Poll::Ready(self.leave()),
            false => self.place().poll_left(cx),
        })
        .await
    }

    /// Waits until the group does not serve the reader any more. Cancel-safe.
    pub(crate) async fn left(&self) -> Left {
        poll_fn(|cx| self.place().poll_left(cx)).await
    }

    /// The same, apart from this: it is not to be waited for when this was dropped before.
    pub(crate) fn leaving(&self) -> Self {
        Self { group: Arc::clone(&self.group), deliveries: self.deliveries.clone() }
    }

    /// Leaves, which what waits for that is told.
    pub(crate) fn recall(&self) {
        if let Some(left) = self.group.dismiss(&self.deliveries) {
            self.place().leave(left);
        }
    }

    /// What all members of the group are given.
    pub(crate) fn outlook(&self) -> &Outlook {
        &self.group.key().outlook
    }

    /// What is counted for the reader.
    pub(crate) fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// Whether the group does not serve the reader any more; wakes `cx` when that changes.
    pub(crate) fn poll_has_left(&self, cx: &Context<'_>) -> Poll<()> {
        self.place().poll_has_left(cx)
    }

    /// Leaves, unless the group has ended the membership already: before that was told.
    pub(crate) fn leave(&self) -> Left {
        let left = self.group.dismiss(&self.deliveries).or_else(|| self.place().take_left());
        left.expect("a reader is a member until its place says where it stands")
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let _ = self.group.dismiss(&self.deliveries);
    }
}
