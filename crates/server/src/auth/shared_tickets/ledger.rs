//! What the tickets of one node take in the cluster, by token and by account: no caller takes the room of
//! others.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use sockeye_hub::store::StoreError;
use tokio::time::Instant;

use super::{RECORD_STAYS, unavailable};
use crate::auth::NoTicket;
use crate::auth::tickets::{GOOD_FOR, LOOK_EVERY, OF_ONE_TOKEN};

/// Unused tickets that one node has issued, at most: of one account, and in all.
const OF_ONE_ACCOUNT: usize = 4096;
const OF_ALL: usize = 65_536;
/// What the unused tickets of one account that one node has issued may take in the cluster, and what the
/// used ones whose streams it has, in bytes: each a sixteenth of all.
const BYTES_OF_ACCOUNT: usize = 4 << 20;
/// What a record takes there beside its value, in bytes: its subject, headers and what JetStream adds.
const RECORD_OVERHEAD: usize = 256;

/// From which part of the cluster's room on, in per mille, an account that has more than that many bytes
/// gets no further ticket.
const FAIR: [(u32, usize); 2] = [(500, 256 << 10), (750, 16 << 10)];
/// From which part on no account gets one: what is left is for tickets that are being used.
const FULL: u32 = 875;

/// Memory of a ticket on the node that issued it, and of a stream that one has opened, roughly, in bytes.
pub(super) const COST: usize = 256;

pub(super) type TokenKey = [u8; 16];

/// The tickets that this node has issued in the last minute, and the streams that were opened here with any.
#[derive(Debug, Default)]
pub(super) struct TicketLedger {
    of_token: HashMap<TokenKey, TokenTickets>,
    of_account: HashMap<Box<str>, AccountTickets>,
    /// By the names of their records.
    streams: HashMap<String, OpenStream>,
    count: usize,
    looked: Option<Instant>,
}

/// What an account has.
#[derive(Debug, Default)]
struct AccountTickets {
    unused: usize,
    unused_bytes: usize,
    stream_bytes: usize,
}

impl AccountTickets {
    fn bytes(&self) -> usize {
        self.unused_bytes + self.stream_bytes
    }
}

#[derive(Debug)]
struct TokenTickets {
    account: Box<str>,
    tickets: VecDeque<IssuedTicket>,
    looked: Option<Instant>,
}

/// A ticket that was issued here.
#[derive(Debug)]
struct IssuedTicket {
    when: Instant,
    name: String,
    bytes: usize,
    /// The revision of its record while it is unused; 0 until it is stored.
    revision: u64,
}

/// What a ticket has opened here.
#[derive(Debug)]
struct OpenStream {
    account: Box<str>,
    bytes: usize,
    open: usize,
    ended: Instant,
}

impl TicketLedger {
    /// Counts one more ticket, if its token and its account may have it.
    pub(super) fn add(
        &mut self,
        key: TokenKey,
        account: &str,
        name: &str,
        length: usize,
        taken: u32,
    ) -> Result<(), NoTicket> {
        if taken >= FULL {
            return Err(NoTicket::Refused(unavailable(StoreError::NoSpace)));
        }
        let (now, bytes) = (Instant::now(), length + RECORD_OVERHEAD);
        self.look(now);
        let has_too_much = self.of_account.get(account).is_some_and(|account| {
            let held = account.bytes();
            account.unused >= OF_ONE_ACCOUNT
                || account.unused_bytes + bytes > BYTES_OF_ACCOUNT
                || FAIR.iter().any(|(from, most)| taken >= *from && held >= *most)
        });
        if self.count >= OF_ALL || has_too_much {
            return Err(NoTicket::TooMany(LOOK_EVERY));
        }
        let owner = self.of_token.entry(key).or_insert_with(|| TokenTickets {
            account: account.into(),
            tickets: VecDeque::new(),
            looked: None,
        });
        if owner.tickets.len() >= OF_ONE_TOKEN {
            let age = owner.tickets.front().map_or(GOOD_FOR, |issued| issued.when.elapsed());
            return Err(NoTicket::TooMany(GOOD_FOR.saturating_sub(age).max(LOOK_EVERY)));
        }
        owner.tickets.push_back(IssuedTicket {
            when: now,
            name: name.to_owned(),
            bytes,
            revision: 0,
        });
        self.count += 1;
        let account = self.of_account.entry(account.into()).or_default();
        account.unused += 1;
        account.unused_bytes += bytes;
        Ok(())
    }

    /// The ticket is stored.
    pub(super) fn set_revision(&mut self, key: &TokenKey, name: &str, to: u64) {
        let tickets = self.of_token.get_mut(key).map(|owner| &mut owner.tickets);
        for issued in tickets.into_iter().flatten().filter(|issued| issued.name == name) {
            issued.revision = to;
        }
    }

    /// The ticket is used, or was not stored.
    pub(super) fn remove(&mut self, key: &TokenKey, name: &str) {
        self.keep(key, |issued| issued.name != name);
    }

    /// A ticket opens a stream here. Whether its account may have a record that resumes it.
    pub(super) fn open(&mut self, account: &str, name: &str, length: usize) -> bool {
        let (now, bytes) = (Instant::now(), length + RECORD_OVERHEAD);
        self.look(now);
        if let Some(stream) = self.streams.get_mut(name) {
            stream.open += 1;
            return true;
        }
        let held = self.of_account.get(account).map_or(0, |account| account.stream_bytes);
        if held + bytes > BYTES_OF_ACCOUNT {
            return false;
        }
        self.of_account.entry(account.into()).or_default().stream_bytes += bytes;
        let stream = OpenStream { account: account.into(), bytes, open: 1, ended: now };
        self.streams.insert(name.to_owned(), stream);
        true
    }

    /// The stream has ended.
    pub(super) fn close(&mut self, name: &str) {
        if let Some(stream) = self.streams.get_mut(name) {
            stream.open = stream.open.saturating_sub(1);
            stream.ended = Instant::now();
        }
    }

    /// The memory of it, in bytes.
    pub(super) fn cost(&self) -> usize {
        (self.count + self.streams.len()) * COST
    }

    /// The tickets of a token that has as many as it may, at most once a second.
    pub(super) fn unused_of(&mut self, key: &TokenKey) -> Option<Vec<(String, u64)>> {
        let now = Instant::now();
        let owner = self.of_token.get_mut(key)?;
        let is_due = owner.looked.is_none_or(|looked| now - looked >= LOOK_EVERY);
        if owner.tickets.len() < OF_ONE_TOKEN || !is_due {
            return None;
        }
        owner.looked = Some(now);
        // Those without a revision are just being issued.
        let issued = owner.tickets.iter().filter(|issued| issued.revision > 0);
        Some(issued.map(|issued| (issued.name.clone(), issued.revision)).collect())
    }

    /// Drops what has no record any more, once a second.
    fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now - looked < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        for key in self.of_token.keys().copied().collect::<Vec<_>>() {
            self.keep(&key, |issued| now - issued.when < GOOD_FOR);
        }
        let has_ended =
            |stream: &OpenStream| stream.open == 0 && since(now, stream.ended) >= RECORD_STAYS;
        let ended = self.streams.extract_if(|_, stream| has_ended(stream));
        for (_, OpenStream { account, bytes, .. }) in ended {
            release(&mut self.of_account, &account, |account| account.stream_bytes -= bytes);
        }
    }

    fn keep(&mut self, key: &TokenKey, keeps: impl Fn(&IssuedTicket) -> bool) {
        let Some(owner) = self.of_token.get_mut(key) else { return };
        let (mut gone, mut bytes) = (0, 0);
        owner.tickets.retain(|issued| {
            let stays = keeps(issued);
            if !stays {
                gone += 1;
                bytes += issued.bytes;
            }
            stays
        });
        self.count -= gone;
        release(&mut self.of_account, &owner.account, |account| {
            account.unused -= gone;
            account.unused_bytes -= bytes;
        });
        if owner.tickets.is_empty() {
            self.of_token.remove(key);
        }
    }
}

fn since(now: Instant, then: Instant) -> Duration {
    now.saturating_duration_since(then)
}

/// An account has less.
fn release(
    accounts: &mut HashMap<Box<str>, AccountTickets>,
    name: &str,
    release: impl FnOnce(&mut AccountTickets),
) {
    let Some(account) = accounts.get_mut(name) else { return };
    release(account);
    if account.bytes() == 0 {
        accounts.remove(name);
    }
}
