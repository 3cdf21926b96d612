//! One cursor for many readers of a channel that stand at the same place.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::Channel;
use super::reader::next_page;
use crate::log::Cursor;
use crate::{Budget, ChannelName, Epoch, Page, Policy, Position};

/// Reads a channel in place of many readers that would all be given the same: see
/// [`Reader::outlook`](crate::Reader::outlook).
///
/// It does not count as a reader, and does not keep the hub from letting go of the channel: the
/// readers that it stands for do.
#[derive(Debug)]
pub struct SharedReader {
    channel: Arc<Channel>,
    cursor: Cursor,
}

/// What decides, besides its offset, what a reader is given: of two readers with the same outlook the one
/// that stands at the lower offset is given all that the other one is, and what is between them before it.
#[derive(Clone, Debug)]
pub struct Outlook {
    pub(super) channel: Arc<Channel>,
    pub(super) epoch: Epoch,
    pub(super) forgets: u64,
    pub(super) policy: Policy,
}

impl SharedReader {
    /// Stands where that reader does.
    pub(super) fn new(channel: &Arc<Channel>, cursor: Cursor) -> Self {
        Self { channel: Arc::clone(channel), cursor }
    }

    /// All that is there, within `budget`, as soon as there is something; as
    /// [`Reader::next_page`](crate::Reader::next_page).
    ///
    /// A page with a gap or an end changes the [`Outlook`]: each reader is to be told it by itself.
    pub fn next_page(&mut self, budget: Budget) -> impl Future<Output = Page> {
        next_page(&self.channel, &mut self.cursor, budget)
    }

    /// All that is there now, within `budget`.
    pub fn try_next_page(&mut self, budget: Budget) -> Option<Page> {
        self.channel.lock().log.page(&mut self.cursor, budget).news()
    }

    /// Where it stands: at the entry that it was given last, or where it began.
    pub fn position(&self) -> Position {
        self.cursor.position()
    }

    /// The offset of that.
    pub fn offset(&self) -> u64 {
        self.position().offset
    }
}

impl Outlook {
    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.channel.name
    }
}

impl PartialEq for Outlook {
    fn eq(&self, other: &Self) -> bool {
        let Self { channel, epoch, forgets, policy } = self;
        Arc::ptr_eq(channel, &other.channel)
            && *epoch == other.epoch
            && *forgets == other.forgets
            && *policy == other.policy
    }
}

impl Eq for Outlook {}

impl Hash for Outlook {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.channel).hash(state);
        self.forgets.hash(state);
    }
}
