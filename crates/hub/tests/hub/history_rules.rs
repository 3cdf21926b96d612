//! How much is kept of some channels only, in memory and on disk.

use std::time::Duration;

use sockeye_hub::{ChannelName, HistoryRule, Options, Publication, PublishError, Start};

use crate::{Rig, name, texts};

/// Ten entries of a channel for a minute; of some channels less, or more.
fn options() -> Options {
    let rule = |pattern: &str| HistoryRule::new(pattern.parse().unwrap());
    Options::default().history_count(10).history_bytes(100_000).history_age(MINUTE).history([
        rule("state:all"),
        rule("state:*").count(1),
        rule("long:*").count(20).age(10 * MINUTE),
        rule("small:*").bytes(500),
        rule("brief:*").age(MINUTE / 60),
    ])
}

const MINUTE: Duration = Duration::from_secs(60);

fn kept(rig: &Rig, channel: &ChannelName) -> usize {
    texts(&rig.hub.read(channel, Start::Earliest, 100).entries).len()
}

/// What is kept of channels under [`options`] when 15 were published on each.
fn check(rig: &Rig) {
    let expected = [("state:all", 10), ("state:a", 1), ("long:a", 15), ("brief:a", 10), ("x", 10)];
    for (channel, count) in expected {
        assert_eq!(kept(rig, &name(channel)), count, "{channel}");
    }
    let small = kept(rig, &name("small:a"));
    assert!((1..10).contains(&small), "{small} within 500 bytes");
}

fn publish(rig: &Rig) {
    for channel in ["state:all", "state:a", "long:a", "small:a", "brief:a", "x"] {
        rig.count_to(&name(channel), 15);
    }
}

/// What is left when some time has passed.
fn check_age(rig: &Rig) {
    rig.pass(1001);
    rig.hub.sweep();
    assert_eq!(kept(rig, &name("brief:a")), 0, "a second");
    assert_eq!(kept(rig, &name("x")), 10);
    rig.pass(MINUTE.as_millis() as u64);
    rig.hub.sweep();
    for (channel, count) in [("x", 0), ("state:a", 0), ("long:a", 15)] {
        assert_eq!(kept(rig, &name(channel)), count, "{channel}");
    }
    rig.pass(10 * MINUTE.as_millis() as u64);
    assert_eq!(kept(rig, &name("long:a")), 0);
}

#[test]
fn a_channel_keeps_what_the_first_rule_says_that_matches_it() {
    let rig = Rig::new(options());
    publish(&rig);
    check(&rig);
    check_age(&rig);
}

#[test]
fn an_entry_larger_than_the_history_of_its_channel_is_refused() {
    let rig = Rig::new(options());
    let large = "x".repeat(2000);
    let refused = rig.hub.publish(&name("small:a"), Publication::text(&large)).wait();
    assert!(matches!(refused, Err(PublishError::TooLarge { limit: 500, .. })), "{refused:?}");
    rig.say(&name("x"), &large);
}

#[test]
#[cfg(feature = "fjall")]
fn on_disk_it_is_the_same_over_restarts() {
    let mut kept_on_disk = crate::restart::Kept::new(options());
    publish(&kept_on_disk.rig);
    check(&kept_on_disk.rig);
    kept_on_disk.restart();
    check(&kept_on_disk.rig);
    // Channels that are not in memory are swept from the disk.
    kept_on_disk.restart();
    check_age(&kept_on_disk.rig);
    kept_on_disk.restart();
    for channel in ["long:a", "brief:a", "x"] {
        assert_eq!(kept(&kept_on_disk.rig, &name(channel)), 0, "{channel}");
    }
}
