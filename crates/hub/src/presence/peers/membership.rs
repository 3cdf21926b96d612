//! How a hub joins the others of its backplane, hears them and leaves.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::message::Body;
use super::{Peers, lock};
use crate::ChannelName;
use crate::backplane::{Amount, Backplane, Figure, NodeId, NodeSink};
use crate::presence::Presence;
use crate::presence::registry::PresenceRegistry;

/// What the members of one node take here at most, as a part of what those of this node may.
const PART_OF_BYTES: u64 = 8;

/// What the other nodes send comes here. It does not keep the hub alive.
#[derive(Debug)]
struct PeerSink(Weak<PresenceRegistry>);

impl PresenceRegistry {
    /// Joins the other hubs of the backplane, if it connects them.
    pub(crate) fn connect(self: &Arc<Self>, backplane: &dyn Backplane) {
        let node = NodeId::random();
        let sink = Arc::new(PeerSink(Arc::downgrade(self)));
        if let Some(link) = backplane.link(node, sink) {
            let peers = Peers::new(node, link, self.budget.max_bytes / PART_OF_BYTES);
            let peers = self.peers.get_or_init(|| peers);
            peers.tick(self);
        }
    }

    /// What other nodes know this one by, if there can be any.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.peers.get().map(|peers| peers.node)
    }

    /// The clients that listen to the channel at all nodes that answer.
    pub(crate) async fn page_of_all(
        &self,
        channel: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Presence {
        match self.peers.get() {
            Some(peers) => peers.ask(self, channel, after, limit).await,
            None => self.page(channel, after, limit),
        }
    }

    /// Tells the other nodes that this one has left.
    pub(crate) fn leave_all(&self) {
        if let Some(peers) = self.peers.get()
            && !peers.has_left.swap(true, Relaxed)
        {
            let _told = lock(&peers.told);
            peers.send(None, Body::Gone);
        }
    }
}

impl NodeSink for PeerSink {
    fn heard(&self, message: Bytes) {
        if let Some(registry) = self.0.upgrade()
            && let Some(peers) = registry.peers.get()
        {
            peers.heard(&registry, &message);
        }
    }

    fn tick(&self) {
        if let Some(registry) = self.0.upgrade()
            && let Some(peers) = registry.peers.get()
        {
            peers.tick(&registry);
        }
    }

    fn figures(&self) -> Vec<Figure> {
        let registry = self.0.upgrade();
        let peers = registry.as_ref().and_then(|registry| registry.peers.get());
        let count = |count: fn(&Peers) -> &AtomicU64| {
            Amount::Count(peers.map_or(0, |peers| count(peers).load(Relaxed)))
        };
        let level = |level: fn(&Peers) -> u64| Amount::Level(peers.map_or(0, level) as f64);
        let figure = |name, help, amount| Figure { name, help, amount };
        vec![
            figure("nodes", "Nodes that this one knows, itself included", level(Peers::count)),
            figure(
                "followed_bytes",
                "Bytes of memory for members at other nodes, of channels watched here",
                level(Peers::bytes),
            ),
            figure(
                "presence_lost",
                "Times that joins and leaves at another node did not come and were asked for",
                count(|peers| &peers.lost),
            ),
            figure(
                "presence_unanswered",
                "Nodes that did not answer in time who is present there",
                count(|peers| &peers.unanswered),
            ),
        ]
    }
}
