//! What presence costs: charged by fixed rates, and bounded.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{ChannelName, Options};

/// What a channel is charged for as long as a client is present on it, beside its name, and what
/// each of those is charged for, beside its id or key; in bytes.
const ROOM_OVERHEAD: u64 = 256;
const MEMBER_OVERHEAD: u64 = 160;

/// The account of all sets.
#[derive(Debug)]
pub(super) struct PresenceBudget {
    pub(super) max_members: usize,
    pub(super) max_bytes: u64,
    bytes: AtomicU64,
}

impl PresenceBudget {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            max_members: options.max_members,
            max_bytes: options.max_presence_bytes,
            bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Charges for a channel. There always is room for one: a refusal, if any, is for the member that it is
    /// opened for.
    pub(super) fn open(&self, channel: &ChannelName) {
        self.bytes.fetch_add(room_charge(channel), Relaxed);
    }

    pub(super) fn close(&self, channel: &ChannelName) {
        self.bytes.fetch_sub(room_charge(channel), Relaxed);
    }

    /// Charges for a member of that name, if there is room for it.
    pub(super) fn admit(&self, name: &str) -> bool {
        let charge = member_charge(name);
        let admitted = |bytes| Some(bytes + charge).filter(|bytes| *bytes <= self.max_bytes);
        self.bytes.fetch_update(Relaxed, Relaxed, admitted).is_ok()
    }

    pub(super) fn dismiss(&self, name: &str) {
        self.bytes.fetch_sub(member_charge(name), Relaxed);
    }
}

fn room_charge(channel: &ChannelName) -> u64 {
    ROOM_OVERHEAD + channel.as_str().len() as u64
}

pub(super) fn member_charge(name: &str) -> u64 {
    MEMBER_OVERHEAD + name.len() as u64
}
