//! The wire forms of entries: a cache with a bound of its own, beside what is kept as history.
//!
//! A form is worth keeping while many readers take the same entry, which is while the entry is new:
//! the log [closes](EntryForms::close) the forms of an entry some seconds after it was published.
//! From then on, and while the cache is full, a form is made for its reader and not kept.

use std::mem;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

/// What a form that is kept is charged for beside its bytes, in bytes: its node here, the counter
/// that makes it shared, and what the allocator adds to both.
pub const FORM_OVERHEAD: u64 = 128;

/// Names a wire form of entries: see [`Entry::form`](crate::Entry::form). Each is another, wherever it
/// is declared:
///
/// ```
/// use sockeye_hub::EntryForm;
///
/// static LINE: EntryForm = EntryForm::new();
/// ```
#[derive(Debug)]
pub struct EntryForm(FormKey);

/// Names a wire form of runs of entries: see [`Run::form`](crate::Run::form).
#[derive(Debug)]
pub struct RunForm(FormKey);

/// The number of a form, 0 until it is used first: no two keys are given the same.
#[derive(Debug)]
pub(crate) struct FormKey(AtomicU32);

impl EntryForm {
    /// A form that is none of those there are.
    #[expect(clippy::new_without_default, reason = "each one is another, which no default says")]
    pub const fn new() -> Self {
        Self(FormKey::new())
    }

    pub(crate) fn key(&self) -> &FormKey {
        &self.0
    }
}

impl RunForm {
    /// A form that is none of those there are.
    #[expect(clippy::new_without_default, reason = "each one is another, which no default says")]
    pub const fn new() -> Self {
        Self(FormKey::new())
    }

    pub(crate) fn key(&self) -> &FormKey {
        &self.0
    }
}

impl FormKey {
    const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn number(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        match self.0.load(Relaxed) {
            0 => {
                let next = NEXT.fetch_add(1, Relaxed);
                match self.0.compare_exchange(0, next, Relaxed, Relaxed) {
                    Ok(_) => next,
                    Err(number) => number,
                }
            }
            number => number,
        }
    }
}

/// The cache of a hub: its bound, what it holds, and what the forms of entries begin and end as.
#[derive(Debug)]
pub(crate) struct FormCache {
    account: Arc<Account>,
    /// Shared by all entries of which no form was made yet.
    open: Arc<Forms>,
    /// Shared by all entries of which none is kept any more.
    closed: Arc<Forms>,
}

#[derive(Debug)]
struct Account {
    max_bytes: u64,
    bytes: AtomicU64,
    not_kept: AtomicU64,
}

impl FormCache {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let (bytes, not_kept) = (AtomicU64::new(0), AtomicU64::new(0));
        let account = Arc::new(Account { max_bytes, bytes, not_kept });
        let forms = |kind| Arc::new(Forms::new(kind, Arc::clone(&account)));
        Self { open: forms(Kind::Open), closed: forms(Kind::Closed), account }
    }

    /// The most bytes that it holds.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.account.max_bytes
    }

    /// What it holds, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.account.bytes.load(Relaxed)
    }

    /// How many forms were made and not kept because it was full.
    pub(crate) fn not_kept(&self) -> u64 {
        self.account.not_kept.load(Relaxed)
    }
}

impl Account {
    fn is_full(&self) -> bool {
        self.bytes.load(Relaxed) >= self.max_bytes
    }
}

/// What forms of one thing are, by how they came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// None yet: the first one begins a list of its own.
    Open,
    /// A list of one entry or run.
    Own,
    /// None any more.
    Closed,
}

/// A list that only ever grows at its end, so looking up a form takes no lock, and a thing pays
/// for the forms it has and not for those it might have.
#[derive(Debug)]
pub(crate) struct Forms {
    kind: Kind,
    first: OnceLock<Box<FormNode>>,
    account: Arc<Account>,
}

#[derive(Debug)]
struct FormNode {
    key: u32,
    bytes: OnceLock<Bytes>,
    next: OnceLock<Box<Self>>,
}

impl Forms {
    fn new(kind: Kind, account: Arc<Account>) -> Self {
        Self { kind, first: OnceLock::new(), account }
    }

    /// The form, made by `make` unless it is kept, and kept if there is room.
    ///
    /// The cache may pass its bound by the forms that are being made at the same time.
    pub(crate) fn form(&self, key: &FormKey, make: impl FnOnce() -> Bytes) -> Bytes {
        if self.kind != Kind::Own {
            let was_full = u64::from(self.kind == Kind::Open);
            self.account.not_kept.fetch_add(was_full, Relaxed);
            return make();
        }
        let (key, mut link) = (key.number(), &self.first);
        loop {
            // Of several threads that add a node at the same end one wins; the others look at what it
            // added and go on behind it if that is another form.
            let node = match link.get() {
                Some(node) => node,
                None if self.account.is_full() => {
                    self.account.not_kept.fetch_add(1, Relaxed);
                    return make();
                }
                None => link.get_or_init(|| Box::new(FormNode::new(key))),
            };
            if node.key == key {
                let kept = node.bytes.get_or_init(|| {
                    let bytes = make();
                    self.account.bytes.fetch_add(charge(&bytes), Relaxed);
                    bytes
                });
                return kept.clone();
            }
            link = &node.next;
        }
    }
}

impl FormNode {
    fn new(key: u32) -> Self {
        Self { key, bytes: OnceLock::new(), next: OnceLock::new() }
    }
}

impl Drop for Forms {
    fn drop(&mut self) {
        let mut link = self.first.get();
        while let Some(node) = link {
            let charge = node.bytes.get().map_or(0, charge);
            self.account.bytes.fetch_sub(charge, Relaxed);
            link = node.next.get();
        }
    }
}

fn charge(form: &Bytes) -> u64 {
    form.len() as u64 + FORM_OVERHEAD
}

/// The forms of an entry. One pointer, to what all entries share unless this one has forms.
#[derive(Debug)]
pub(crate) struct EntryForms(Mutex<Arc<Forms>>);

impl EntryForms {
    /// Those of an entry that is being published.
    pub(crate) fn open(cache: &FormCache) -> Self {
        Self(Mutex::new(Arc::clone(&cache.open)))
    }

    /// Those of an entry that was published long ago: never kept.
    pub(crate) fn closed(cache: &FormCache) -> Self {
        Self(Mutex::new(Arc::clone(&cache.closed)))
    }

    /// Makes them those of an entry that is being published, unless some are kept. Whether it did.
    pub(crate) fn open_again(&mut self, cache: &FormCache) -> bool {
        let forms = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        match forms.kind {
            Kind::Open => true,
            Kind::Closed => {
                *forms = Arc::clone(&cache.open);
                true
            }
            Kind::Own => false,
        }
    }

    pub(crate) fn form(&self, key: &FormKey, make: impl FnOnce() -> Bytes) -> Bytes {
        self.own().form(key, make)
    }

    /// Forms of something else that are counted in the same place.
    pub(crate) fn beside(&self) -> Forms {
        Forms::new(Kind::Own, Arc::clone(&self.lock().account))
    }

    /// Keeps no form any more, and drops those it has.
    pub(crate) fn close(&self, cache: &FormCache) {
        let kept = mem::replace(&mut *self.lock(), Arc::clone(&cache.closed));
        // Freed without the lock.
        drop(kept);
    }

    /// The list to look in. It is used without the lock, so that a form which takes long to make
    /// delays those alone that want the same one.
    fn own(&self) -> Arc<Forms> {
        let mut forms = self.lock();
        if forms.kind == Kind::Open && !forms.account.is_full() {
            let account = Arc::clone(&forms.account);
            *forms = Arc::new(Forms::new(Kind::Own, account));
        }
        Arc::clone(&forms)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Forms>> {
        // The pointer is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
