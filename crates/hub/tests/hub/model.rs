//! Any sequence of operations gives what a simple model says: a channel that remembers everything
//! it ever had, and how much of its beginning is gone.

use std::time::Duration;

use proptest::prelude::*;
use sockeye_hub::{Budget, ENTRY_OVERHEAD, Gap, GapReason, Item, Options, Position, Reader, Start};

use crate::{Rig, foreign, name, text};

const CHANNELS: [&str; 2] = ["chat", "news"];
const COUNT: usize = 5;
const BYTES: u64 = 4 * ENTRY_OVERHEAD;
const AGE: u64 = 40;

#[derive(Clone, Debug)]
enum Op {
    Publish { channel: usize, len: usize },
    Pass(u64),
    Sweep,
    Forget(usize),
    Read { channel: usize, start: Origin, limit: usize },
    Subscribe { channel: usize, start: Origin },
    Next(prop::sample::Index),
    NextPage(prop::sample::Index, usize),
    Resume(prop::sample::Index),
}

/// A start whose position is not bound to an epoch yet.
#[derive(Clone, Debug)]
enum Origin {
    Ours(u64),
    Of(Start),
}

fn place() -> impl Strategy<Value = Origin> {
    prop_oneof![
        3 => (0_u64..15).prop_map(Origin::Ours),
        1 => Just(Origin::Of(Start::After(foreign()))),
        1 => Just(Origin::Of(Start::Foreign)),
        1 => Just(Origin::Of(Start::Earliest)),
        1 => Just(Origin::Of(Start::Now)),
        1 => (0_u64..8).prop_map(|count| Origin::Of(Start::Last(count))),
        1 => (0_u64..50).prop_map(|span| Origin::Of(Start::Since(Duration::from_millis(span)))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let channel = 0..CHANNELS.len();
    let reader = any::<prop::sample::Index>;
    prop_oneof![
        6 => (channel.clone(), 0_usize..80).prop_map(|(channel, len)| Op::Publish { channel, len }),
        2 => (0_u64..25).prop_map(Op::Pass),
        1 => Just(Op::Sweep),
        1 => channel.clone().prop_map(Op::Forget),
        2 => (channel.clone(), place(), 0_usize..7)
            .prop_map(|(channel, start, limit)| Op::Read { channel, start, limit }),
        2 => (channel, place()).prop_map(|(channel, start)| Op::Subscribe { channel, start }),
        5 => reader().prop_map(Op::Next),
        2 => (reader(), 1_usize..7).prop_map(|(reader, limit)| Op::NextPage(reader, limit)),
        1 => reader().prop_map(Op::Resume),
    ]
}

/// All that was ever published on a channel, as (text, time).
#[derive(Default)]
struct Log {
    all: Vec<(String, u64)>,
    /// How many of the first are gone.
    gone: usize,
    /// How many of the first were forgotten on purpose.
    forgotten: usize,
    forgets: usize,
}

/// What a reader ought to know.
struct Cursor {
    channel: usize,
    stood: Position,
    read: usize,
    lost: Option<GapReason>,
    forgets: usize,
    has_missed: bool,
}

impl Log {
    fn trim(&mut self, now: u64) {
        let charge = |kept: &[(String, u64)]| {
            kept.iter().map(|(text, _)| text.len() as u64 + ENTRY_OVERHEAD).sum::<u64>()
        };
        while let kept = &self.all[self.gone..]
            && !kept.is_empty()
            && (kept.len() > COUNT || charge(kept) > BYTES || kept[0].1 + AGE < now)
        {
            self.gone += 1;
        }
    }

    fn locate(&self, channel: usize, start: Start, rig: &Rig) -> Cursor {
        let mut lost = None;
        let mut stood = None;
        let read = match start {
            Start::Now => self.all.len(),
            Start::Foreign => {
                (lost, stood) = (Some(GapReason::Reset), Some(rig.at(0)));
                self.gone
            }
            Start::Earliest => self.gone,
            Start::Last(count) => self.gone.max(self.all.len().saturating_sub(count as usize)),
            Start::Since(span) => {
                let oldest = rig.time() - span.as_millis() as u64;
                let kept = &self.all[self.gone..];
                self.gone + kept.iter().filter(|(_, ts)| *ts < oldest).count()
            }
            Start::After(position) => {
                let offset = position.offset as usize;
                stood = Some(position);
                if position.epoch != rig.hub.epoch()
                    || offset > self.all.len()
                    || offset < self.forgotten
                {
                    lost = Some(GapReason::Reset);
                } else if offset < self.gone {
                    lost = Some(GapReason::Expired);
                }
                if lost.is_some() { self.gone } else { offset }
            }
        };
        let stood = stood.unwrap_or(rig.at(read as u64));
        Cursor { channel, stood, read, lost, forgets: self.forgets, has_missed: false }
    }

    fn gap(&self, cursor: &mut Cursor, rig: &Rig) -> Option<Gap> {
        let slow = (cursor.read < self.gone).then_some(GapReason::Slow);
        let reset = (cursor.forgets < self.forgets).then_some(GapReason::Reset);
        let why = reset.or(cursor.lost).or(slow)?;
        let gap = Gap { after: cursor.stood, next: rig.at(self.gone as u64), why };
        let is_deletion = reset.is_some() && cursor.lost.is_none() && self.gone == self.forgotten;
        *cursor = Cursor {
            stood: gap.next,
            read: self.gone,
            lost: None,
            forgets: self.forgets,
            has_missed: !is_deletion,
            ..*cursor
        };
        Some(gap)
    }

    /// The next entry as (text, offset, time).
    fn entry(&self, cursor: &mut Cursor, rig: &Rig) -> Option<(&str, u64, u64)> {
        let (text, ts) = self.all.get(cursor.read)?;
        cursor.read += 1;
        cursor.stood = rig.at(cursor.read as u64);
        Some((text, cursor.read as u64, *ts))
    }
}

struct World {
    rig: Rig,
    logs: [Log; CHANNELS.len()],
    readers: Vec<(Reader, Cursor)>,
}

impl World {
    fn new() -> Self {
        let rig = Rig::new(
            Options::default()
                .history_count(COUNT)
                .history_bytes(BYTES)
                .history_age(Duration::from_millis(AGE)),
        );
        Self { rig, logs: Default::default(), readers: Vec::new() }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Publish { channel, len } => self.publish(channel, len),
            Op::Pass(millis) => self.rig.pass(millis),
            Op::Sweep => {
                self.rig.hub.sweep();
                self.logs.iter_mut().for_each(|log| log.trim(self.rig.time()));
            }
            Op::Forget(channel) => self.forget(channel),
            Op::Read { channel, start, limit } => {
                let start = self.start(start);
                self.read(channel, start, limit);
            }
            Op::Subscribe { channel, start } => {
                let start = self.start(start);
                self.subscribe(channel, start);
            }
            Op::Next(reader) if !self.readers.is_empty() => {
                self.next(reader.index(self.readers.len()));
            }
            Op::NextPage(reader, limit) if !self.readers.is_empty() => {
                self.next_page(reader.index(self.readers.len()), limit);
            }
            Op::Resume(reader) if !self.readers.is_empty() => {
                // A reader that leaves and comes back to where it stood goes on there.
                let (reader, cursor) = self.readers.swap_remove(reader.index(self.readers.len()));
                assert_eq!(reader.position(), cursor.stood);
                self.subscribe(cursor.channel, Start::After(reader.position()));
            }
            Op::Next(_) | Op::NextPage(..) | Op::Resume(_) => {}
        }
    }

    fn start(&self, place: Origin) -> Start {
        match place {
            Origin::Ours(offset) => Start::After(self.rig.at(offset)),
            Origin::Of(start) => start,
        }
    }

    fn publish(&mut self, channel: usize, len: usize) {
        let log = &mut self.logs[channel];
        let text = format!("{:0len$}", log.all.len());
        let position = self.rig.say(&name(CHANNELS[channel]), &text);
        log.all.push((text, self.rig.time()));
        log.trim(self.rig.time());
        assert_eq!(position, self.rig.at(log.all.len() as u64));
    }

    fn forget(&mut self, channel: usize) {
        self.rig.hub.forget(&name(CHANNELS[channel])).wait().unwrap();
        let log = &mut self.logs[channel];
        // Forgetting a channel the hub does not know forgets nothing.
        let open = self.readers.iter().any(|(_, cursor)| cursor.channel == channel);
        if open || !log.all.is_empty() {
            log.gone = log.all.len();
            log.forgotten = log.gone;
            log.forgets += 1;
        }
    }

    fn subscribe(&mut self, channel: usize, start: Start) {
        let reader = self.rig.hub.subscribe(&name(CHANNELS[channel]), start);
        let log = &mut self.logs[channel];
        log.trim(self.rig.time());
        let cursor = log.locate(channel, start, &self.rig);
        assert_eq!(reader.position(), cursor.stood);
        assert_eq!(reader.lag().entries as usize, log.all.len() - cursor.read);
        assert_eq!(reader.lag().gap, cursor.lost);
        self.readers.push((reader, cursor));
    }

    fn read(&mut self, channel: usize, start: Start, limit: usize) {
        let page = self.rig.hub.read(&name(CHANNELS[channel]), start, limit);
        let log = &mut self.logs[channel];
        log.trim(self.rig.time());
        let mut cursor = log.locate(channel, start, &self.rig);
        assert_eq!(page.gap, log.gap(&mut cursor, &self.rig));
        let mut entries = page.entries.iter();
        for expected in std::iter::from_fn(|| log.entry(&mut cursor, &self.rig)).take(limit) {
            let entry = entries.next().unwrap();
            assert_eq!((text(entry), entry.position.offset, entry.ts), expected);
        }
        assert_eq!(entries.len(), 0);
        assert_eq!(page.at, page.entries.last().map_or(cursor.stood, |entry| entry.position));
    }

    fn next(&mut self, reader: usize) {
        let (reader, cursor) = &mut self.readers[reader];
        let log = &self.logs[cursor.channel];
        match (reader.try_next(), log.gap(cursor, &self.rig)) {
            (Some(Item::Gap(gap)), expected) => assert_eq!(Some(gap), expected),
            (Some(Item::Entry(entry)), None) => {
                let seen = (text(&entry), entry.position.offset, entry.ts);
                assert_eq!(Some(seen), log.entry(cursor, &self.rig));
            }
            (None, None) => assert_eq!(cursor.read, log.all.len()),
            (Some(Item::End(at)), None) => panic!("ended at {at}"),
            (item, Some(gap)) => panic!("{item:?} instead of {gap:?}"),
        }
        assert_eq!((reader.position(), reader.has_missed()), (cursor.stood, cursor.has_missed));
    }

    fn next_page(&mut self, reader: usize, limit: usize) {
        let (reader, cursor) = &mut self.readers[reader];
        let log = &self.logs[cursor.channel];
        let page = reader.try_next_page(Budget::entries(limit));
        let gap = log.gap(cursor, &self.rig);
        let expected: Vec<_> =
            std::iter::from_fn(|| log.entry(cursor, &self.rig).map(|(text, ..)| text))
                .take(limit)
                .collect();
        match page {
            Some(page) => {
                assert_eq!((page.gap, crate::texts(&page.entries)), (gap, expected));
                assert_eq!(page.at, cursor.stood);
            }
            None => assert_eq!((gap, expected.len()), (None, 0)),
        }
        assert_eq!((reader.position(), reader.has_missed()), (cursor.stood, cursor.has_missed));
    }

    /// What the hub counts is what the model holds.
    fn check_figures(&self) {
        let figures = self.rig.hub.figures();
        let kept = self.logs.iter().flat_map(|log| &log.all[log.gone..]);
        let (count, bytes) = kept.fold((0, 0), |(count, bytes), (text, _)| {
            (count + 1, bytes + text.len() as u64 + ENTRY_OVERHEAD)
        });
        assert_eq!((figures.entries, figures.bytes), (count, bytes));
        assert_eq!(figures.readers, self.readers.len() as u64);
        let known = |channel: usize, log: &Log| {
            !log.all.is_empty() || self.readers.iter().any(|(_, c)| c.channel == channel)
        };
        let channels = self.logs.iter().enumerate().filter(|(n, log)| known(*n, log)).count();
        assert_eq!(figures.channels, channels as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_give_what_the_model_gives(ops in prop::collection::vec(op(), 1..150)) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
            world.check_figures();
        }
    }
}
