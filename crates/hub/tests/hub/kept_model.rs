//! A hub that keeps its channels and is ended and opened at any moment against one in memory that
//! never is: they cannot be told apart.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use sockeye_hub::{
    EventName, GapReason, IdempotencyKey, Item, Json, Options, Page, Position, Publication,
    PublishError, Reader, Start,
};

use crate::restart::Kept;
use crate::{Rig, name};

const CHANNELS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Op {
    Publish {
        channel: usize,
        kind: u8,
        key: Option<u8>,
    },
    /// Several at once, before any is awaited.
    PublishMany {
        channel: usize,
        count: usize,
        key: u8,
    },
    Forget(usize),
    End(usize),
    Pass(u64),
    Sweep,
    Restart,
    Read {
        channel: usize,
        start: Where,
    },
    Subscribe {
        channel: usize,
        start: Where,
    },
    Next(usize),
}

/// Where a reader begins, without the epoch, which the two hubs do not share.
#[derive(Clone, Copy, Debug)]
enum Where {
    After(u64),
    Any(Start),
}

fn place() -> impl Strategy<Value = Where> {
    prop_oneof![
        (0..40_u64).prop_map(Where::After),
        Just(Where::Any(Start::Earliest)),
        Just(Where::Any(Start::Now)),
        (0..6_u64).prop_map(|count| Where::Any(Start::Last(count))),
        (0..700_u64).prop_map(|s| Where::Any(Start::Since(Duration::from_secs(s)))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let channel = || 0..CHANNELS.len();
    prop_oneof![
        8 => (channel(), 0..4_u8, prop::option::of(0..6_u8))
            .prop_map(|(channel, kind, key)| Op::Publish { channel, kind, key }),
        2 => (channel(), 2..12_usize, 0..6_u8)
            .prop_map(|(channel, count, key)| Op::PublishMany { channel, count, key }),
        1 => channel().prop_map(Op::Forget),
        1 => channel().prop_map(Op::End),
        2 => prop_oneof![0..10_u64, 1_000..400_000_u64].prop_map(Op::Pass),
        1 => Just(Op::Sweep),
        2 => Just(Op::Restart),
        4 => (channel(), place()).prop_map(|(channel, start)| Op::Read { channel, start }),
        2 => (channel(), place()).prop_map(|(channel, start)| Op::Subscribe { channel, start }),
        6 => (0..8_usize).prop_map(Op::Next),
    ]
}

/// What a hub said, without the epoch.
#[derive(Debug, PartialEq)]
enum Said {
    Published(Vec<Result<u64, PublishError>>),
    Page(Option<(u64, u64, GapReason)>, Vec<(u64, u64, String, Option<EventName>)>, u64, bool),
    End(u64),
    Item(Option<(u64, u64, String)>, Option<(u64, u64, GapReason)>, u64),
    Nothing,
}

/// One of the two, with its readers.
struct World<R> {
    rig: R,
    readers: Vec<Reader>,
}

trait Hubbed {
    fn rig(&self) -> &Rig;
    fn restart(&mut self) {}
}

impl Hubbed for Rig {
    fn rig(&self) -> &Rig {
        self
    }
}

impl Hubbed for Kept {
    fn rig(&self) -> &Rig {
        &self.rig
    }

    fn restart(&mut self) {
        Self::restart(self);
    }
}

impl<R: Hubbed> World<R> {
    fn run(&mut self, op: &Op) -> Said {
        let rig = self.rig.rig();
        match *op {
            Op::Publish { channel, kind, key } => {
                Said::Published(self.publish(channel, kind, [key]))
            }
            Op::PublishMany { channel, count, key } => {
                let keys = (0..count).map(|n| (n % 3 == 0).then_some(key));
                Said::Published(self.publish(channel, 0, keys))
            }
            Op::Forget(channel) => {
                rig.hub.forget(&name(CHANNELS[channel])).wait().unwrap();
                Said::Nothing
            }
            Op::End(channel) => {
                let ended = rig.hub.end(&name(CHANNELS[channel]), "ann").wait();
                Said::Published(vec![ended.map(|position| position.offset)])
            }
            Op::Pass(millis) => {
                rig.pass(millis);
                Said::Nothing
            }
            Op::Sweep => {
                rig.hub.sweep();
                Said::Nothing
            }
            Op::Restart => {
                self.restart();
                Said::Nothing
            }
            Op::Read { channel, start } => {
                Said::page(&rig.hub.read(&name(CHANNELS[channel]), rig.start(start), 7))
            }
            Op::Subscribe { channel, start } => {
                let reader = rig.hub.subscribe(&name(CHANNELS[channel]), rig.start(start));
                self.readers.push(reader);
                Said::Nothing
            }
            Op::Next(reader) => match self.readers.get_mut(reader) {
                Some(reader) => Said::item(reader),
                None => Said::Nothing,
            },
        }
    }

    fn publish(
        &self,
        channel: usize,
        kind: u8,
        keys: impl IntoIterator<Item = Option<u8>>,
    ) -> Vec<Result<u64, PublishError>> {
        let (hub, channel) = (&self.rig.rig().hub, name(CHANNELS[channel]));
        let publish = |(number, key): (usize, Option<u8>)| {
            let text = format!("{number}{key:?}");
            let mut publication = match kind {
                0 => Publication::text(&text),
                1 => Publication::json(Json::parse("[1, 2]").unwrap()),
                2 => Publication::bytes(&[0, 0xff]),
                _ => Publication::text("").event("named".parse().unwrap()),
            };
            publication.key = key.map(|key| IdempotencyKey::new("ann", &key.to_string()).unwrap());
            hub.publish(&channel, publication)
        };
        let under_way: Vec<_> = keys.into_iter().enumerate().map(publish).collect();
        under_way.into_iter().map(|one| one.wait().map(|position| position.offset)).collect()
    }

    /// Ends the hub if it is one that can be; the readers come back to it where they stood.
    fn restart(&mut self) {
        let stood: Vec<_> =
            self.readers.drain(..).map(|r| (r.channel().clone(), r.position())).collect();
        self.rig.restart();
        let hub = &self.rig.rig().hub;
        let back = stood.into_iter().map(|(channel, at)| hub.subscribe(&channel, Start::After(at)));
        self.readers = back.collect();
    }
}

impl Rig {
    fn start(&self, start: Where) -> Start {
        match start {
            Where::After(offset) => Start::After(self.at(offset)),
            Where::Any(start) => start,
        }
    }
}

impl Said {
    fn page(page: &Page) -> Self {
        let gap = page.gap.map(|gap| (gap.after.offset, gap.next.offset, gap.why));
        let entries = page.entries.iter().map(|entry| {
            let payload = format!("{:?}", entry.payload);
            (entry.position.offset, entry.ts, payload, entry.event.clone())
        });
        Self::Page(gap, entries.collect(), page.at.offset, page.end)
    }

    fn item(reader: &mut Reader) -> Self {
        let (mut entry, mut gap) = (None, None);
        match reader.try_next() {
            Some(Item::Entry(read)) => {
                entry = Some((read.position.offset, read.ts, format!("{:?}", read.payload)));
            }
            Some(Item::Gap(told)) => gap = Some((told.after.offset, told.next.offset, told.why)),
            Some(Item::End(at)) => return Self::End(at.offset),
            None => {}
        }
        let Position { offset, .. } = reader.position();
        Self::Item(entry, gap, offset)
    }
}

/// Runs this in both, which have to say the same.
fn both_say_the_same(ops: &[Op]) -> Result<(), TestCaseError> {
    let options = Options::default().history_count(6).history_age(Duration::from_secs(600));
    let mut lasting = World { rig: Rig::new(options.clone()), readers: Vec::new() };
    let mut kept = World { rig: Kept::new(options), readers: Vec::new() };
    let epoch = kept.rig.rig.hub.epoch();
    for op in ops {
        let (said, expected) = (kept.run(op), lasting.run(op));
        prop_assert_eq!(said, expected, "{:?}", op);
    }
    prop_assert_eq!(kept.rig.rig.hub.epoch(), epoch);
    Ok(())
}

#[test]
fn what_is_too_old_goes_by_a_publication_that_adds_nothing() {
    let subscribe = || Op::Subscribe { channel: 0, start: Where::Any(Start::Earliest) };
    let publish = |key| Op::Publish { channel: 0, kind: 0, key };
    let refused = [publish(None), Op::Pass(400_000), Op::End(0), Op::Pass(250_000), publish(None)];
    let (key, later) = (Some(1), Op::Pass(250_000));
    let repeated = [publish(None), Op::Pass(400_000), publish(key), later, publish(key)];
    for ops in [refused, repeated] {
        let ops: Vec<_> = [subscribe()].into_iter().chain(ops).chain([Op::Next(0)]).collect();
        both_say_the_same(&ops).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_that_is_kept_and_one_that_never_ends_say_the_same(
        ops in prop::collection::vec(op(), 1..80),
    ) {
        both_say_the_same(&ops)?;
    }
}
