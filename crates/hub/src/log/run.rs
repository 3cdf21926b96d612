//! Entries that follow each other, as readers take them: one list for all that take the same.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::log::{Forms, RunForm};
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
    /// What the entries take on the wire at most, in bytes.
    encoded_len: u64,
    /// `None` unless others may be given the same run.
    forms: Option<Forms>,
}

impl Run {
    /// A run for one reader alone or, if it is `shared`, for all that wait at the same place. No
    /// entries are no memory.
    pub(crate) fn new(entries: Vec<Arc<Entry>>, is_shared: bool) -> Self {
        let Some(first) = entries.first() else { return Self::default() };
        let forms = is_shared.then(|| first.forms_beside());
        let encoded_len = entries.iter().map(|entry| entry.encoded_len()).sum();
        Self(Some(Arc::new(Inner { entries: entries.into(), encoded_len, forms })))
    }

    /// The wire form of the run as a whole that `form` names, made by `make` of its entries.
    ///
    /// The form of a run that ends with the newest entry is made once for all readers that are given
    /// the run, and lives as long as it: the hub lets go of the run when the next entry comes, or a
    /// few seconds later; the readers when they have sent it. It counts in the cache as one of
    /// [`Entry::form`] does. The form of any other run is made for its reader alone.
    ///
    /// # Panics
    ///
    /// As [`Entry::form`].
    pub fn form(&self, form: &RunForm, make: impl FnOnce(&[Arc<Entry>]) -> Bytes) -> Bytes {
        match self.0.as_deref() {
            Some(Inner { entries, forms: Some(forms), .. }) => {
                forms.form(form.key(), || make(entries))
            }
            _ => make(self),
        }
    }

    /// This and what follows it, for a reader alone.
    pub(super) fn followed_by(&self, next: &Self) -> Self {
        Self::new(self.iter().chain(next).cloned().collect(), false)
    }

    /// What of it comes after that offset.
    pub(super) fn after(&self, offset: u64) -> Self {
        match self.partition_point(|entry| entry.position.offset <= offset) {
            0 => self.clone(),
            first => Self::new(self[first..].to_vec(), false),
        }
    }

    /// Whether it is what follows for a reader that takes that many entries, from `first` on.
    pub(crate) fn is(&self, first: &Arc<Entry>, count: usize) -> bool {
        self.len() == count && Arc::ptr_eq(&self[0], first)
    }

    pub(crate) fn fits(&self, budget: Budget) -> bool {
        let encoded_len = self.0.as_ref().map_or(0, |inner| inner.encoded_len);
        self.len() <= budget.entries && (encoded_len <= budget.bytes || self.len() == 1)
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
