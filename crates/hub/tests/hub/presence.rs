//! Presence: the members, what watches are told, and that nothing is left behind.

use std::time::Duration;

use sockeye_hub::{ChannelName, Hub, Member, Options, Presence, PresenceChange, Watch};
use tokio::task::JoinSet;

use crate::{Rig, name};

const MINUTE: Duration = Duration::from_mins(1);

impl Rig {
    /// How many are there, and the ids of those that have one.
    fn present(&self, channel: &ChannelName) -> (u64, Vec<String>) {
        let Presence { count, members, .. } = self.hub.presence(channel);
        (count, members.into_iter().map(|member| member.id.to_string()).collect())
    }

    fn nothing_is_left(&self) {
        assert_eq!(self.hub.figures().presence_bytes, 0);
    }
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn member(id: &str, since: u64) -> Member {
    Member { id: id.into(), since }
}

fn all(watch: &mut Watch) -> Vec<PresenceChange> {
    std::iter::from_fn(|| watch.try_next()).collect()
}

#[test]
fn a_member_is_present_until_its_lease_is_dropped() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let ann = rig.hub.join(&chat, Some("ann"));
    let since = rig.time();
    rig.pass(5);
    let bob = rig.hub.join(&chat, Some("bob"));
    let nameless = rig.hub.join(&chat, None);
    let members = vec![member("ann", since), member("bob", since + 5)];
    assert_eq!(rig.hub.presence(&chat), Presence { count: 3, members, next: None });
    assert_eq!(rig.present(&name("news")), (0, vec![]), "channels have their own");

    drop((ann, nameless));
    assert_eq!(rig.present(&chat), (1, ids(&["bob"])));
    drop(bob);
    assert_eq!(rig.present(&chat), (0, vec![]));
    rig.nothing_is_left();
}

#[test]
fn one_with_two_connections_is_one_member_joins_once_and_leaves_once() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let mut watch = rig.hub.watch(&chat);
    let since = rig.time();
    let first = rig.hub.join(&chat, Some("ann"));
    rig.pass(1000);
    let second = rig.hub.join(&chat, Some("ann"));
    assert_eq!(rig.present(&chat), (1, ids(&["ann"])));
    assert_eq!(all(&mut watch), [PresenceChange::Join(member("ann", since))]);
    drop(first);
    assert_eq!(all(&mut watch), []);
    drop(second);
    assert_eq!(all(&mut watch), [PresenceChange::Leave(member("ann", since))]);
}

#[test]
fn a_polling_member_is_present_until_its_lease_expires() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    rig.hub.renew(&chat, "192.0.2.1", Some("ann"), MINUTE);
    rig.hub.renew(&chat, "192.0.2.1", None, MINUTE);
    rig.hub.renew(&chat, "192.0.2.2", None, MINUTE);
    assert_eq!(rig.present(&chat), (3, ids(&["ann"])));
    rig.pass(59_999);
    rig.hub.renew(&chat, "192.0.2.2", None, MINUTE);
    assert_eq!(rig.present(&chat), (3, ids(&["ann"])), "not a moment too early");
    rig.pass(1);
    assert_eq!(rig.present(&chat), (1, vec![]), "one that renews it stays");
    rig.pass(59_999);
    rig.hub.sweep();
    rig.nothing_is_left();
}

#[test]
fn a_member_that_changes_from_a_connection_to_polling_never_leaves() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let since = rig.time();
    let lease = rig.hub.join(&chat, Some("ann"));
    let mut watch = rig.hub.watch(&chat);
    rig.pass(1000);
    rig.hub.renew(&chat, "", Some("ann"), MINUTE);
    drop(lease);
    rig.pass(50_000);
    assert_eq!(rig.hub.presence(&chat).members, [member("ann", since)]);
    let lease = rig.hub.join(&chat, Some("ann"));
    rig.pass(50_000);
    assert_eq!(rig.hub.presence(&chat).members, [member("ann", since)]);
    assert_eq!(all(&mut watch), []);
    drop(lease);
    assert_eq!(all(&mut watch), [PresenceChange::Leave(member("ann", since))]);
}

#[test]
fn a_short_poll_does_not_cut_short_what_a_long_one_was_promised() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    for id in [Some("ann"), None] {
        rig.hub.renew(&chat, "192.0.2.1", id, MINUTE * 2);
        rig.hub.renew(&chat, "192.0.2.1", id, MINUTE);
    }
    rig.pass(90_000);
    assert_eq!(rig.present(&chat), (2, ids(&["ann"])));
    rig.pass(30_000);
    assert_eq!(rig.present(&chat), (0, vec![]));
}

#[test]
fn a_clock_that_is_set_back_does_not_prolong_presence() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    rig.hub.renew(&chat, "", Some("ann"), MINUTE);
    rig.set_time(rig.time() - 3_600_000);
    assert_eq!(rig.present(&chat), (0, vec![]));
    rig.hub.renew(&chat, "", Some("ann"), MINUTE);
    rig.pass(59_999);
    assert_eq!(rig.present(&chat), (1, ids(&["ann"])));
    rig.pass(1);
    assert_eq!(rig.present(&chat), (0, vec![]));
}

#[test]
fn watchers_see_a_member_that_stopped_polling_leave_at_the_next_sweep() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let mut watch = rig.hub.watch(&chat);
    let since = rig.time();
    rig.hub.renew(&chat, "", Some("ann"), MINUTE);
    rig.pass(60_000);
    rig.hub.sweep();
    let (ann, left) = (member("ann", since), all(&mut watch));
    assert_eq!(left, [PresenceChange::Join(ann.clone()), PresenceChange::Leave(ann)]);
    // A client that comes back after its time, unseen by any sweep, was away all the same.
    rig.hub.renew(&chat, "", Some("ann"), MINUTE);
    rig.pass(60_000);
    let _lease = rig.hub.join(&chat, Some("ann"));
    let told: Vec<_> = all(&mut watch);
    assert!(
        matches!(
            told[..],
            [PresenceChange::Join(_), PresenceChange::Leave(_), PresenceChange::Join(_)]
        ),
        "{told:?}"
    );
}

#[test]
fn a_watcher_that_is_too_slow_gets_the_state_instead() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let mut watch = rig.hub.watch(&chat);
    for _ in 0..10_000 {
        drop(rig.hub.join(&chat, Some("ann")));
    }
    let _bob = rig.hub.join(&chat, Some("bob"));
    assert_eq!(all(&mut watch), [PresenceChange::Anew(rig.hub.presence(&chat))]);
    let eve = rig.hub.join(&chat, Some("eve"));
    assert_eq!(
        all(&mut watch),
        [PresenceChange::Join(member("eve", rig.time()))],
        "and then goes on"
    );
    drop((eve, watch));
}

#[tokio::test]
async fn members_with_an_id_wake_watchers_and_those_without_do_not() {
    let hub = Hub::default();
    let chat = name("chat");
    let mut watching = JoinSet::new();
    for _ in 0..3 {
        let mut watch = hub.watch(&chat);
        watching.spawn(async move { watch.next().await });
    }
    tokio::task::yield_now().await;
    let _nameless = hub.join(&chat, None);
    let _ann = hub.join(&chat, Some("ann"));
    for change in watching.join_all().await {
        assert!(
            matches!(&change, PresenceChange::Join(member) if &*member.id == "ann"),
            "{change:?}"
        );
    }
}

#[test]
fn to_watch_is_not_to_be_there_and_leaves_nothing_behind() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let (one, two) = (rig.hub.watch(&chat), rig.hub.watch(&chat));
    assert_eq!(rig.present(&chat), (0, vec![]));
    drop(one);
    drop(rig.hub.join(&chat, Some("ann")));
    drop(two);
    rig.nothing_is_left();
}

#[test]
fn past_the_bounds_connections_are_only_counted_and_polls_are_not() {
    let options = Options::default().max_members(2);
    let (rig, chat) = (Rig::new(options), name("chat"));
    let leases = ["a", "b", "c"].map(|id| rig.hub.join(&chat, Some(id)));
    rig.hub.renew(&chat, "192.0.2.1", None, MINUTE);
    rig.hub.renew(&chat, "192.0.2.1", Some("d"), MINUTE);
    rig.hub.renew(&chat, "192.0.2.1", Some("a"), MINUTE);
    assert_eq!(rig.present(&chat), (3, ids(&["a", "b"])));
    drop(leases);
    assert_eq!(rig.present(&chat), (1, ids(&["a"])), "it polls, too");
    rig.pass(60_000);
    rig.hub.sweep();
    rig.nothing_is_left();
}

#[test]
fn an_id_that_is_too_long_is_only_counted() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let _longest = rig.hub.join(&chat, Some(&"x".repeat(Hub::MAX_ID_LEN)));
    let _too_long = rig.hub.join(&chat, Some(&"x".repeat(Hub::MAX_ID_LEN + 1)));
    let Presence { count, members, .. } = rig.hub.presence(&chat);
    assert_eq!((count, members.len()), (2, 1));
}

#[test]
fn polls_on_ever_new_channels_take_no_more_memory_than_they_may() {
    let options = Options::default().max_presence_bytes(100_000);
    let rig = Rig::new(options);
    for number in 0..10_000 {
        rig.hub.renew(&name(&format!("channel-{number}")), "192.0.2.1", Some("ann"), MINUTE);
    }
    let bytes = rig.hub.figures().presence_bytes;
    assert!((90_000..=100_000).contains(&bytes), "{bytes}");
    rig.pass(60_000);
    rig.hub.sweep();
    rig.nothing_is_left();
}

#[test]
fn presence_of_many_members_on_many_threads_adds_up() {
    let hub = Hub::default();
    let chat = name("chat");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (hub, chat) = (&hub, &chat);
            scope.spawn(move || {
                for round in 0..500 {
                    let id = format!("{}", (thread + round) % 7);
                    let lease = hub.join(chat, Some(&id));
                    assert!(hub.presence(chat).members.iter().any(|member| *member.id == *id));
                    drop((lease, hub.join(chat, None)));
                }
            });
        }
    });
    assert_eq!(hub.presence(&chat), Presence::default());
    assert_eq!(hub.figures().presence_bytes, 0);
}

/// All members, page by page; `meanwhile` happens between every two pages.
fn paged(
    hub: &Hub,
    channel: &ChannelName,
    limit: usize,
    mut meanwhile: impl FnMut(),
) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let Presence { members, next, .. } = hub.presence_page(channel, after.as_deref(), limit);
        assert!(members.len() <= limit);
        assert_eq!(next.is_some(), next.as_ref() == members.last().map(|last| &last.id));
        ids.extend(members.iter().map(|member| member.id.to_string()));
        after = next;
        if after.is_none() {
            return ids;
        }
        meanwhile();
    }
}

#[test]
fn pages_together_are_the_whole_whatever_their_size() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let _leases: Vec<_> = (0..25).map(|n| rig.hub.join(&chat, Some(&format!("{n}")))).collect();
    let whole = rig.present(&chat).1;
    assert_eq!(whole.len(), 25);
    for limit in [1, 5, 24, 25, 26, 1000] {
        assert_eq!(paged(&rig.hub, &chat, limit, || {}), whole, "{limit}");
    }
    assert_eq!(
        rig.hub.presence_page(&chat, Some("9"), 10),
        Presence { count: 25, ..Presence::default() }
    );
    let between = rig.hub.presence_page(&chat, Some("10a"), 1);
    assert_eq!((&*between.members[0].id, between.next.as_deref()), ("11", Some("11")));
}

#[test]
fn pages_list_each_member_that_stays_once_while_others_come_and_go() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let staying: Vec<_> = (0..100).map(|n| format!("stays-{n:02}")).collect();
    let _leases: Vec<_> = staying.iter().map(|id| rig.hub.join(&chat, Some(id))).collect();
    let mut others = Vec::new();
    let mut round = 0;
    let told = paged(&rig.hub, &chat, 7, || {
        round += 1;
        // They fall before, between and after those that stay; every third one leaves again.
        for at in 0..10 {
            others.push(rig.hub.join(&chat, Some(&format!("stays-{at}{round}-other"))));
        }
        let mut kept = 0;
        others.retain(|_| {
            kept += 1;
            kept % 3 > 0
        });
    });
    let mut sorted = told.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(told, sorted, "in order and none twice");
    assert!(staying.iter().all(|id| told.contains(id)), "{told:?}");
}

#[test]
fn a_watcher_of_many_members_that_is_too_slow_gets_the_first_page() {
    let (rig, chat) = (Rig::keeping(1), name("chat"));
    let mut watch = rig.hub.watch(&chat);
    let _leases: Vec<_> =
        (0..1000).map(|n| rig.hub.join(&chat, Some(&format!("{n:03}")))).collect();
    let told = all(&mut watch);
    let [PresenceChange::Anew(presence)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((presence.count, presence.members.len()), (1000, 100));
    assert_eq!(presence.next.as_deref(), Some("099"));
}
