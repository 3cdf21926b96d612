//! A log with holes between its offsets answers as the one without them: the same entries, the same
//! gaps, the same counts, at the offsets that the entries have there.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::log::{Content, Cursor, FormCache, Log};
use crate::{
    Budget, Entry, Epoch, Gap, Item, Lag, Options, Page, Payload, Policy, Position, Start,
};

#[derive(Clone, Debug)]
enum Act {
    /// An entry comes, that many offsets after the one before, and that much later.
    Push(u64, u64),
    /// All but that many go.
    Trim(usize),
    Evict(usize),
    Forget,
    /// A reader begins behind an entry, that many offsets after it, if those are not another's.
    After(u64, u64),
    Begin(Start),
    /// A reader reads at most that many entries.
    Read(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let start = prop_oneof![
        Just(Start::Earliest),
        Just(Start::Now),
        Just(Start::Foreign),
        (0..12_u64).prop_map(Start::Last),
        (0..30_u64).prop_map(|span| Start::Since(Duration::from_millis(span))),
    ];
    prop_oneof![
        8 => (1..6_u64, 0..4_u64).prop_map(|(hole, later)| Act::Push(hole, later)),
        1 => (0..8_usize).prop_map(Act::Trim),
        1 => (0..4_usize).prop_map(Act::Evict),
        1 => Just(Act::Forget),
        3 => (0..30_u64, 0..6_u64).prop_map(|(entry, behind)| Act::After(entry, behind)),
        3 => start.prop_map(Act::Begin),
        6 => (0..8_usize, 0..5_usize).prop_map(|(reader, limit)| Act::Read(reader, limit)),
    ]
}

/// Both logs, and the offset of each entry of the dense one in the sparse one.
struct Logs {
    dense: Log,
    sparse: Log,
    offsets: Vec<u64>,
    epoch: Epoch,
    forms: FormCache,
    readers: Vec<(Cursor, Cursor)>,
    now: u64,
}

impl Logs {
    fn new() -> Self {
        let epoch = "k3f9".parse().unwrap();
        Self {
            dense: Log::new(epoch, 0),
            sparse: Log::new(epoch, 0),
            offsets: vec![0],
            epoch,
            forms: FormCache::new(0),
            readers: Vec::new(),
            now: 1_000,
        }
    }

    fn entry(&self, offset: u64) -> Arc<Entry> {
        let content = Content::new(Payload::Text("x".into()), None, 0);
        let position = Position { epoch: self.epoch, offset };
        Arc::new(Entry::new(position, self.now, content, &self.forms))
    }

    fn act(&mut self, act: Act, policy: Policy) {
        match act {
            Act::Push(hole, later) => {
                self.now += later;
                let dense = self.offsets.len() as u64;
                let sparse = self.offsets[self.offsets.len() - 1] + hole;
                self.dense.push(self.entry(dense));
                self.sparse.push(self.entry(sparse));
                self.offsets.push(sparse);
            }
            Act::Trim(count) => {
                let options = Options::default().history_count(count);
                let history = options.history_of(&"a".parse().unwrap());
                let dropped = self.dense.trim(history, self.now, usize::MAX).len();
                assert_eq!(self.sparse.trim(history, self.now, usize::MAX).len(), dropped);
            }
            Act::Evict(count) => {
                let dropped = self.dense.evict(count).len();
                assert_eq!(self.sparse.evict(count).len(), dropped);
            }
            Act::Forget => {
                assert_eq!(self.dense.forget().len(), self.sparse.forget().len());
            }
            Act::After(entry, behind) => {
                let entry = entry.min(self.offsets.len() as u64 - 1);
                let next = self.offsets.get(entry as usize + 1);
                let last = next.map_or(self.sparse_of(entry), |next| next - 1);
                let sparse = (self.sparse_of(entry) + behind).min(last);
                let after = |offset| Start::After(Position { epoch: self.epoch, offset });
                self.begin(after(entry), after(sparse), policy);
            }
            Act::Begin(start) => self.begin(start, start, policy),
            Act::Read(reader, limit) => self.read(reader, limit),
        }
    }

    fn begin(&mut self, dense: Start, sparse: Start, policy: Policy) {
        let readers = (
            self.dense.locate(dense, policy, self.now),
            self.sparse.locate(sparse, policy, self.now),
        );
        self.readers.push(readers);
    }

    fn read(&mut self, reader: usize, limit: usize) {
        let reader = reader % self.readers.len().max(1);
        if self.readers.is_empty() {
            return;
        }
        let (mut dense, mut sparse) = self.readers.swap_remove(reader);
        self.same_lag(&self.dense.lag(&dense), &self.sparse.lag(&sparse));
        if limit == 0 {
            match (self.dense.next(&mut dense), self.sparse.next(&mut sparse)) {
                (Some(Item::Entry(dense)), Some(Item::Entry(sparse))) => {
                    self.same_entries(&[dense], &[sparse]);
                }
                (Some(Item::Gap(dense)), Some(Item::Gap(sparse))) => self.same_gap(dense, sparse),
                (dense, sparse) => assert!(dense.is_none() && sparse.is_none()),
            }
        } else {
            let budget = Budget::entries(limit);
            let pages =
                (self.dense.page(&mut dense, budget), self.sparse.page(&mut sparse, budget));
            self.same_page(&pages.0, &pages.1);
        }
        self.same_lag(&self.dense.lag(&dense), &self.sparse.lag(&sparse));
        assert_eq!(dense.is_over(), sparse.is_over());
        self.readers.push((dense, sparse));
    }

    fn sparse_of(&self, dense: u64) -> u64 {
        self.offsets[dense as usize]
    }

    /// The same place: behind the same entry, and before the next.
    fn same_place(&self, dense: Position, sparse: Position) {
        let from = self.sparse_of(dense.offset);
        let next = self.offsets.get(dense.offset as usize + 1).copied().unwrap_or(u64::MAX);
        assert!((from..next).contains(&sparse.offset), "{dense} is not {sparse}");
    }

    fn same_entries(&self, dense: &[Arc<Entry>], sparse: &[Arc<Entry>]) {
        let mapped = dense.iter().map(|entry| self.sparse_of(entry.position.offset));
        assert!(mapped.eq(sparse.iter().map(|entry| entry.position.offset)));
    }

    fn same_gap(&self, dense: Gap, sparse: Gap) {
        assert_eq!(dense.why, sparse.why);
        self.same_place(dense.after, sparse.after);
        self.same_place(dense.next, sparse.next);
    }

    fn same_page(&self, dense: &Page, sparse: &Page) {
        self.same_entries(&dense.entries, &sparse.entries);
        self.same_place(dense.at, sparse.at);
        assert_eq!(dense.gap.is_some(), sparse.gap.is_some());
        dense.gap.zip(sparse.gap).into_iter().for_each(|(dense, sparse)| {
            self.same_gap(dense, sparse);
        });
    }

    fn same_lag(&self, dense: &Lag, sparse: &Lag) {
        assert_eq!((dense.entries, dense.gap), (sparse.entries, sparse.gap));
        self.same_place(dense.end, sparse.end);
    }
}

proptest! {
    #[test]
    fn holes_change_nothing_but_the_offsets(
        acts in prop::collection::vec(act(), 1..80),
        policy in prop_oneof![Just(Policy::Catchup), Just(Policy::Latest), Just(Policy::Close)],
    ) {
        let mut logs = Logs::new();
        for act in acts {
            logs.act(act, policy);
        }
    }
}
