//! How much memory the windows of clients may take together.

use alloc::sync::Arc;
use core::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

/// How many bytes the windows of clients may take, all connections together. Cloning shares it.
///
/// A server that lets a client's messages refer to earlier ones (RFC 7692 §7.1.1.2) keeps the last
/// bytes of them, up to 32 KiB. Many clients fail if a server forbids that unasked: those made with
/// Netty, Tornado or Mojolicious, say. So a server [lets them](crate::DeflateConfig::takeover_budget) as
/// long as this lasts, and forbids it beyond. What a connection may come to is taken from the budget at
/// its handshake, and given back at its end; the memory itself is taken when the client first sends
/// something compressed, and only as much as that needs.
///
/// The default is one budget for the whole process, of 64 MiB: enough for 2,048 clients with the
/// largest window.
///
/// ```
/// use sockeye_proto::{DeflateBudget, DeflateConfig};
///
/// let budget = DeflateBudget::new(8 << 20);
/// let config = DeflateConfig::default().takeover_budget(budget.clone());
/// assert_eq!((budget.limit(), budget.reserved()), (8 << 20, 0));
/// ```
#[derive(Clone, Default)]
pub struct DeflateBudget {
    /// `None`: the process's.
    own: Option<Arc<Account>>,
}

struct Account {
    limit: usize,
    reserved: AtomicUsize,
}

static OF_THE_PROCESS: Account = Account::new(64 << 20);

impl Account {
    const fn new(limit: usize) -> Self {
        Self { limit, reserved: AtomicUsize::new(0) }
    }
}

impl DeflateBudget {
    /// A budget of this many bytes. With 0, no client may keep its context.
    pub fn new(bytes: usize) -> Self {
        Self { own: Some(Arc::new(Account::new(bytes))) }
    }

    /// How many bytes there are in all.
    pub fn limit(&self) -> usize {
        self.account().limit
    }

    /// How many bytes the open connections may come to: never more than the limit.
    pub fn reserved(&self) -> usize {
        self.account().reserved.load(Ordering::Relaxed)
    }

    pub(super) fn reserve(&self, bytes: usize) -> Option<Arc<Reservation>> {
        let Account { limit, reserved } = self.account();
        let more = |before: usize| before.checked_add(bytes).filter(|after| after <= limit);
        reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Arc::new(Reservation { budget: self.clone(), bytes: AtomicUsize::new(bytes) }))
    }

    fn account(&self) -> &Account {
        self.own.as_deref().unwrap_or(&OF_THE_PROCESS)
    }
}

impl PartialEq for DeflateBudget {
    /// Whether they are the same budget.
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self.account(), other.account())
    }
}

impl Eq for DeflateBudget {}

impl fmt::Debug for DeflateBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeflateBudget")
            .field("limit", &self.limit())
            .field("reserved", &self.reserved())
            .finish()
    }
}

/// What one connection has taken; given back once, at the latest when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: DeflateBudget,
    bytes: AtomicUsize,
}

impl Reservation {
    pub(super) fn release(&self) {
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        self.budget.account().reserved.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}
