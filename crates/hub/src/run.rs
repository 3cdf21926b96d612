//! Entries that follow each other, as readers take them: one list for all who take the same.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::forms::Forms;
use crate::{Budget, Entry};

/// Entries in order, without a hole between them; a slice of them. Cloning shares it.
///
/// Readers of a channel that wait at the same place are given the same run, so what is made of it
/// for the wire is made once for all of them, too: see [`form`](Self::form).
#[derive(Clone, Debug, Default)]
pub struct Run(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    entries: Box<[Arc<Entry>]>,
    /// What the entries are charged for, in bytes.
    charge: u64,
    forms: Forms,
}

impl Run {
    /// No entries are no memory.
    pub(crate) fn new(entries: Vec<Arc<Entry>>) -> Self {
        let Some(first) = entries.first() else { return Self::default() };
        let forms = first.forms_beside();
        let charge = entries.iter().map(|entry| entry.charge()).sum();
        Self(Some(Arc::new(Inner { entries: entries.into(), charge, forms })))
    }

    /// The wire form number `slot` of the run as a whole: made by `make` of its entries at its first
    /// use, then shared by all who hold the run. As with [`Entry::form`] those who share a hub agree
    /// on the numbers; the two have nothing to do with each other.
    ///
    /// A form lives as long as the run. The hub lets go of a run when the next entry comes, or a few
    /// seconds later; its readers when they have sent it. Its bytes are counted as those of
    /// [`Entry::form`] are.
    ///
    /// # Panics
    ///
    /// As [`Entry::form`].
    pub fn form(&self, slot: u8, make: impl FnOnce(&[Arc<Entry>]) -> Bytes) -> Bytes {
        match &self.0 {
            Some(inner) => inner.forms.form(slot, || make(&inner.entries)).clone(),
            None => make(&[]),
        }
    }

    /// Whether it is what follows for one whose next entries are so many, from `first` on.
    pub(crate) fn is(&self, first: &Arc<Entry>, count: usize) -> bool {
        self.len() == count && Arc::ptr_eq(&self[0], first)
    }

    pub(crate) fn fits(&self, budget: Budget) -> bool {
        let charge = self.0.as_ref().map_or(0, |inner| inner.charge);
        self.len() <= budget.entries && (charge <= budget.bytes || self.len() == 1)
    }
}

impl Deref for Run {
    type Target = [Arc<Entry>];

    fn deref(&self) -> &[Arc<Entry>] {
        self.0.as_ref().map_or(&[], |inner| &inner.entries)
    }
}

impl<'a> IntoIterator for &'a Run {
    type Item = &'a Arc<Entry>;
    type IntoIter = std::slice::Iter<'a, Arc<Entry>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
