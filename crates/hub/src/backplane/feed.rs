//! The feed of a shard, without I/O and without a clock: what comes live and what is fetched to fill
//! holes, made into every message once and in order.
//!
//! The sequence of a shard is dense: every stored message is announced once, so a number that is left
//! out is a message that was missed. It is fetched from the engine; what the engine does not hold any
//! more was trimmed there, and is passed over.

use std::collections::BTreeMap;

use super::{Arrival, What};

/// What a message that is held back takes beside its texts and its payload, in bytes.
const OVERHEAD: usize = 256;

/// The feed of one shard.
///
/// Give it what comes, in whatever order and however often: [`live`](Self::live) what is announced,
/// [`filled`](Self::filled) what was fetched because [`fill`](Self::fill) said so. After each,
/// [`take`](Self::take) gives what follows.
#[derive(Debug)]
pub struct Feed {
    /// Everything up to this offset was given.
    verified: u64,
    /// The time of the message with that offset, or later, in milliseconds since the Unix epoch.
    verified_ts: u64,
    /// When it was last known that nothing was missing, in milliseconds since the Unix epoch: what is
    /// missing now came later.
    complete_at: u64,
    /// What follows `verified` without a hole and was not taken yet.
    ready: Vec<Arrival>,
    /// What came behind a hole.
    pending: BTreeMap<u64, Arrival>,
    /// Up to where there may be messages that have not come, though no hole is known.
    expected: u64,
    /// Nothing is given until everything up to here is there.
    held_until: u64,
    is_suspect: bool,
    /// What is held back, `ready` and `pending`, in bytes.
    bytes: u64,
    max_bytes: u64,
}

impl Feed {
    /// A feed that begins behind `at`, the last sequence of the shard, asked for after its announcements
    /// were subscribed to; `now` is the time then, in milliseconds since the Unix epoch. It holds back
    /// about `max_bytes`, and what one answer has.
    pub fn new(at: u64, now: u64, max_bytes: u64) -> Self {
        Self {
            verified: at,
            verified_ts: now,
            complete_at: now,
            ready: Vec::new(),
            pending: BTreeMap::new(),
            expected: at,
            held_until: at,
            is_suspect: false,
            bytes: 0,
            max_bytes,
        }
    }

    /// A message was announced.
    pub fn live(&mut self, arrival: Arrival) {
        if arrival.offset <= self.verified {
            // The same message again is no later than the newest; another one at its place is.
            self.is_suspect |= arrival.ts > self.verified_ts;
        } else if arrival.offset == self.verified + 1 && !self.is_suspect {
            self.accept(arrival);
            self.accept_pending();
        } else {
            self.expected = self.expected.max(arrival.offset);
            // What finds no room is fetched later.
            if self.bytes < self.max_bytes && !self.pending.contains_key(&arrival.offset) {
                self.bytes += size(&arrival);
                self.pending.insert(arrival.offset, apart(arrival));
            }
        }
    }

    /// What was fetched from the offset on that [`fill`](Self::fill) gave: ascending, without what the
    /// engine holds no more. If the copy that answered held more behind the last of them, `rest` is what
    /// the leader says the last sequence is, asked after the answer.
    ///
    /// The copy may be behind: what it does not have stays missing. What is left out of an answer may
    /// have been trimmed because of newer messages, which prove it to the reader; so nothing is given
    /// until those are there, too.
    pub fn filled(&mut self, arrivals: Vec<Arrival>, rest: Option<u64>) {
        self.held_until = self.held_until.max(rest.unwrap_or(0));
        for arrival in arrivals {
            // What lies between was trimmed: the engine gives the next that there is.
            if arrival.offset > self.verified {
                self.accept(arrival);
            }
        }
        self.accept_pending();
    }

    /// The offset from which messages are to be fetched, if some are missing.
    pub fn fill(&self) -> Option<u64> {
        let expected = self.expected.max(self.held_until);
        let is_missing = !self.pending.is_empty() || expected > self.verified;
        (is_missing && !self.is_suspect).then_some(self.verified + 1)
    }

    /// There are messages up to `last`, as the engine says: what has not come of them is fetched.
    /// To be called when nothing has come for a while, and after the connection was lost.
    pub fn expect(&mut self, last: u64) {
        self.expected = self.expected.max(last);
    }

    /// What follows, if anything does, and the offset up to which the shard is known then.
    pub fn take(&mut self) -> Option<(Vec<Arrival>, u64)> {
        if self.is_suspect || self.verified < self.held_until {
            return None;
        }
        let ready = std::mem::take(&mut self.ready);
        self.bytes = self.bytes.saturating_sub(ready.iter().map(size).sum());
        (!ready.is_empty()).then_some((ready, self.verified))
    }

    /// The offset up to which everything was given or is there to be taken.
    pub fn verified(&self) -> u64 {
        self.verified
    }

    /// The time of the message at [`verified`](Self::verified), or a later one, in milliseconds since the
    /// Unix epoch.
    pub fn verified_ts(&self) -> u64 {
        self.verified_ts
    }

    /// The offset up to which there are messages, as far as is known here.
    pub fn expected(&self) -> u64 {
        self.expected.max(self.held_until).max(self.verified)
    }

    /// Whether messages wait that came behind a hole.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What is held back at present, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether more is missing than may be held back until all of it is there: the feed has to
    /// [restart](Self::restart) with [`Sink::skipped`](super::Sink::skipped).
    pub fn is_too_far_behind(&self) -> bool {
        self.verified < self.held_until && self.bytes > self.max_bytes
    }

    /// Whether something came that should not have, if nothing was lost: a message at an offset that was
    /// given already, but later than that was. Then nothing is given until the engine has been asked
    /// whether the message at [`verified`](Self::verified) is still the one that it was.
    pub fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    /// Something may have been lost: the same as if a message had said so.
    pub fn suspect(&mut self) {
        self.is_suspect = true;
    }

    /// The engine was asked, and the suspicion is groundless.
    pub fn clear_suspicion(&mut self) {
        self.is_suspect = false;
        self.accept_pending();
    }

    /// Whether something that is missing may have been dropped for its age, if nothing is held that is
    /// older than `oldest`: then what is fetched does not tell what was lost, and the feed has to
    /// [restart](Self::restart) with [`Sink::skipped`](super::Sink::skipped).
    pub fn may_have_lost(&self, oldest: u64) -> bool {
        self.fill().is_some() && self.complete_at < oldest
    }

    /// At `now`, in milliseconds since the Unix epoch, the engine had nothing behind
    /// [`verified`](Self::verified).
    pub fn mark_complete(&mut self, now: u64) {
        self.complete_at = self.complete_at.max(now);
    }

    /// The engine has nothing behind [`verified`](Self::verified) up to `upto`, whatever was said: what is
    /// there can be [taken](Self::take), and only what was announced behind that is missing.
    pub fn disbelieve(&mut self, upto: u64) {
        let later = self.pending.split_off(&upto.saturating_add(1));
        self.bytes = self.bytes.saturating_sub(self.pending.values().map(size).sum());
        self.pending = later;
        for said in [&mut self.expected, &mut self.held_until] {
            if *said <= upto {
                *said = self.verified;
            }
        }
    }

    /// Begins again behind `at`, in another epoch or because too much is missing to be fetched.
    pub fn restart(&mut self, at: u64, now: u64) {
        *self = Self::new(at, now, self.max_bytes);
    }

    fn accept(&mut self, arrival: Arrival) {
        (self.verified, self.verified_ts) = (arrival.offset, arrival.ts);
        self.complete_at = self.complete_at.max(arrival.ts);
        self.bytes += size(&arrival);
        // It may have to wait for a while.
        let is_held = self.is_suspect || self.verified < self.held_until;
        self.ready.push(if is_held { apart(arrival) } else { arrival });
    }

    /// Accepts what waits and follows now, and drops what came by another way meanwhile.
    fn accept_pending(&mut self) {
        while let Some(entry) = self.pending.first_entry()
            && *entry.key() <= self.verified + 1
        {
            let arrival = entry.remove();
            self.bytes = self.bytes.saturating_sub(size(&arrival));
            if arrival.offset > self.verified {
                self.accept(arrival);
            }
        }
    }
}

/// What a message takes while it is held back, in bytes.
fn size(arrival: &Arrival) -> u64 {
    let texts = match &arrival.what {
        What::Message { channel, payload, event, id } => {
            let event = event.as_ref().map_or(0, |event| event.as_str().len());
            let id = id.as_ref().map_or(0, |id| id.len());
            channel.as_str().len() + payload.as_bytes().len() + event + id
        }
        What::Forget(channel) | What::End(channel) | What::Open { channel, .. } => {
            channel.as_str().len()
        }
        What::Clock | What::Other => 0,
    };
    (OVERHEAD + texts) as u64
}

/// The message, with a payload of its own: one that is a part of what a connection has read keeps all
/// of that.
fn apart(mut arrival: Arrival) -> Arrival {
    if let What::Message { payload, .. } = &mut arrival.what {
        *payload = payload.as_ref().to_payload();
    }
    arrival
}
