//! Observers: they are told of all channels who comes and goes, in order, whatever the way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockeye_hub::backplane::NodeId;
use sockeye_hub::backplane::fake::{Bounds, Engine};
use sockeye_hub::{ChannelName, Hub, Member, Observer, Options};
use tokio::time::advance;

use crate::{Rig, name};

const MINUTE: Duration = Duration::from_mins(1);

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn of(hub: &Hub) -> Arc<Self> {
        let notes = Arc::new(Self::default());
        assert!(hub.observe(notes.clone()));
        notes
    }

    fn note(&self, note: String) {
        self.0.lock().unwrap().push(note);
    }

    /// What it was told since it was last asked.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Notes {
    fn occupied(&self, channel: &ChannelName, at: u64) {
        self.note(format!("{at} +{channel}"));
    }

    fn vacated(&self, channel: &ChannelName, at: u64) {
        self.note(format!("{at} -{channel}"));
    }

    fn joined(&self, channel: &ChannelName, member: &Member, at: u64) {
        self.note(format!("{at} {channel}+{}", member.id));
    }

    fn left(&self, channel: &ChannelName, member: &Member, at: u64) {
        self.note(format!("{at} {channel}-{}", member.id));
    }

    fn node_found(&self, _: NodeId) {
        self.note("found".to_owned());
    }

    fn node_lost(&self, _: NodeId) {
        self.note("lost".to_owned());
    }
}

#[test]
fn a_channel_is_occupied_before_its_first_member_and_vacated_after_its_last() {
    let (rig, chat, news) = (Rig::keeping(1), name("chat"), name("news"));
    let (notes, t) = (Notes::of(&rig.hub), rig.time());
    let ann = rig.hub.join(&chat, Some("ann"));
    let again = rig.hub.join(&chat, Some("ann"));
    let nameless = rig.hub.join(&news, None);
    let bob = rig.hub.join(&chat, Some("bob"));
    assert_eq!(
        notes.take(),
        [
            format!("{t} +chat"),
            format!("{t} chat+ann"),
            format!("{t} +news"),
            format!("{t} chat+bob")
        ]
    );
    rig.pass(7);
    drop((ann, bob, nameless));
    let t = rig.time();
    assert_eq!(notes.take(), [format!("{t} chat-bob"), format!("{t} -news")]);
    rig.pass(7);
    drop(again);
    let t = rig.time();
    assert_eq!(notes.take(), [format!("{t} chat-ann"), format!("{t} -chat")]);
}

#[test]
fn clients_that_poll_are_told_like_others_and_gone_when_their_time_is_over() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let (notes, t) = (Notes::of(&rig.hub), rig.time());
    rig.hub.renew(&chat, "192.0.2.1", Some("ann"), MINUTE);
    rig.hub.renew(&chat, "192.0.2.2", None, 2 * MINUTE);
    rig.hub.renew(&chat, "192.0.2.1", Some("ann"), MINUTE);
    assert_eq!(notes.take(), [format!("{t} +chat"), format!("{t} chat+ann")]);
    rig.pass(60_000);
    rig.hub.sweep();
    let t = rig.time();
    assert_eq!(notes.take(), [format!("{t} chat-ann")]);
    // The last has gone before the next one comes, though no sweep has seen it.
    rig.pass(60_000);
    let _bob = rig.hub.join(&chat, Some("bob"));
    let t = rig.time();
    assert_eq!(notes.take(), [format!("{t} -chat"), format!("{t} +chat"), format!("{t} chat+bob")]);
}

#[test]
fn watching_reading_and_publishing_is_told_to_no_observer() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let notes = Notes::of(&rig.hub);
    let watch = rig.hub.watch(&chat);
    let reader = rig.hub.subscribe(&chat, sockeye_hub::Start::Now);
    rig.say(&chat, "hello");
    assert_eq!(rig.hub.presence(&chat).count, 0);
    drop((watch, reader));
    assert!(notes.take().is_empty());
    assert!(!rig.hub.observe(Arc::new(Notes::default())), "there is one");
}

#[test]
fn a_lease_is_no_larger_for_observers() {
    // The registry, the channel and the id: what it was without observers.
    assert_eq!(size_of::<sockeye_hub::Lease>(), 5 * size_of::<usize>());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_silent_is_lost_and_found_when_it_is_back() {
    let engine = Engine::new(Bounds { shards: 1, count: 5, age: 4_000, tick: 500 }, 7);
    let nodes = [engine.node(), engine.node()];
    let hubs =
        [0, 1].map(|index: usize| Hub::with_backplane(Options::default(), nodes[index].clone()));
    let notes = Notes::of(&hubs[0]);
    let pass = async |millis: u64, is_cut: bool| {
        for _ in 0..millis / 250 {
            advance(Duration::from_millis(250)).await;
            nodes[0].look_at_others();
            if !is_cut {
                nodes[1].look_at_others();
            }
            while nodes[0].deliver() | nodes[1].deliver() {}
        }
    };
    pass(1_000, false).await;
    assert!(hubs[0].node().is_some() && hubs[0].node() != hubs[1].node());
    notes.take();
    let _ann = hubs[1].join(&name("chat"), Some("ann"));
    pass(5_000, true).await;
    assert!(notes.take().is_empty(), "it tells of its own members alone");
    pass(2_000, true).await;
    assert_eq!(notes.take(), ["lost"]);
    pass(2_000, false).await;
    assert_eq!(notes.take(), ["found"]);
    hubs[1].leave_cluster().await;
    pass(1_000, false).await;
    assert_eq!(notes.take(), ["lost"]);
}
