//! Listing channels in slices: nothing is left out, and no slice does much.

use std::time::Duration;

use sockeye_hub::{ChannelName, ChannelPage, Options, Start};

use crate::{Rig, name};

/// The whole of a page, and how many slices it took.
fn list(rig: &Rig, (prefix, after): (&str, &str), limit: usize) -> (ChannelPage, usize) {
    let mut listing = rig.hub.begin_listing(prefix, after, limit);
    let mut slices = 1;
    while listing.slice() {
        slices += 1;
    }
    (listing.finish(), slices)
}

fn names(range: std::ops::Range<usize>) -> Vec<ChannelName> {
    range.map(|number| name(&format!("room:{number:05}"))).collect()
}

#[test]
fn pages_are_in_order_and_together_all_of_a_prefix() {
    let rig = Rig::new(Options::default());
    // From the last to the first, and others between them.
    for channel in names(0..3_000).iter().rev() {
        rig.repeat(channel, "hello", 1);
        rig.repeat(&name(&format!("other:{channel}")), "hello", 1);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (page, slices) = list(&rig, ("room:", &after), 700);
        assert_eq!(page.count, 3_000);
        assert!(slices >= 6_000 / 512, "{slices} slices");
        seen.extend(page.channels);
        if !page.has_more {
            break;
        }
        after = seen.last().unwrap().to_string();
    }
    assert_eq!(seen, names(0..3_000));
    assert_eq!(list(&rig, ("", ""), 1).0.count, 6_000);
    assert_eq!(list(&rig, ("room:00000x", ""), 1).0, ChannelPage::default());
    // As many as there are is one page.
    let (page, _) = list(&rig, ("room:", ""), 3_000);
    assert_eq!((page.channels.len(), page.has_more), (3_000, false));
}

#[test]
fn figures_say_what_is_kept_and_change_nothing() {
    let rig = Rig::new(Options::default().history_age(Duration::from_secs(10)));
    let (chat, news) = (name("chat"), name("news"));
    assert_eq!(rig.hub.channel_figures(&chat), None);
    rig.repeat(&chat, "hello", 3);
    let figures = rig.hub.channel_figures(&chat).unwrap();
    assert_eq!((figures.entries, figures.at), (3, rig.hub.position(&chat)));
    assert_eq!(figures.bytes, rig.hub.figures().bytes);
    assert!(figures.last_ts.is_some() && !figures.ended);
    let _reader = rig.hub.subscribe(&news, Start::Now);
    let figures = rig.hub.channel_figures(&news).unwrap();
    assert_eq!((figures.entries, figures.last_ts), (0, None));
    rig.pass(10_001);
    let figures = rig.hub.channel_figures(&chat).unwrap();
    assert_eq!((figures.entries, figures.bytes, figures.at), (0, 0, rig.hub.position(&chat)));
}

/// `cargo test --release -p sockeye-hub --test hub -- what_a_listing_takes --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_a_listing_takes() {
    let rig = Rig::new(Options::default());
    for number in 0..100_000 {
        rig.repeat(&name(&format!("m:{number}")), "x", 1);
    }
    for (prefix, limit) in [("", 1000), ("m:99", 10)] {
        let mut listing = rig.hub.begin_listing(prefix, "", limit);
        let mut times = Vec::new();
        let mut is_under_way = true;
        while is_under_way {
            let begin = std::time::Instant::now();
            is_under_way = listing.slice();
            times.push(begin.elapsed());
        }
        times.sort();
        let (sum, count): (Duration, _) = (times.iter().sum(), times.len());
        println!(
            "{count} slices: {sum:?}, median {:?}, max {:?}",
            times[count / 2],
            times[count - 1]
        );
    }
}
