//! Room is shared out fairly: an account that holds little finds room at the cost of the account
//! that holds most, never the other way round.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use sockeye_hub::{
    Capacity, ENTRY_OVERHEAD, GapReason, Holdings, IdempotencyKey, Options, Policy, Publication,
    PublishError, Share, Start,
};

#[cfg(feature = "fjall")]
use crate::restart::Kept;
use crate::sweep::cpu_time;
use crate::{Rig, full, gap, name, texts};

impl Rig {
    /// Publishes a text for an account.
    fn say_as(&self, account: &str, channel: &str, text: &str) -> Result<u64, PublishError> {
        let publication = Publication::text(text).account(account);
        self.hub.publish(&name(channel), publication).wait().map(|position| position.offset)
    }

    fn channels_of(&self, account: &str) -> u64 {
        self.hub.holdings(account).channels
    }

    fn bytes_of(&self, account: &str) -> u64 {
        self.hub.holdings(account).bytes
    }

    fn is_there(&self, channel: &str) -> bool {
        !self.hub.read(&name(channel), Start::Earliest, 1).entries.is_empty()
    }
}

fn slots(max_channels: u64) -> Options {
    Options::default().max_channels(max_channels)
}

fn bytes(max_bytes: u64) -> Options {
    Options::default().max_bytes(max_bytes)
}

const OWN: PublishError = PublishError::Full { capacity: Capacity::Channels, share: Share::Own };

/// The account that is first to publish on a channel is charged for it, as long as none has more on it.
#[test]
fn a_channel_that_a_flood_began_and_others_fill_is_theirs() {
    let rig = Rig::new(slots(20));
    rig.say_as("flood", "lobby", "x").unwrap();
    for number in 0..5 {
        rig.say_as("vic", "lobby", &number.to_string()).unwrap();
    }
    for number in 0..19 {
        rig.say_as("flood", &format!("m:{number}"), "x").unwrap();
    }
    for number in 0..3 {
        rig.say_as("other", &format!("o:{number}"), "x").unwrap();
    }
    assert_eq!(rig.hub.read(&name("lobby"), Start::Earliest, 10).entries.len(), 6);
    assert_eq!((rig.channels_of("vic"), rig.channels_of("other")), (1, 3));
    assert_eq!(rig.channels_of("flood"), 16);
}

#[test]
fn an_owner_of_all_channels_makes_room_for_others_longest_unused_first() {
    let rig = Rig::new(slots(100));
    for number in 0..100 {
        rig.say_as("flood", &format!("m:{number}"), "x").unwrap();
    }
    // A channel is used by publishing and by reading.
    rig.say_as("flood", "m:0", "x").unwrap();
    let reader = rig.hub.subscribe(&name("m:1"), Start::Now);
    rig.hub.read(&name("m:2"), Start::Earliest, 1);
    assert_eq!(rig.say_as("flood", "m:100", "x"), Err(OWN), "alone it has used up its own share");

    rig.say_as("ann", "ann", "x").unwrap();
    assert!(rig.is_there("m:0") && rig.is_there("m:1") && rig.is_there("m:2"));
    assert!(!rig.is_there("m:3"));
    assert_eq!((rig.channels_of("flood"), rig.channels_of("ann")), (99, 1));
    assert_eq!(rig.hub.figures().evicted_channels, 1);

    // Channels with readers stay whatever else goes.
    for number in 0..49 {
        rig.say_as("ann", &format!("ann:{number}"), "x").unwrap();
    }
    assert!(rig.is_there("m:1"));
    assert_eq!((rig.channels_of("flood"), rig.channels_of("ann")), (50, 50));
    assert_eq!(rig.say_as("ann", "ann:50", "x"), Err(OWN), "not below the other");
    drop(reader);

    // A reader that comes back to what is gone is told.
    let page = rig.hub.read(&name("m:3"), Start::After(rig.at(0)), 10);
    assert_eq!(page.gap.map(|gap| gap.why), Some(GapReason::Expired));
}

#[test]
fn an_account_that_used_all_its_channels_just_now_makes_room_too() {
    let rig = Rig::new(slots(4));
    for (account, channel) in [("cid", "c"), ("flood", "m:0"), ("flood", "m:1"), ("bob", "b")] {
        rig.say_as(account, channel, "x").unwrap();
    }
    rig.say_as("flood", "m:1", "x").unwrap();
    rig.say_as("flood", "m:0", "x").unwrap();
    rig.say_as("ann", "ann", "x").unwrap();
    assert_eq!((rig.channels_of("flood"), rig.channels_of("ann")), (1, 1));
}

#[test]
fn the_largest_owner_takes_nothing_from_others() {
    let rig = Rig::new(slots(10));
    rig.say_as("ann", "ann", "x").unwrap();
    for number in 0..9 {
        rig.say_as("flood", &format!("m:{number}"), "x").unwrap();
    }
    for number in 9..100 {
        assert_eq!(rig.say_as("flood", &format!("m:{number}"), "x"), Err(OWN));
    }
    assert!(rig.is_there("ann"));
    rig.say_as("flood", "m:0", "what it has goes on").unwrap();
}

#[test]
fn where_all_channels_of_the_largest_have_readers_the_refusal_says_so() {
    let rig = Rig::new(slots(4));
    let _readers: Vec<_> = (0..4)
        .map(|number| {
            let channel = format!("m:{number}");
            rig.say_as("flood", &channel, "x").unwrap();
            rig.hub.subscribe(&name(&channel), Start::Now)
        })
        .collect();
    let refused = rig.say_as("ann", "ann", "x").unwrap_err();
    assert_eq!(refused, PublishError::Full { capacity: Capacity::Channels, share: Share::Others });
    assert!(refused.to_string().contains("have readers"), "{refused}");
}

#[test]
fn presence_without_a_reader_keeps_a_channel_too() {
    let rig = Rig::new(slots(2));
    rig.say_as("flood", "m:0", "x").unwrap();
    rig.say_as("flood", "m:1", "x").unwrap();
    let lease = rig.hub.join(&name("m:0"), Some("bob"));
    rig.say_as("ann", "ann", "x").unwrap();
    assert!(rig.is_there("m:0") && !rig.is_there("m:1"));
    drop(lease);
}

#[test]
fn an_owner_of_all_bytes_makes_room_for_others() {
    // The figures of 66 channels with 16 MiB each and a bound of 1 GiB, a thousandth of them.
    let history_bytes = 16 << 10;
    let rig = Rig::new(bytes(1 << 20).history_bytes(history_bytes));
    let text = "x".repeat(1024 - ENTRY_OVERHEAD as usize);
    for number in 0..66 {
        for _ in 0..16 {
            // Past the bound a channel goes on with what it has, and a new one has nothing.
            let _ = rig.say_as("flood", &format!("m:{number}"), &text);
        }
    }
    assert_eq!(rig.bytes_of("flood"), 1 << 20);
    assert_eq!(rig.say_as("flood", "m:new", &text), Err(full(Capacity::Bytes)));
    let _reader = rig.hub.subscribe(&name("m:0"), Start::Now);

    rig.say_as("ann", "ann", &text).unwrap();
    assert!(rig.is_there("m:0") && !rig.is_there("m:1") && rig.is_there("m:2"));
    for number in 0..100 {
        for _ in 0..16 {
            let _ = rig.say_as("ann", &format!("ann:{number}"), &text);
        }
    }
    let (ann, flood) = (rig.bytes_of("ann"), rig.bytes_of("flood"));
    assert!(ann <= flood && flood - ann <= 32 << 10, "{ann} {flood}");
    assert!(rig.is_there("ann"), "nothing was taken from the one that holds less");
}

#[test]
fn readers_of_a_history_that_made_room_are_told_expired_and_none_is_closed_for_it() {
    let policies = vec!["*=close".parse().unwrap()];
    let rig = Rig::new(bytes(64 << 10).policies(policies));
    assert_eq!(rig.hub.figures().evicted_entries, 0);
    let mut reader = rig.hub.subscribe(&name("m:0"), Start::Earliest);
    let mut late = rig.hub.subscribe(&name("m:0"), Start::Earliest);
    for _ in 0..64 {
        rig.say_as("flood", "m:0", &"x".repeat(1024 - ENTRY_OVERHEAD as usize)).unwrap();
    }
    while reader.try_next().is_some() {}
    for _ in 0..8 {
        rig.say_as("ann", "ann", &"x".repeat(900)).unwrap();
    }
    assert!(reader.try_next().is_none(), "one that has read all has missed nothing");
    let missed = gap(late.try_next());
    assert_eq!((missed.why, late.is_over()), (GapReason::Expired, false));
    assert_eq!(missed.next.offset, rig.hub.figures().evicted_entries);
    // One that does not keep up is closed as ever.
    let mut slow = rig.hub.subscribe(&name("m:0"), Start::Earliest);
    for _ in 0..64 {
        rig.say_as("flood", "m:0", &"x".repeat(1024 - ENTRY_OVERHEAD as usize)).unwrap();
    }
    assert_eq!((gap(slow.try_next()).why, slow.is_over()), (GapReason::Slow, true));
    assert_eq!(rig.hub.subscribe(&name("m:0"), Start::Now).try_next().map(|_| Policy::Close), None);
}

#[test]
fn keys_make_room_when_nothing_else_does() {
    let rig = Rig::new(bytes(64 << 10).history_count(1));
    let say = |account: &str, key: String| {
        let key = IdempotencyKey::new(account, &key).unwrap();
        let publication = Publication::text("x").account(account).key(key);
        rig.hub.publish(&name("m"), publication).wait()
    };
    let mut keys = 0;
    while say("flood", format!("k{keys}")).is_ok() {
        keys += 1;
    }
    assert!(keys > 400, "{keys}");
    let first = say("ann", "k".to_owned()).unwrap();
    assert_eq!(say("ann", "k".to_owned()), Ok(first), "ann's is remembered");
    let forgotten = rig.hub.figures().evicted_keys;
    assert!((1..100).contains(&forgotten), "{forgotten}");
    let newest = say("flood", format!("k{}", keys - 1)).unwrap();
    assert_eq!(newest.offset, keys, "of the flood's the oldest went");
    assert!(say("flood", "k0".to_owned()).unwrap() > first);
}

#[test]
fn messages_count_for_their_publisher_not_for_the_maker_of_the_channel() {
    let rig = Rig::new(bytes(64 << 10));
    rig.say_as("ann", "ann", "small").unwrap();
    let ann = rig.hub.holdings("ann");
    let text = "x".repeat(900);
    for _ in 0..60 {
        rig.say_as("flood", "ann", &text).unwrap();
    }
    assert_eq!(rig.hub.holdings("ann"), ann);
    assert_eq!(rig.channels_of("flood"), 0);
    assert_eq!(rig.bytes_of("flood"), 60 * (900 + ENTRY_OVERHEAD));
    rig.hub.forget(&name("ann")).wait().unwrap();
    assert_eq!((rig.bytes_of("ann"), rig.bytes_of("flood")), (0, 0));
}

#[test]
fn a_message_of_an_accomplice_does_not_protect_the_history_behind_it() {
    let rig = Rig::new(bytes(64 << 10));
    rig.say_as("ann", "ann", "small").unwrap();
    for channel in ["m:0", "m:1", "m:2"] {
        rig.say_as("accomplice", channel, "x").unwrap();
        for _ in 0..20 {
            rig.say_as("flood", channel, &"x".repeat(1000)).unwrap();
        }
    }
    for number in 0..10 {
        rig.say_as("bob", "bob", &"x".repeat(900)).unwrap();
        assert_eq!(rig.hub.read(&name("bob"), Start::Earliest, 100).entries.len(), number + 1);
    }
    assert!(rig.is_there("ann"));
    assert_eq!(rig.bytes_of("bob"), 10 * (900 + ENTRY_OVERHEAD));
}

#[test]
fn a_channel_of_many_goes_on_when_all_is_full() {
    let rig = Rig::new(bytes(16 << 10));
    for round in 0..10 {
        for number in 0..30 {
            let said = rig.say_as(&format!("member-{number}"), "room", &"x".repeat(100));
            assert!(said.is_ok(), "round {round}, member {number}: {said:?}");
        }
    }
    assert!(rig.hub.figures().bytes <= 16 << 10);
}

#[test]
fn an_account_is_forgotten_with_the_last_it_holds() {
    let rig = Rig::new(slots(1000).history_count(2));
    for number in 0..500 {
        rig.say_as(&format!("one-{number}"), &format!("c{}", number % 100), "x").unwrap();
    }
    // Two messages in each of a hundred channels, which the first hundred made.
    assert_eq!(rig.hub.figures().accounts, 300);
    rig.pass(25 * 3_600_000);
    rig.hub.sweep();
    assert_eq!((rig.hub.figures().accounts, rig.hub.figures().bytes), (100, 0));
    assert_eq!(rig.hub.holdings("one-499"), Holdings::default());
}

#[test]
fn at_the_default_bound_a_flood_of_channels_ends_where_others_begin() {
    let rig = Rig::new(Options::default());
    for number in 0..100_000 {
        rig.say_as("flood", &format!("m:{number}"), "x").unwrap();
    }
    assert_eq!(rig.say_as("flood", "m:new", "x"), Err(OWN));
    for number in 0..2_000 {
        rig.say_as("ann", &format!("a:{number}"), "x").unwrap();
    }
    assert_eq!(rig.channels_of("ann"), 2_000);
    let figures = rig.hub.figures();
    assert!(figures.channels <= 100_000, "{figures:?}");
    assert!(figures.evicted_channels < 2_000 + 100_000 / 64, "{figures:?}");
    assert!(!rig.is_there("m:0") && rig.is_there("m:99999"));
}

/// Accounts of the model, and the channels that each publishes on alone.
const ACCOUNTS: [&str; 4] = ["", "ann", "bob", "cid"];

#[derive(Clone, Debug)]
enum Op {
    Publish { account: usize, channel: usize, len: usize, key: Option<u8> },
    Forget { account: usize, channel: usize },
    Sweep,
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let place = || (0..ACCOUNTS.len(), 0..12_usize);
    prop_oneof![
        20 => (place(), 0..400_usize, prop::option::weighted(0.3, 0..40_u8)).prop_map(
            |((account, channel), len, key)| Op::Publish { account, channel, len, key }
        ),
        1 => place().prop_map(|(account, channel)| Op::Forget { account, channel }),
        1 => Just(Op::Sweep),
        1 => (0..200_000_u64).prop_map(Op::Pass),
    ]
}

fn holdings(rig: &Rig) -> BTreeMap<&'static str, Holdings> {
    ACCOUNTS.iter().map(|account| (*account, rig.hub.holdings(account))).collect()
}

proptest! {
    #[test]
    fn room_never_goes_from_a_smaller_owner_to_a_larger_one(
        ops in prop::collection::vec(op(), 1..300),
        max_channels in 4..20_u64,
        max_bytes in 2_000..8_000_u64,
    ) {
        let rig = Rig::new(Options::default().max_channels(max_channels).max_bytes(max_bytes).history_count(8));
        for op in ops {
            let before = holdings(&rig);
            match op {
                Op::Publish { account, channel, len, key } => {
                    let account = ACCOUNTS[account];
                    let (text, channel) = ("x".repeat(len), name(&format!("c{account}:{channel}")));
                    let mut publication = Publication::text(&text).account(account);
                    let key = key.map(|key| IdempotencyKey::new(account, &key.to_string()).unwrap());
                    let need = len as u64 + ENTRY_OVERHEAD + key.as_ref().map_or(0, |_| 80);
                    publication.key = key;
                    let published = rig.hub.publish(&channel, publication).wait();
                    let after = holdings(&rig);
                    let mine = (before[account], after[account]);
                    for other in ACCOUNTS.iter().filter(|other| **other != account) {
                        let (was, is) = (before[other], after[other]);
                        prop_assert!(is.channels <= was.channels && is.bytes <= was.bytes);
                        // A channel that goes takes its bytes with it, and the reverse.
                        prop_assert!(
                            is == was
                                || (is.channels < was.channels && is.channels >= mine.1.channels)
                                || (is.bytes < was.bytes && is.bytes >= mine.1.bytes),
                            "{other}: {was:?} {is:?} for {account}: {mine:?}"
                        );
                    }
                    let holders = |held: fn(&Holdings) -> u64| {
                        let others = before.iter().filter(|(name, _)| **name != account);
                        others.filter(|(_, holdings)| held(holdings) > 0).count() as u64 + 1
                    };
                    let share = max_channels / holders(|held| held.channels);
                    let has_slots = mine.0.channels < share;
                    // A message that is as large as what others may lose may find no room.
                    let share = max_bytes / holders(|held| held.bytes);
                    let has_bytes = mine.0.bytes + need + 600 <= share;
                    if has_slots && has_bytes {
                        prop_assert!(published.is_ok(), "{account} {mine:?}: {published:?}");
                    }
                }
                Op::Forget { account, channel } => {
                    let channel = name(&format!("c{}:{channel}", ACCOUNTS[account]));
                    rig.hub.forget(&channel).wait().unwrap();
                }
                Op::Sweep => rig.hub.sweep(),
                Op::Pass(millis) => rig.pass(millis),
            }
            let (figures, sums) = (rig.hub.figures(), holdings(&rig));
            prop_assert!(figures.channels <= max_channels && figures.bytes <= max_bytes);
            prop_assert_eq!(sums.values().map(|held| held.channels).sum::<u64>(), figures.channels);
            let bytes = figures.bytes + figures.key_bytes;
            prop_assert_eq!(sums.values().map(|held| held.bytes).sum::<u64>(), bytes);
        }
    }
}

#[test]
fn what_is_left_of_a_history_is_whole() {
    let rig = Rig::new(bytes(16 << 10));
    for number in 0..200 {
        let _ = rig.say_as("flood", "m", &format!("{number:0>100}"));
    }
    for _ in 0..10 {
        rig.say_as("ann", "ann", &"x".repeat(500)).unwrap();
    }
    let page = rig.hub.read(&name("m"), Start::Earliest, 1000);
    let numbers: Vec<u64> = texts(&page.entries).iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(numbers.last(), Some(&199));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

#[test]
#[cfg(feature = "fjall")]
fn on_disk_room_is_shared_out_too_and_after_a_restart() {
    let mut kept = Kept::new(slots(64));
    for number in 0..64 {
        kept.rig.say_as("flood", &format!("m:{number}"), "x").unwrap();
        kept.rig.pass(1);
    }
    assert_eq!(kept.rig.say_as("flood", "m:new", "x"), Err(OWN));
    kept.restart();
    // The account of each channel is known still, and which was used last.
    assert_eq!(kept.rig.channels_of("flood"), 64);
    assert_eq!(kept.rig.say_as("flood", "m:new", "x"), Err(OWN));
    kept.rig.hub.read(&name("m:0"), Start::Earliest, 1);
    let reader = kept.rig.hub.subscribe(&name("m:1"), Start::Now);
    kept.rig.say_as("ann", "ann", "x").unwrap();
    assert_eq!((kept.rig.channels_of("flood"), kept.rig.channels_of("ann")), (63, 1));
    assert!(kept.rig.is_there("m:0") && kept.rig.is_there("m:1") && !kept.rig.is_there("m:2"));
    for number in 0..31 {
        kept.rig.say_as("ann", &format!("ann:{number}"), "x").unwrap();
    }
    assert_eq!(kept.rig.say_as("ann", "ann:new", "x"), Err(OWN));
    drop(reader);
    kept.restart();
    assert!(kept.rig.is_there("ann") && kept.rig.is_there("ann:30") && kept.rig.is_there("m:1"));
    assert!(!kept.rig.is_there("m:2"), "what went is gone for good");
    assert_eq!((kept.rig.channels_of("flood"), kept.rig.channels_of("ann")), (32, 32));
    // A channel that comes back gives no position twice.
    let page = kept.rig.hub.read(&name("m:2"), Start::After(kept.rig.at(0)), 10);
    assert_eq!(page.gap.map(|gap| gap.why), Some(GapReason::Expired));
    assert!(kept.rig.say_as("bob", "m:2", "x").unwrap() > 1);
}

#[test]
#[cfg(feature = "fjall")]
fn on_disk_bytes_in_memory_are_let_go_of_before_anything_is_lost() {
    let kept = Kept::new(bytes(64 << 10));
    for number in 0..20 {
        for _ in 0..10 {
            kept.rig.say_as("flood", &format!("m:{number}"), &"x".repeat(1000)).unwrap();
        }
    }
    kept.rig.say_as("ann", "ann", "x").unwrap();
    for number in 0..20 {
        let page = kept.rig.hub.read(&name(&format!("m:{number}")), Start::Earliest, 100);
        assert_eq!(page.entries.len(), 10, "m:{number}");
    }
    assert_eq!(kept.rig.hub.figures().evicted_entries, 0);
}

/// Prints the CPU time that publications take that make others lose room:
/// `cargo test --release -p sockeye-hub --test hub -- what_making_room_takes --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_making_room_takes() {
    let measure = |what: &str, count: u64, publish: &dyn Fn(u64) -> bool| {
        let mut times: Vec<_> = (0..count)
            .map(|number| {
                let begin = cpu_time();
                (publish(number), cpu_time() - begin).1
            })
            .collect();
        times.sort();
        let mean = times.iter().sum::<Duration>() / times.len() as u32;
        println!(
            "{what}: mean {mean:?}, p99 {:?}, p99.9 {:?}, max {:?}",
            times[times.len() * 99 / 100],
            times[times.len() * 999 / 1000],
            times[times.len() - 1]
        );
    };
    let rig = Rig::new(Options::default());
    let say = |rig: &Rig, account: &str, number: u64, text: &str| {
        rig.say_as(account, &format!("{account}:{number}"), text).is_ok()
    };
    measure("100,000 new channels", 100_000, &|number| say(&rig, "flood", number, "x"));
    measure("one more each, refused", 10_000, &|number| say(&rig, "flood", 100_000 + number, "x"));
    measure("50,000 of another account", 50_000, &|number| say(&rig, "ann", number, "x"));

    let (rig, text) = (Rig::new(Options::default()), "x".repeat(65_000));
    measure("1 GiB in 66 channels", 66 * 250, &|n| say(&rig, "flood", n / 250, &text));
    measure("256 MiB of another account", 4_000, &|n| say(&rig, "ann", n % 20, &text));

    let rig = Rig::new(Options::default());
    measure("100,000 accounts", 100_000, &|n| {
        rig.say_as(&format!("account-{n}"), &format!("m:{n}"), "x").is_ok()
    });
    measure("one of 100,000 accounts, refused", 10_000, &|n| say(&rig, "account-1", n, "x"));
}
