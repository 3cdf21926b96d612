//! A list of channels, made a slice at a time, so that nothing is held for long.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::ChannelName;
use crate::channels::{Backing, Registry, Walk};

/// How many channels a slice looks at.
const SLICE: usize = 512;

/// A page of the channels that a hub knows, under way: see
/// [`Hub::begin_listing`](crate::Hub::begin_listing).
#[derive(Debug)]
pub struct Listing {
    registry: Arc<Registry>,
    stage: Stage,
    prefix: String,
    after: String,
    limit: usize,
    count: u64,
    /// The first ones of the page, and one more if there is one.
    names: BTreeSet<ChannelName>,
}

#[derive(Debug)]
enum Stage {
    InMemory(Walk),
    /// What a store keeps and is not in memory, behind this name.
    Kept(Option<ChannelName>),
    Done,
}

/// A page of channels, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelPage {
    /// How many channels there are on all pages.
    pub count: u64,
    /// Those of this page.
    pub channels: Vec<ChannelName>,
    /// Whether others follow.
    pub has_more: bool,
}

impl Listing {
    pub(crate) fn new(registry: Arc<Registry>, prefix: &str, after: &str, limit: usize) -> Self {
        let stage = Stage::InMemory(Walk::begin());
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        Self { registry, stage, prefix, after, limit, count: 0, names: BTreeSet::new() }
    }

    /// Looks at some hundreds of channels. Whether there are more to look at.
    pub fn slice(&mut self) -> bool {
        match &mut self.stage {
            Stage::InMemory(walk) => {
                let some = self.registry.map.some(walk, SLICE);
                if some.is_empty() {
                    self.stage = Stage::Kept(None);
                }
                some.iter().for_each(|channel| self.add(&channel.name));
            }
            Stage::Kept(behind) => {
                let behind = behind.take();
                self.stage = match self.kept(behind) {
                    Some(last) => Stage::Kept(Some(last)),
                    None => Stage::Done,
                };
            }
            Stage::Done => {}
        }
        !matches!(self.stage, Stage::Done)
    }

    /// What was found.
    pub fn finish(mut self) -> ChannelPage {
        let has_more = self.names.len() > self.limit;
        if has_more {
            self.names.pop_last();
        }
        ChannelPage { count: self.count, channels: self.names.into_iter().collect(), has_more }
    }

    /// Looks at some channels that a store keeps; gives the last one, unless there are no more.
    fn kept(&mut self, behind: Option<ChannelName>) -> Option<ChannelName> {
        if !matches!(self.registry.kept, Backing::Store(_)) {
            return None;
        }
        let from = match &behind {
            Some(name) => Bound::Excluded(name.as_str()),
            None => Bound::Included(self.prefix.as_str()),
        };
        let some = self.registry.map.slots.following(from, SLICE);
        for name in &some {
            if !name.as_str().starts_with(&self.prefix) {
                return None;
            }
            // Those in memory have been counted.
            if self.registry.map.find(name).is_err() {
                self.add(name);
            }
        }
        some.into_iter().next_back()
    }

    fn add(&mut self, name: &ChannelName) {
        if !name.as_str().starts_with(&self.prefix) {
            return;
        }
        self.count += 1;
        if name.as_str() <= self.after.as_str() {
            return;
        }
        let is_full = self.names.len() > self.limit;
        if is_full && self.names.last().is_some_and(|last| name >= last) {
            return;
        }
        self.names.insert(name.clone());
        if self.names.len() > self.limit + 1 {
            self.names.pop_last();
        }
    }
}
