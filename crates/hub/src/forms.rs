//! The wire forms of an entry: each made once, on first use, and shared.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::figures::Meter;

/// A list that only ever grows at its end, so looking up a form takes no lock and an entry pays
/// for the forms it has, not for those it might have.
#[derive(Debug)]
pub(crate) struct Forms {
    first: OnceLock<Box<Node>>,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct Node {
    slot: u8,
    bytes: OnceLock<Bytes>,
    next: OnceLock<Box<Self>>,
}

impl Forms {
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        Self { first: OnceLock::new(), meter }
    }

    /// Those of something else that is counted in the same place.
    pub(crate) fn beside(&self) -> Self {
        Self::new(Arc::clone(&self.meter))
    }

    pub(crate) fn form(&self, slot: u8, make: impl FnOnce() -> Bytes) -> &Bytes {
        let mut link = &self.first;
        loop {
            // Of those who add a node at the same end one wins; the others look at what it added
            // and go on behind it if it was not for them.
            let node = link.get_or_init(|| Box::new(Node::new(slot)));
            if node.slot == slot {
                return node.bytes.get_or_init(|| {
                    let bytes = make();
                    self.meter.add_form(bytes.len());
                    bytes
                });
            }
            link = &node.next;
        }
    }
}

impl Node {
    fn new(slot: u8) -> Self {
        Self { slot, bytes: OnceLock::new(), next: OnceLock::new() }
    }
}

impl Drop for Forms {
    fn drop(&mut self) {
        let mut link = self.first.get();
        while let Some(node) = link {
            self.meter.remove_form(node.bytes.get().map_or(0, Bytes::len));
            link = node.next.get();
        }
    }
}
