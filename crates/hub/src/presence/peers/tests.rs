//! What comes at the same moment, or in another order than it was said.

use super::*;
use crate::Options;
use crate::presence::Watch;

/// A link into nothing.
#[derive(Debug)]
struct Nowhere;

impl NodeLink for Nowhere {
    fn send(&self, _: Option<NodeId>, _: bytes::Bytes) {}
}

const OTHER: NodeId = NodeId(7);

/// A hub that knows another node.
fn two() -> Arc<PresenceRegistry> {
    let registry = Arc::new(PresenceRegistry::new(&Options::default()));
    let peers = Peers::new(NodeId(1), Arc::new(Nowhere), 1 << 20);
    assert!(registry.peers.set(peers).is_ok());
    heard(&registry, alive(Sign::Beat));
    assert_eq!(peers_of(&registry).count(), 2);
    registry
}

fn peers_of(registry: &Arc<PresenceRegistry>) -> &Peers {
    registry.peers.get().expect("it was set")
}

fn alive(sign: Sign) -> Body {
    Body::Alive { changes: 0, sign }
}

fn heard(registry: &Arc<PresenceRegistry>, body: Body) {
    peers_of(registry).heard(registry, &Message { from: OTHER, body }.encode());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_left_does_not_come_back_by_what_it_has_said_before() {
    let registry = two();
    heard(&registry, Body::Gone);
    for sign in [Sign::Answer, Sign::Beat, Sign::Hello] {
        heard(&registry, alive(sign));
        assert_eq!(peers_of(&registry).count(), 1, "{sign:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_while_a_node_is_dropped_leaves_nothing_to_be_asked_for() {
    let (registry, chat) = (two(), "chat".parse().expect("a name"));
    let watch = Watch::new(&registry, &chat);
    assert_eq!(lock(&peers_of(&registry).due).len(), 1);
    // The first half of dropping the node, then the watch, then the rest.
    let node = lock(&peers_of(&registry).nodes).remove(&OTHER).expect("it is known");
    drop(watch);
    lock(&peers_of(&registry).nodes).insert(OTHER, node);
    peers_of(&registry).drop_node(&registry, OTHER);
    assert_eq!(lock(&peers_of(&registry).due).len(), 0);
}
