//! What counts in the record of a connection what it is given, for code that delivers on its behalf.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sockeye_hub::Page;

use super::{ChannelPosition, ChannelRead, ConnectionRegister, RecordState};

/// What one connection was given of one channel. The metrics are told by what delivers.
#[derive(Debug)]
pub(crate) struct Deliveries {
    pub(super) state: Arc<RecordState>,
    /// `None` for the first channel of the connection.
    other: Option<Arc<ChannelPosition>>,
    since: u64,
}

impl ChannelRead {
    /// For what delivers in the place of this one. One of them does so at a time.
    pub(crate) fn deliveries(&self) -> Deliveries {
        let (state, other) = (Arc::clone(&self.state), self.other.clone());
        Deliveries { state, other, since: self.since }
    }

    /// Counts a page in the record.
    pub(super) fn count(&self, page: &Page, bytes: usize) {
        count(&self.state, self.position(), page, bytes);
    }
}

impl Deliveries {
    pub(super) fn position(&self) -> &ChannelPosition {
        self.state.position(self.other.as_deref())
    }

    /// Since when the connection waits for messages.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    /// Whether the connection is [busy](super::ConnectionRecord::set_busy).
    pub(crate) fn is_busy(&self) -> bool {
        self.state.is_busy.load(Relaxed)
    }

    /// Not all is written that the connection was given.
    pub(crate) fn set_busy(&self) {
        self.state.is_busy.store(true, Relaxed);
    }

    /// Counts a page of messages in the record, and shows them to the taps of the connection.
    pub(crate) fn add(&self, page: &Page, bytes: usize, register: &ConnectionRegister) {
        count(&self.state, self.position(), page, bytes);
        self.show(page, register);
    }

    /// How many messages the connection was given, on all its channels.
    #[cfg(test)]
    pub(crate) fn messages(&self) -> u64 {
        self.state.messages.load(Relaxed)
    }

    /// How many bytes that were.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.state.bytes.load(Relaxed)
    }
}

fn count(state: &RecordState, position: &ChannelPosition, page: &Page, bytes: usize) {
    position.offset.store(page.at.offset, Relaxed);
    state.messages.fetch_add(page.entries.len() as u64, Relaxed);
    state.bytes.fetch_add(bytes as u64, Relaxed);
}
