//! The task that publishes into a shard.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::message::OutboundMessage;
use futures_util::SinkExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::ack::{self, Ack, Failure, RETRY_AFTER};
use super::answers::Answers;
use super::queue::{PublishQueue, Sequenced};
use super::slots::{Answered, Flight, Slot, Slots};
use super::trim::Trim;
use super::{Limits, Outgoing, PublishCounts};
use crate::nats::api::Api;
use crate::nats::traffic::UnderWay;
use crate::shard::{Reached, Shard};

/// How long the answer to a message is waited for.
const ACK: Duration = Duration::from_secs(5);
/// How long nothing is sent while another server is taken, at a time.
const LEAVING: Duration = Duration::from_millis(20);
/// The most messages that are taken from the publishers at once.
const AT_ONCE: usize = 256;

/// A message that was sent, or waits to be. In a box: the queue moves it around.
pub(super) struct Pending {
    outgoing: Outgoing,
    /// Whether it was sent once without an answer.
    unanswered: bool,
    /// How often it was sent.
    sent: u32,
    /// Up to where this node had the shard when it was sent.
    before: u64,
    /// When its answer is given up, once it was sent.
    answer_by: Option<Instant>,
    /// Where its answer comes.
    slot: Option<Slot>,
    /// That it is under way on the connection.
    under_way: Option<UnderWay>,
}

impl Pending {
    pub(super) fn new(outgoing: Outgoing) -> Box<Self> {
        Box::new(Self {
            outgoing,
            unanswered: false,
            sent: 0,
            before: 0,
            answer_by: None,
            slot: None,
            under_way: None,
        })
    }

    /// It was sent without an answer. Whether it can be sent again.
    fn is_repeatable(&mut self) -> bool {
        self.unanswered |= self.outgoing.repeatable;
        self.outgoing.repeatable
    }
}

impl Sequenced for Box<Pending> {
    fn is_of(&self, other: &Self) -> bool {
        let [this, other] = [self, other].map(|pending| &pending.outgoing);
        this.source.is_some() && this.source == other.source && this.subject == other.subject
    }
}

/// The task from inside.
pub(super) struct Sender {
    api: Api,
    shard: Arc<Shard>,
    trim: Trim,
    max_message: u64,
    queued: Arc<AtomicU64>,
    counts: Arc<PublishCounts>,
    queue: PublishQueue<Box<Pending>>,
    /// When it is looked whether an answer is missing. No answer is missing before.
    look_at: Option<Instant>,
}

impl Sender {
    pub(super) fn new(
        api: Api,
        shard: Arc<Shard>,
        limits: Limits,
        queued: Arc<AtomicU64>,
        counts: Arc<PublishCounts>,
    ) -> Self {
        Self {
            api,
            shard,
            trim: Trim::new(limits.history),
            max_message: limits.message,
            queued,
            counts,
            queue: PublishQueue::new(limits.answers),
            look_at: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut outgoing: mpsc::UnboundedReceiver<Box<Pending>>,
        mut connections: watch::Receiver<u64>,
    ) {
        connections.mark_unchanged();
        let mut client = self.api.client().clone();
        let mut answers = Answers::open(&client).await;
        let mut slots = Slots::new(answers.inbox());
        let (mut came, mut open) = (Vec::new(), true);
        let mut alarm = pin!(sleep_until(Instant::now()));
        while open || !self.queue.is_empty() {
            // What has waited for too long is given up before the next is sent.
            self.give_up_late(&mut slots);
            let is_full = self.send(&mut client, &mut slots);
            let wake = self.wake_at();
            // One that rings too early does no harm.
            if alarm.is_elapsed() || wake < alarm.deadline() {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                count = outgoing.recv_many(&mut came, AT_ONCE), if open => {
                    open = count > 0;
                    let now = Instant::now();
                    came.drain(..).for_each(|came| self.queue.push(came, now));
                }
                all = answers.next() => {
                    for (slot, ack) in all {
                        match slots.answered(slot, &ack) {
                            Answered::To(flight) => self.answered(flight, ack),
                            Answered::Perhaps(flight) => self.answered(flight, Ack::Unknown),
                            Answered::Earlier => {
                                self.shard.suspect();
                            }
                            Answered::Nothing => {}
                        }
                    }
                }
                Ok(()) = connections.changed() => self.resend(&mut slots),
                _ = poll_fn(|context| client.poll_ready_unpin(context)), if is_full => {}
                () = alarm.as_mut() => {}
            }
        }
    }

    /// When something is to be done though nothing comes.
    fn wake_at(&self) -> Instant {
        let wake = self.queue.wake_at(Instant::now());
        self.look_at.map_or(wake, |look| wake.min(look))
    }

    /// Sends what may be sent now. Whether the queue of the connection is full.
    fn send(&mut self, client: &mut Client, slots: &mut Slots) -> bool {
        let now = Instant::now();
        let Reached { epoch, upto: before, .. } = self.shard.place();
        slots.follow(epoch);
        if self.queue.gathers(now) {
            return false;
        }
        while self.queue.has_next(now) {
            if client.connection_state() != State::Connected {
                // What async-nats takes now it would send some time later, when all of it is given up.
                self.queue.hold(now + RETRY_AFTER);
                return false;
            }
            if is_full(client) {
                return true;
            }
            let Some(under_way) = self.api.traffic().begin() else {
                // This server is about to be left for another one.
                self.queue.hold(now + LEAVING);
                return false;
            };
            let Some((number, pending)) = self.queue.next(now) else { return false };
            (pending.before, pending.sent) = (before, pending.sent + 1);
            (pending.answer_by, pending.under_way) = (Some(now + ACK), Some(under_way));
            let flight = Flight { number, sent: pending.sent };
            let (slot, reply) = slots.take(flight);
            pending.slot = Some(slot);
            self.look_at.get_or_insert(now + ACK);
            let Outgoing { subject, headers, payload, .. } = &pending.outgoing;
            let message = OutboundMessage {
                subject: subject.clone(),
                reply: Some(reply),
                payload: payload.clone(),
                headers: headers.map(),
            };
            if let Err(error) = client.start_send_unpin(message) {
                slots.give_up(slot);
                self.answered(flight, ack::unsent(&error));
            }
        }
        false
    }

    /// What has come of a message that was sent.
    fn answered(&mut self, Flight { number, sent }: Flight, ack: Ack) {
        let Some(pending) = self.queue.flying(number) else { return };
        if pending.sent != sent {
            // It was sent again since.
            return;
        }
        (pending.under_way, pending.slot) = (None, None);
        match ack {
            Ack::Again => {
                self.queue.again(number);
                return self.queue.hold(Instant::now() + RETRY_AFTER);
            }
            Ack::InProgress(pause) => return self.queue.later(number, Instant::now() + pause),
            Ack::Unknown if pending.is_repeatable() => return self.queue.again(number),
            Ack::Stored { .. } | Ack::Refused(_) | Ack::Unknown => {}
        }
        let may_be_stored = !matches!(ack, Ack::Refused(_));
        let Some(pending) = self.queue.take(number, may_be_stored) else { return };
        match ack {
            Ack::Stored { seq, duplicate } if duplicate || seq > pending.before => {
                self.queue.release();
                self.stored(seq, duplicate, pending);
            }
            Ack::Stored { .. } => {
                // Every message up to there is known, and this is not one of them: the position is one of
                // the epoch that comes next.
                self.shard.suspect();
                self.fail(pending, Failure::Unknown);
            }
            Ack::Refused(failure) => self.fail(pending, failure),
            Ack::Unknown | Ack::Again | Ack::InProgress(_) => self.fail(pending, Failure::Unknown),
        }
    }

    /// There is another connection: answers to what was sent before do not come any more.
    fn resend(&mut self, slots: &mut Slots) {
        for number in self.queue.all_flying(|_| true) {
            let Some(pending) = self.queue.flying(number) else { continue };
            if pending.is_repeatable() {
                pending.under_way = None;
                pending.slot.take().into_iter().for_each(|slot| slots.give_up(slot));
                self.queue.again(number);
            }
        }
    }

    fn stored(&mut self, seq: u64, duplicate: bool, pending: Box<Pending>) {
        let count = if duplicate { &self.counts.repeated } else { &self.counts.stored };
        count.fetch_add(1, Relaxed);
        self.queued.fetch_sub(pending.outgoing.size(), Relaxed);
        let Outgoing { subject, charge, done, .. } = pending.outgoing;
        done.stored(seq);
        if charge > 0
            && let Some(before) = self.trim.stored(&subject, seq, charge)
        {
            let (api, shard) = (self.api.clone(), self.shard.number);
            tokio::spawn(async move {
                if let Err(error) = api.purge(shard, &subject, Some(before)).await {
                    let subject = subject.as_str();
                    tracing::debug!(shard, subject, %error, "more is kept of a channel than is shown");
                }
            });
        }
    }

    fn fail(&self, pending: Box<Pending>, failure: Failure) {
        let count = match failure {
            Failure::Unavailable => &self.counts.unavailable,
            Failure::Unknown => &self.counts.unknown,
            _ => &self.counts.refused,
        };
        count.fetch_add(1, Relaxed);
        self.queued.fetch_sub(pending.outgoing.size(), Relaxed);
        let Outgoing { charge, done, .. } = pending.outgoing;
        done.failed(failure, charge, self.max_message);
    }

    /// Gives up the answers that are missing, what was not taken in time, and what was overtaken.
    fn give_up_late(&mut self, slots: &mut Slots) {
        let now = Instant::now();
        if self.look_at.is_some_and(|look| look <= now) {
            for number in self.queue.all_flying(|pending| pending.answer_by <= Some(now)) {
                let Some(pending) = self.queue.flying(number) else { continue };
                let flight = Flight { number, sent: pending.sent };
                pending.slot.take().into_iter().for_each(|slot| slots.give_up(slot));
                self.answered(flight, Ack::Unknown);
            }
            self.look_at = self.queue.least_flying(|pending| pending.answer_by).flatten();
        }
        let expired = self.queue.expired(now);
        let overtaken = self.queue.overtaken();
        for pending in expired.into_iter().chain(overtaken) {
            let failure = if pending.unanswered { Failure::Unknown } else { Failure::Unavailable };
            self.fail(pending, failure);
        }
    }
}

/// Whether the queue of the connection has no room for one more. If the connection has ended for good, the message
/// comes back from it.
fn is_full(client: &mut Client) -> bool {
    let ready = pin!(unconstrained(poll_fn(|context| client.poll_ready_unpin(context))));
    matches!(ready.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}
