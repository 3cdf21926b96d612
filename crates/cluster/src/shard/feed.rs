//! The feed of a shard: a task that gives every message of it to the hub, in order and once.
//!
//! It listens to what JetStream publishes again, asks the stream for what is missing there, and asks
//! the stream's leader each second in which nothing has come whether something should have.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::{Message, SubscribeError, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use sockeye_hub::{Clock, Epoch};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::error::jetstream::ApiError;
use crate::message;
use crate::nats::api::stream::StreamInfo;
use crate::nats::api::{Answer, Api, Get};
use crate::shard::ends::ends;
use crate::shard::{Reached, Shard};
use sockeye_hub::backplane::{ChannelEnd, Feed as Order, Sink, What};

/// How often the leader is asked whether something has come, when nothing has.
const TICK: Duration = Duration::from_secs(1);
/// How long until a server that is behind is asked again.
const BEHIND: Duration = Duration::from_millis(50);
/// How long until a question is asked again that was not answered.
const AGAIN: Duration = Duration::from_millis(250);
/// How many answers in a row may be without what a hole lacks before the leader is asked about it; and
/// without what it has said itself, which may have been purged since.
const DOUBTFUL: (u32, u32) = (40, 4);
/// The most messages that are given to the hub at once.
const AT_ONCE: usize = 512;
/// How many messages behind is too far to fetch them all: every channel is read again when it is used.
const TOO_FAR: u64 = 50_000;

/// The subscription of a feed. Made before the stream is asked where it is, over the same
/// connection: a leader that has answered that knows of the subscription.
pub(crate) async fn subscribe(api: &Api, shard: u16) -> Result<Subscriber, SubscribeError> {
    api.client().subscribe(api.names().live_subjects(shard)).await
}

/// Sequences of the shard begin anew.
#[derive(Clone, Debug)]
pub(crate) struct Reset {
    pub(crate) epoch: Epoch,
    /// Up to where its stream is.
    pub(crate) upto: u64,
    /// The channels that have ended by then.
    pub(crate) ends: Vec<ChannelEnd>,
}

/// What was found out of the stream.
#[derive(Clone, Debug)]
pub(crate) enum Finding {
    Reset(Reset),
    /// It has what it had, whatever was suspected up to that number.
    Groundless(u64),
}

/// What a feed does without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedBounds {
    /// For how long nothing is dropped for its age: if more is missing, what is gone is not known.
    pub(crate) age: Duration,
    /// How much is held back, in bytes.
    pub(crate) held: u64,
}

/// A question that is under way, and what it came to.
type Question = Pin<Box<dyn Future<Output = Told> + Send>>;

enum Told {
    /// Whether the leader has more, and when it was asked.
    More(Result<(bool, u64), ApiError>),
    /// What the stream has.
    Filled(Result<Answer, ApiError>),
    /// Where the stream is, and which channels have ended by then.
    Where(Result<(StreamInfo, Vec<ChannelEnd>), ApiError>),
}

/// What to ask next, the more urgent the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Nothing,
    /// Whether the leader has more.
    Tick,
    /// What is missing.
    Fill,
    /// Where the stream is, to go on there.
    Skip,
}

/// The task.
pub(crate) struct Feed {
    api: Api,
    shard: Arc<Shard>,
    sink: Arc<dyn Sink>,
    order: Order,
    age: Duration,
    /// The number of the suspicion that the feed waits for.
    suspected: u64,
    question: Option<Question>,
    /// What is asked by it, and what was expected then.
    asked: Wanted,
    expected: u64,
    wanted: Wanted,
    /// Answers in a row that did not help.
    in_vain: u32,
    /// Where the shard was at the last tick.
    ticked_at: u64,
    /// Whether there is a hole that was counted.
    counted: bool,
}

impl Feed {
    /// A feed that begins behind what the stream has by now.
    pub(crate) fn new(
        api: Api,
        shard: Arc<Shard>,
        sink: Arc<dyn Sink>,
        bounds: FeedBounds,
        Reset { epoch, upto, ends }: Reset,
    ) -> Self {
        shard.advance(Reached { epoch, upto, ts: 0 });
        sink.begin(shard.number, epoch, upto, ends);
        shard.begin();
        Self {
            api,
            shard,
            sink,
            order: Order::new(upto, Clock::system().now(), bounds.held),
            age: bounds.age,
            suspected: 0,
            question: None,
            asked: Wanted::Nothing,
            expected: upto,
            wanted: Wanted::Tick,
            in_vain: 0,
            ticked_at: upto,
            counted: false,
        }
    }

    /// Feeds until the connection is closed for good. `connections` changes with each new one.
    pub(crate) async fn run(
        mut self,
        mut live: Subscriber,
        mut findings: mpsc::UnboundedReceiver<Finding>,
        mut connections: watch::Receiver<u64>,
    ) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.ask();
            let question = async {
                match &mut self.question {
                    Some(question) => question.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = live.next() => match message {
                    Some(message) => self.heard(message, &mut live),
                    None => return,
                },
                told = question => self.told(told),
                finding = findings.recv() => match finding {
                    Some(Finding::Reset(reset)) => self.reset(reset),
                    Some(Finding::Groundless(number)) => self.trust(number),
                    None => return,
                },
                changed = connections.changed() => match changed {
                    Ok(()) => self.reconnected(),
                    Err(_) => return,
                },
                _ = tick.tick() => self.tick(),
            }
        }
    }

    /// A live message has come, and perhaps more behind it.
    fn heard(&mut self, message: Message, live: &mut Subscriber) {
        let mut next = Some(message);
        let mut count = 0;
        while let Some(message) = next {
            match message::read(message, self.api.names(), self.shard.number) {
                Ok(arrival) => self.order.live(arrival),
                // Only servers may publish there. What is missing is found by its number.
                Err(error) => {
                    tracing::warn!(shard = self.shard.number, %error, "not from the stream");
                }
            }
            count += 1;
            next = if count < AT_ONCE { live.next().now_or_never().flatten() } else { None };
        }
        if self.order.is_suspect() && self.suspected == 0 {
            self.doubt();
        }
        self.put_out();
    }

    /// There is another connection: what came in between did not come here. NATS may have been put back
    /// to older files, and have given the same sequences again.
    fn reconnected(&mut self) {
        self.doubt();
        self.want(Wanted::Tick);
    }

    /// Gives nothing until the stream has been examined.
    fn doubt(&mut self) {
        self.order.suspect();
        self.suspected = self.shard.suspect();
    }

    /// The stream has what it had, whatever was suspected up to that number.
    fn trust(&mut self, number: u64) {
        if self.suspected <= number {
            self.suspected = 0;
            self.order.clear_suspicion();
            self.put_out();
        }
    }

    /// Gives to the hub what is next, and sees whether something is missing.
    fn put_out(&mut self) {
        while let Some((arrivals, upto)) = self.order.take() {
            self.shard.counts.messages.fetch_add(arrivals.len() as u64, Relaxed);
            let clock = arrivals.iter().rfind(|arrival| matches!(arrival.what, What::Clock));
            if let Some(clock) = clock {
                self.shard.clock_came(clock.offset);
            }
            let before = self.shard.place();
            let ts = self.order.verified_ts();
            self.shard.advance(Reached { upto, ts, ..before });
            self.sink.arrived(self.shard.number, arrivals, upto);
        }
        self.shard.counts.held.store(self.order.bytes(), Relaxed);
        if self.order.is_too_far_behind() {
            self.want(Wanted::Skip);
        } else if self.order.fill().is_some() {
            self.want(Wanted::Fill);
            if !std::mem::replace(&mut self.counted, true) {
                self.shard.counts.holes.fetch_add(1, Relaxed);
            }
        } else if !self.order.is_suspect() {
            self.counted = false;
            self.shard.refresh();
        }
    }

    fn tick(&mut self) {
        let upto = self.order.verified();
        if upto == self.ticked_at {
            self.want(Wanted::Tick);
        }
        self.ticked_at = upto;
    }

    fn want(&mut self, wanted: Wanted) {
        self.wanted = self.wanted.max(wanted);
    }

    /// Asks what is wanted, unless a question is under way. A hole does not wait for the answer to a tick,
    /// which a leader that has just died does not give.
    fn ask(&mut self) {
        if self.question.is_some() && (self.asked > Wanted::Tick || self.wanted <= Wanted::Tick) {
            return;
        }
        let wanted = std::mem::replace(&mut self.wanted, Wanted::Nothing);
        (self.asked, self.expected) = (wanted, self.order.expected());
        let (api, shard, from) = (self.api.clone(), self.shard.number, self.order.verified() + 1);
        let pause = if self.in_vain > 0 { BEHIND } else { Duration::ZERO };
        self.question = match wanted {
            Wanted::Nothing => None,
            Wanted::Tick => Some(Box::pin(async move {
                let now = Clock::system().now();
                Told::More(api.has_from(shard, from).await.map(|more| (more, now)))
            })),
            Wanted::Fill => Some(Box::pin(async move {
                sleep(pause).await;
                let subjects = api.names().log_subjects(shard);
                let answer = api.get(shard, &Get::from(from, &subjects)).await;
                if answer.is_err() {
                    sleep(AGAIN).await;
                }
                Told::Filled(answer)
            })),
            Wanted::Skip => Some(Box::pin(async move {
                let place = place(&api, shard).await;
                if place.is_err() {
                    sleep(AGAIN).await;
                }
                Told::Where(place)
            })),
        };
    }

    fn told(&mut self, told: Told) {
        self.question = None;
        match told {
            Told::More(Ok((true, _))) => {
                self.order.expect(self.order.verified() + 1);
                self.go_on();
            }
            Told::More(Ok((false, then))) => {
                self.order.mark_complete(then);
                if self.order.fill().is_some() && self.in_vain > 0 {
                    self.disbelieve();
                }
                self.put_out();
            }
            Told::More(Err(error)) => {
                tracing::debug!(shard = self.shard.number, %error, "the leader does not answer");
                if self.order.fill().is_some() {
                    self.want(Wanted::Fill);
                }
            }
            Told::Filled(Ok(answer)) if answer.more > TOO_FAR || self.may_have_lost() => {
                self.want(Wanted::Skip);
            }
            Told::Filled(Ok(answer)) => self.filled(answer),
            Told::Filled(Err(error)) => {
                tracing::debug!(shard = self.shard.number, %error, "a hole is not filled yet");
                self.want(Wanted::Fill);
            }
            // It is settled first what there was.
            Told::Where(Ok(_)) if self.order.is_suspect() => {}
            Told::Where(Ok((info, _))) if info.state.last_seq < self.order.verified() => {
                self.doubt();
            }
            Told::Where(Ok((info, ends))) => self.skip(info.state.last_seq, ends),
            Told::Where(Err(_)) => self.want(Wanted::Skip),
        }
    }

    /// Whether what is fetched would not tell what is gone.
    fn may_have_lost(&self) -> bool {
        let age = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        self.order.may_have_lost(Clock::system().now().saturating_sub(age))
    }

    /// Fetches what is missing, if that still tells all.
    fn go_on(&mut self) {
        match self.order.fill() {
            Some(_) if self.may_have_lost() => self.want(Wanted::Skip),
            Some(_) => self.want(Wanted::Fill),
            None => {}
        }
    }

    fn filled(&mut self, answer: Answer) {
        let before = self.order.verified();
        self.shard.counts.filled.fetch_add(answer.arrivals.len() as u64, Relaxed);
        // What the server has at least.
        let newest = answer.arrivals.last().map_or(before, |newest| newest.offset);
        let rest = (answer.more > 0).then(|| newest.saturating_add(answer.more));
        self.order.filled(answer.arrivals, rest);
        // If it has not helped, the server that has answered is behind; or there is nothing to be had.
        self.in_vain = if self.order.verified() > before { 0 } else { self.in_vain + 1 };
        self.put_out();
        let doubtful = if self.order.has_pending() { DOUBTFUL.0 } else { DOUBTFUL.1 };
        if self.in_vain >= doubtful {
            self.wanted = Wanted::Tick;
        }
    }

    /// Goes on behind what the stream has by now.
    fn skip(&mut self, upto: u64, ends: Vec<ChannelEnd>) {
        tracing::warn!(
            shard = self.shard.number,
            from = self.order.verified(),
            to = upto,
            "too far behind: what is in memory of its channels is read again when it is used"
        );
        self.order.restart(upto, Clock::system().now());
        (self.in_vain, self.ticked_at, self.suspected) = (0, upto, 0);
        self.shard.counts.skips.fetch_add(1, Relaxed);
        self.shard.advance(Reached { upto, ts: 0, ..self.shard.place() });
        self.sink.skipped(self.shard.number, upto, ends);
        self.want(Wanted::Tick);
    }

    /// The leader has nothing of what was said to be there when it was asked.
    fn disbelieve(&mut self) {
        if self.order.has_pending() {
            tracing::error!(
                shard = self.shard.number,
                "a message was published under {} that is not in the stream: deny publishing there \
                 to all but the servers",
                self.api.names().live_subjects(self.shard.number)
            );
        }
        self.order.disbelieve(self.expected);
        self.in_vain = 0;
    }

    fn reset(&mut self, Reset { epoch, upto, ends }: Reset) {
        if epoch == self.shard.place().epoch {
            return;
        }
        tracing::warn!(
            shard = self.shard.number,
            %epoch,
            "the stream has lost what it had acknowledged: a new epoch begins, and every reader is told"
        );
        self.order.restart(upto, Clock::system().now());
        (self.in_vain, self.ticked_at, self.suspected, self.question) = (0, upto, 0, None);
        self.shard.counts.resets.fetch_add(1, Relaxed);
        self.shard.advance(Reached { epoch, upto, ts: 0 });
        self.sink.begin(self.shard.number, epoch, upto, ends);
        self.want(Wanted::Tick);
    }
}

/// Where the stream is, and which channels have ended by then.
pub(crate) async fn place(
    api: &Api,
    shard: u16,
) -> Result<(StreamInfo, Vec<ChannelEnd>), ApiError> {
    let info = api.info(&api.names().stream(shard)).await?;
    let ends = ends(api, shard, info.state.last_seq).await?;
    Ok((info, ends))
}
