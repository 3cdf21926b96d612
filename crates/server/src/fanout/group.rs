//! A group: members that stand at the same place of a channel, and the task that writes to them.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sockeye::{Delivery, SendRings};
use sockeye_hub::{Page, SharedReader};
use tokio::sync::Notify;
use tokio::task::{unconstrained, yield_now};

use super::news::News;
use super::{Groups, Key, Outlet};
use crate::metrics::connections::{ConnectionRegister, Deliveries, Left};
use crate::transport::Transport;

/// How many members are written to while the list of them is locked, and how many bytes are then, but for one member's:
/// so long does one wait that joins or leaves.
const LOCKED: usize = 16;
const LOCKED_BYTES: usize = 64 << 10;

/// After how many times that other tasks run. With rings all of it is one time, for one system call.
const TURN: usize = 4;

/// A group of readers.
#[derive(Debug)]
pub(crate) struct Group {
    key: Key,
    members: Mutex<Members>,
    /// How many there are, for a look without the lock.
    count: AtomicUsize,
    /// Notified when there are none any more.
    emptied: Notify,
}

#[derive(Debug)]
struct Members {
    /// No member stands before this offset, but those that are still to be given the run that ends there.
    offset: u64,
    list: Vec<Member>,
    /// Whether it takes no more of them.
    is_closed: bool,
}

/// A reader that the group writes to.
#[derive(Debug)]
pub(super) struct Member {
    outlet: Outlet,
    /// They have its place, which it shares with its membership.
    deliveries: Deliveries,
    /// Everything up to there was sent. It may be ahead of the group.
    offset: u64,
}

/// How many members were given a page, and how many of them had been waiting before its messages came.
#[derive(Default)]
struct Given {
    members: usize,
    waited: usize,
}

/// One page on its way to all members.
struct Round<'a> {
    page: &'a Page,
    bytes: Bytes,
    /// How many of them are counted.
    length: usize,
    /// When the oldest of its messages was published.
    oldest: u64,
    /// The offsets before it and behind it.
    from: u64,
    to: u64,
    /// The offset at which the member stands that is farthest behind.
    lowest: u64,
    /// All members from this index on have it, or have left.
    next: usize,
}

impl Round<'_> {
    /// How many members are written to while the list is locked.
    fn at_once(&self, by_rings: bool) -> usize {
        let times = if by_rings { TURN } else { 1 };
        (times * LOCKED_BYTES / self.bytes.len().max(1)).clamp(1, times * LOCKED)
    }

    /// Whether a member is to get another page.
    fn is_other(&self, member: &Member) -> bool {
        !self.is_due(member) && (self.lowest..self.to).contains(&member.offset)
    }

    /// Whether a member is to get the page.
    fn is_due(&self, member: &Member) -> bool {
        member.offset == self.from
    }

    /// Writes to the members that are to get the page, the last one first; gives what became of it on each of them.
    fn send(
        &self,
        members: &[Member],
        rings: Option<&SendRings>,
    ) -> impl Iterator<Item = Delivery> + use<> {
        let due = members.iter().rev().filter(|member| self.is_due(member));
        Outlet::try_write_each(due.map(Member::free_outlet), &self.bytes, rings).into_iter()
    }

    /// The member has been given the page.
    fn given_to(&self, member: &mut Member, register: &ConnectionRegister, given: &mut Given) {
        member.offset = self.to;
        member.deliveries.add(self.page, self.length, register);
        given.members += 1;
        match member.deliveries.since() <= self.oldest {
            true => given.waited += 1,
            false => register.metrics().delivered(&self.page.entries, member.deliveries.since()),
        }
    }
}

impl Member {
    /// One that has everything up to `offset`.
    pub(super) fn new(outlet: Outlet, deliveries: Deliveries, offset: u64) -> Self {
        deliveries.place().clear();
        Self { outlet, deliveries, offset }
    }

    /// Where it is written to: nowhere as long as the task of its connection has something else to send.
    fn free_outlet(&self) -> Option<&Outlet> {
        let is_free = match &self.outlet {
            Outlet::SharedFrames(_) => !self.deliveries.is_busy(),
            Outlet::WatchedFrames(watched) => !self.deliveries.is_busy() && watched.1.holds(),
            Outlet::Frames(_) | Outlet::Body(_) => true,
        };
        is_free.then_some(&self.outlet)
    }

    /// It is served by its own task again.
    fn leave(self, unwritten: Option<Box<Page>>) {
        self.deliveries.place().leave(Left { offset: self.offset, unwritten });
    }
}

impl Group {
    /// One without members, that begins behind this offset.
    pub(super) fn new(key: Key, offset: u64) -> Arc<Self> {
        let members = Members { offset, list: Vec::new(), is_closed: false };
        let (members, count) = (Mutex::new(members), AtomicUsize::new(0));
        Arc::new(Self { key, members, count, emptied: Notify::new() })
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// How many members there are, or were a moment ago.
    pub(super) fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Takes a member in, unless it is behind the group, or the group has ended.
    pub(super) fn admit(&self, member: Member) -> bool {
        let mut members = self.members();
        if members.is_closed || member.offset < members.offset {
            return false;
        }
        member.deliveries.place().set_index(members.list.len());
        if members.list.len() == members.list.capacity() {
            // By an eighth: of what doubles, a quarter is empty.
            let more = members.list.len() / 8 + 4;
            members.list.reserve_exact(more);
        }
        members.list.push(member);
        self.count.store(members.list.len(), Relaxed);
        true
    }

    /// Lets a member go that leaves by itself. `None` if it is not one any more.
    pub(super) fn dismiss(&self, deliveries: &Deliveries) -> Option<Left> {
        let mut members = self.members();
        let index = deliveries.place().index()?;
        // It may be a member of another group by now.
        members.list.get(index).filter(|member| member.deliveries.is_same(deliveries))?;
        let member = self.remove(&mut members, index);
        Some(Left { offset: member.offset, unwritten: None })
    }

    /// Takes a member from the list; the last one takes its index.
    fn remove(&self, members: &mut Members, index: usize) -> Member {
        let member = members.list.swap_remove(index);
        member.deliveries.place().clear_index();
        if let Some(moved) = members.list.get(index) {
            moved.deliveries.place().set_index(index);
        }
        if members.list.len() < members.list.capacity() / 4 {
            members.list.shrink_to(members.list.len() * 2);
        }
        self.count.store(members.list.len(), Relaxed);
        if members.list.is_empty() {
            self.emptied.notify_one();
        }
        member
    }

    /// Closes the group if it has no members. Whether it had none.
    fn close_if_empty(&self) -> bool {
        let mut members = self.members();
        members.is_closed |= members.list.is_empty();
        members.is_closed
    }

    /// Sends all members back to their tasks.
    fn close(&self) {
        let mut members = self.members();
        members.is_closed = true;
        self.count.store(0, Relaxed);
        for member in std::mem::take(&mut members.list) {
            member.deliveries.place().clear_index();
            member.leave(None);
        }
    }

    /// Writes to each member what comes after its place, with what is published meanwhile.
    async fn deliver(&self, news: &mut News, groups: &Groups) {
        loop {
            let to = news.to();
            self.go_through(news, groups).await;
            if news.to() == to {
                return;
            }
            news.forget(to);
        }
    }

    /// Writes to each member once: afterwards all have what there was before, and some what has come meanwhile. At first
    /// other tasks run more often: what is published together comes shortly behind each other.
    async fn go_through(&self, news: &mut News, groups: &Groups) {
        let times = if self.rings(groups).is_some() { 1 } else { TURN };
        let (mut next, mut from, mut count) = (self.begin(news.to()), news.from(), 0_usize);
        while next > 0 {
            let page = news.after(from);
            let mut round = self.round(&page, (from, news.from()), next);
            loop {
                if let Some(other) = self.advance(&mut round, groups) {
                    from = other;
                    break;
                }
                if round.next == 0 {
                    break;
                }
                count += 1;
                if count % times == 0 || count < times && count.is_power_of_two() {
                    yield_now().await;
                }
                if news.grow() {
                    self.begin(news.to());
                    break;
                }
            }
            next = round.next;
        }
    }

    /// The page that comes after an offset, on its way to the members that stand there.
    fn round<'a>(&self, page: &'a Page, (from, lowest): (u64, u64), next: usize) -> Round<'a> {
        let oldest = page.entries.iter().map(|entry| entry.ts).min().unwrap_or_default();
        let bytes = self.key.wire.of(self.key.outlook.channel(), &page.entries);
        let length = (self.key.wire.counted)(page, &bytes);
        Round { page, bytes, length, oldest, from, to: page.at.offset, lowest, next }
    }

    /// The rings by which it writes to its members.
    fn rings<'a>(&self, groups: &'a Groups) -> Option<&'a SendRings> {
        groups.rings.as_ref().filter(|_| self.key.wire.transport == Transport::Ws)
    }

    /// From here on members come that stand at this offset at least. How many of the others there are at most.
    fn begin(&self, offset: u64) -> usize {
        let mut members = self.members();
        members.offset = offset;
        members.list.len()
    }

    /// Writes to some members. From the last to the first: one that takes the place of one that has left has had its
    /// turn, or stands behind the page. Gives the place of the next one if it is to get another page.
    fn advance(&self, round: &mut Round<'_>, groups: &Groups) -> Option<u64> {
        let register = &groups.register;
        let metrics = register.metrics();
        let mut members = self.members();
        // Fewer than before, if members have left.
        let end = round.next.min(members.list.len());
        let rings = self.rings(groups);
        let begin = end.saturating_sub(round.at_once(rings.is_some()));
        let other = members.list[begin..end].iter().rposition(|member| round.is_other(member));
        round.next = other.map_or(begin, |other| begin + other + 1);
        if other.is_some() && round.next == end {
            return members.list[..end].last().map(|other| other.offset);
        }
        let mut sent = round.send(&members.list[round.next..end], rings);
        let mut given = Given::default();
        for index in (round.next..end).rev() {
            let member = &mut members.list[index];
            if member.offset >= round.to {
                continue;
            }
            match round.is_due(member).then(|| sent.next()).flatten() {
                Some(Delivery::Written) => round.given_to(member, register, &mut given),
                // The other groups have to know of it, and its task counts what is handed to the connection.
                Some(Delivery::Queued) if member.outlet.is_shared() => {
                    member.deliveries.set_busy();
                    round.given_to(member, register, &mut given);
                    self.remove(&mut members, index).leave(None);
                }
                Some(Delivery::Queued) => {
                    member.offset = round.to;
                    self.remove(&mut members, index).leave(Some(Box::new(round.page.clone())));
                }
                // It goes on by itself, and is told there what is the matter.
                Some(Delivery::Refused) | None => self.remove(&mut members, index).leave(None),
            }
        }
        drop(members);
        let transport = self.key.wire.transport;
        let (messages, bytes) = (round.page.entries.len(), round.length);
        metrics.sent(transport, given.members * messages, given.members * bytes);
        metrics.delivered_to(given.waited, &round.page.entries);
        None
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        // Consistent between any two statements, so a panic elsewhere does not matter.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a group with its task, also when that is dropped because its runtime ends.
struct Running {
    groups: Arc<Groups>,
    group: Arc<Group>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.close();
        self.groups.remove(&self.group);
    }
}

/// The task of a group: it ends when the last member has left, or when there is something to be told to each of
/// them by itself.
pub(super) fn run(
    groups: Arc<Groups>,
    group: Arc<Group>,
    reader: SharedReader,
) -> impl Future<Output = ()> + Send {
    // Made before the task runs: a runtime that is ending drops the task unpolled.
    let running = Running { groups, group };
    // Its turns are counted here: a socket whose write was put off by tokio's count would look full.
    unconstrained(async move {
        let Running { groups, group } = &running;
        let mut news = News::new(reader, group.key.wire.at_once);
        loop {
            tokio::select! {
                () = news.next() => {}
                () = group.emptied.notified() => match group.close_if_empty() {
                    true => return,
                    false => continue,
                },
            }
            if news.is_for_each_alone() {
                return;
            }
            group.deliver(&mut news, groups).await;
            // Not held while others run.
            news.forget(news.to());
            yield_now().await;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each member takes one in the list.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_member_has_40_bytes() {
        assert_eq!(size_of::<Member>(), 40);
    }
}
