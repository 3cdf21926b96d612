//! What a log has dropped, to be freed without its lock.

use std::sync::Arc;
use std::{iter, option, slice, vec};

use crate::Entry;

/// Entries in the order in which they were dropped: mostly one for one that came, for which nothing is allocated.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    /// Those before the last one. `None` where there are none, which is seen at once when this is freed.
    before: Option<Vec<Arc<Entry>>>,
    /// `None` only where there is none, or after it was [taken](Self::pop).
    last: Option<Arc<Entry>>,
}

impl Dropped {
    pub(crate) fn len(&self) -> usize {
        self.before().len() + usize::from(self.last.is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_none() && self.before().is_empty()
    }

    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        if let Some(before) = self.last.replace(entry) {
            self.before.get_or_insert_default().push(before);
        }
    }

    pub(crate) fn append(&mut self, others: Self) {
        others.into_iter().for_each(|entry| self.push(entry));
    }

    /// The one and only.
    pub(crate) fn only(&self) -> Option<&Arc<Entry>> {
        self.last.as_ref().filter(|_| self.before.is_none())
    }

    /// The one that was added last.
    pub(crate) fn last_mut(&mut self) -> Option<&mut Arc<Entry>> {
        self.last.as_mut()
    }

    /// Takes the one that was added last.
    pub(crate) fn pop(&mut self) -> Option<Arc<Entry>> {
        self.last.take()
    }

    pub(crate) fn iter(
        &self,
    ) -> iter::Chain<slice::Iter<'_, Arc<Entry>>, option::Iter<'_, Arc<Entry>>> {
        self.before().iter().chain(&self.last)
    }

    fn before(&self) -> &[Arc<Entry>] {
        self.before.as_deref().unwrap_or_default()
    }
}

impl IntoIterator for Dropped {
    type Item = Arc<Entry>;
    type IntoIter = iter::Chain<vec::IntoIter<Arc<Entry>>, option::IntoIter<Arc<Entry>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.before.unwrap_or_default().into_iter().chain(self.last)
    }
}
