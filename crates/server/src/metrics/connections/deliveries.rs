//! What counts in the record of a connection what it is given, for code that delivers on its behalf.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sockeye_hub::Page;

use super::{
    ChannelPosition, ChannelRead, ConnectionRecord, ConnectionRegister, Place, RecordState,
};

/// What one connection was given of one channel. The metrics are told by what delivers.
#[derive(Clone, Debug)]
pub(crate) struct Deliveries {
    pub(super) state: Arc<RecordState>,
    /// `None` for the first channel of the connection.
    other: Option<Arc<ChannelPosition>>,
}

impl ChannelRead {
    /// For what delivers in the place of this one. One of them does so at a time.
    pub(crate) fn deliveries(&self) -> Deliveries {
        Deliveries { state: Arc::clone(&self.state), other: self.other.clone() }
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

    /// What serves a connection that [was at rest](ConnectionRecord::rest), and how far it was given this channel.
    pub(crate) fn resume(
        &self,
        register: &Arc<ConnectionRegister>,
    ) -> (ConnectionRecord, ChannelRead, u64) {
        self.state.is_at_rest.store(false, Relaxed);
        let Self { state, other } = self.clone();
        let record = ConnectionRecord { register: Arc::clone(register), state: Arc::clone(&state) };
        let read = ChannelRead { register: Arc::clone(register), state, other };
        let offset = read.position().offset.load(Relaxed);
        (record, read, offset)
    }

    /// Since when the connection waits for messages.
    pub(crate) fn since(&self) -> u64 {
        self.position().since
    }

    /// Its place in a group.
    pub(crate) fn place(&self) -> &Place {
        &self.position().place
    }

    /// Whether they are of the same connection and channel.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.position(), other.position())
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
