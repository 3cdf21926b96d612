//! What the routes share: the channels themselves, rights, limits and counters.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sockeye_hub::{
    Capacity, ChannelName, Hub, Lease, Loaded, Position, Publication, PublishError, Share, Start,
};

use crate::auth::{Authority, Caller, Right};
use crate::channel_rule::ChannelRules;
use crate::events::{Delivery, FINISH};
use crate::fanout::Groups;
use crate::http::origin::OriginRule;
use crate::http::problem::{Code, Problem};
use crate::lifecycle::drain::Drain;
use crate::lifecycle::sweep::Sweeper;
use crate::limits::Limits;
use crate::limits::pace::{Paces, Publisher};
#[cfg(feature = "prometheus")]
use crate::metrics::Levels;
use crate::metrics::Metrics;
use crate::metrics::connections::{ConnectionRegister, PublishedBy};
use crate::option_names::OptionNames;
use crate::rate::Rate;
use crate::trace::{PublicationSpan, Traces};

/// A publication's turn, which has come when this is ready.
pub(crate) type Turn = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the routes share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) hub: Hub,
    pub(crate) origins: OriginRule,
    pub(crate) authority: Authority,
    pub(crate) limits: Arc<Limits>,
    /// The largest message; a channel may have less.
    pub(crate) max_message: usize,
    /// What holds for some channels only.
    pub(crate) rules: Arc<ChannelRules>,
    pub(crate) names: OptionNames,
    /// The limits of plain WebSockets and of `sockeye.v1`, shared by all of them.
    pub(crate) plain_config: Arc<sockeye::Config>,
    pub(crate) v1_config: Arc<sockeye::Config>,
    /// The limits of `sockeye.v1` on a connection that has not sent a token yet.
    pub(crate) anonymous_config: Arc<sockeye::Config>,
    /// The rate of commands of `sockeye.v1`, and of messages on a plain WebSocket.
    pub(crate) command_rate: Rate,
    pub(crate) message_rate: Option<Rate>,
    /// The rate at which each publisher may publish by requests.
    pub(crate) paces: Option<Paces>,
    /// The same of subjects, on every transport.
    pub(crate) subject_paces: Option<Arc<Paces>>,
    pub(crate) auth_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) write_timeout: Duration,
    /// How WebSockets are compressed.
    pub(crate) deflate: Option<sockeye::DeflateConfig>,
    pub(crate) heartbeat: Duration,
    pub(crate) drain: Drain,
    pub(crate) sweeper: Sweeper,
    /// What is told who comes and goes, if anything.
    pub(crate) events: Option<Delivery>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) register: Arc<ConnectionRegister>,
    pub(crate) traces: Traces,
    pub(crate) groups: Arc<Groups>,
}

impl App {
    /// Makes the channel ready to be read from `start` on, as long as what this gives is held, unless
    /// the caller does not have this right. To be called before anything else is done with it, and before the
    /// right is looked at: it is asked for here.
    pub(crate) async fn load(
        &self,
        caller: &Caller,
        (right, channel): (Right, &ChannelName),
        start: Start,
    ) -> Result<Option<Loaded>, Problem> {
        if let Some(asking) = caller.asking(right, channel) {
            asking.await?;
        }
        if caller.may(right, channel).is_err() {
            return Ok(None);
        }
        let loaded = self.hub.load(channel, start).await;
        // Loading may have taken longer than the answer was good for.
        if let Some(asking) = caller.asking(right, channel) {
            asking.await?;
        }
        loaded.map(Some).map_err(|error| Problem::new(Code::Unavailable, error))
    }

    /// Starts the tasks of the channels where none runs, if there is a runtime to do it on.
    pub(crate) fn keep_tasks(&self) {
        self.sweeper.keep(&self.hub);
        if let Some(events) = &self.events {
            events.keep();
        }
    }

    /// Tells what is to be told at the end: of who is gone, and to the other nodes that this one is.
    pub(crate) async fn finish(&self) {
        if let Some(events) = &self.events {
            events.finish(FINISH).await;
        }
        self.hub.leave_cluster().await;
    }

    /// Publishes for the caller: the only way in, whatever the transport.
    ///
    /// Positions have the order of the calls: a caller may publish again before the first position is
    /// known.
    pub(crate) fn publish(
        &self,
        (caller, by, mut span): (&Caller, PublishedBy<'_>, PublicationSpan),
        channel: &ChannelName,
        publication: Publication<'_>,
    ) -> impl Future<Output = Result<Position, Problem>> + Send + use<> {
        // Before the hub has it: a tap that reads the message waits for what is known of its publisher.
        let size = publication.payload.as_bytes().len();
        let attempt = self.register.publication(channel, size, (by, caller.id()));
        let publishing = self.may_publish(caller, channel, &publication).map(|()| {
            span.stores(size);
            self.hub.publish(channel, publication.account(&caller.account()))
        });
        let metrics = Arc::clone(&self.metrics);
        let (hub, caller, names) = (self.hub.clone(), caller.clone(), self.names);
        async move {
            let published = match publishing {
                Ok(publishing) => {
                    publishing.await.map_err(|error| not_taken(&hub, &caller, error, names))
                }
                Err(problem) => Err(problem),
            };
            metrics.published(published.as_ref().map(|_| ()).map_err(Problem::code));
            span.ends(published.as_ref().copied().map_err(Problem::code));
            if let Some(attempt) = attempt {
                attempt.settle(published.as_ref().copied().map_err(Problem::code));
            }
            published
        }
    }

    /// Waits until a publication may be taken that the caller's subject has sent, where that is limited; it counts.
    pub(crate) fn publication_turn(&self, caller: &Caller) -> Option<Turn> {
        let paces = Arc::clone(self.subject_paces.as_ref()?);
        let publisher = Publisher::Subject(caller.subject()?.to_owned());
        Some(Box::pin(async move { paces.wait(publisher).await }))
    }

    /// Ends the channel for the caller, in the order of its publications.
    pub(crate) fn end(
        &self,
        caller: &Caller,
        channel: &ChannelName,
    ) -> impl Future<Output = Result<Position, Problem>> + Send + use<> {
        let may = caller.may(Right::Write, channel);
        let ending = may.map(|()| self.hub.end(channel, &caller.account()));
        let (hub, caller, names) = (self.hub.clone(), caller.clone(), self.names);
        async move { ending?.await.map_err(|error| not_taken(&hub, &caller, error, names)) }
    }

    fn may_publish(
        &self,
        caller: &Caller,
        channel: &ChannelName,
        publication: &Publication<'_>,
    ) -> Result<(), Problem> {
        caller.may(Right::Write, channel)?;
        let max = self.max_message_of(channel);
        match publication.payload.as_bytes().len() > max {
            true => Err(self.too_large(max)),
            false => Ok(()),
        }
    }

    /// The largest message on the channel, in bytes.
    pub(crate) fn max_message_of(&self, channel: &ChannelName) -> usize {
        self.rules.max_message(channel, self.max_message)
    }

    /// `413`: the message is larger than this, the most on all channels or on one.
    pub(crate) fn too_large(&self, max: usize) -> Problem {
        let detail = match max < self.max_message {
            true => {
                let option = self.names.of("channel");
                format!("A message on this channel has at most {max} bytes: see {option}.")
            }
            false => {
                let option = self.names.of("max_message");
                format!("A message has at most {max} bytes: see {option}.")
            }
        };
        Problem::new(Code::TooLarge, detail).and_close()
    }

    /// Makes a client present on the channel as long as what this gives is held, if readers of it count.
    pub(crate) fn join(&self, channel: &ChannelName, id: Option<&str>) -> Option<Lease> {
        self.counts(channel).then(|| self.hub.join(channel, self.shown(channel, id)))
    }

    /// Whether readers of the channel count: for presence, or because events tell whether there are any.
    pub(crate) fn counts(&self, channel: &ChannelName) -> bool {
        self.rules.has_presence(channel)
            || self.events.as_ref().is_some_and(|events| events.tells_of(channel))
    }

    /// The id under which a client of that id is shown: none where there is no presence.
    pub(crate) fn shown<'a>(&self, channel: &ChannelName, id: Option<&'a str>) -> Option<&'a str> {
        id.filter(|_| self.rules.has_presence(channel))
    }

    /// An error of the hub as the problem that a client sees.
    pub(crate) fn refused(&self, error: PublishError) -> Problem {
        refused(error, self.names)
    }

    /// The levels of everything at this moment, for the metrics.
    #[cfg(feature = "prometheus")]
    pub(crate) fn levels(&self) -> Levels {
        let (connections, pending) = (self.limits.connections(), self.limits.pending());
        let budget = self.deflate.as_ref().map(|deflate| &deflate.takeover_budget);
        let paces = self.paces.iter().chain(self.subject_paces.as_deref());
        let (taps, tap_bytes) = self.register.held_by_taps();
        Levels {
            hub: self.hub.figures(),
            max_form_bytes: self.hub.max_form_bytes(),
            max_presence_bytes: self.hub.options().max_presence_bytes,
            max_channels: self.hub.options().max_channels,
            max_bytes: self.hub.options().max_bytes,
            store_is_failing: self.hub.health().is_err(),
            ticket_bytes: self.authority.ticket_bytes() as u64,
            indebted: self.limits.indebted() as u64
                + paces.map(|paces| paces.len() as u64).sum::<u64>(),
            taps: (taps as u64, tap_bytes as u64),
            revoked: self.authority.revoked() as u64,
            issuer_keys: self.authority.issuer_keys(),
            authorizer: self.authority.authorizer_figures(),
            deflate: budget.map(|budget| (budget.reserved() as u64, budget.limit() as u64)),
            lags: self.register.lags(&self.hub),
            events: self.events.as_ref().map(Delivery::figures).unwrap_or_default(),
            is_draining: self.drain.has_begun(),
            connections: connections.len() as u64,
            max_connections: connections.max().unwrap_or(0) as u64,
            pending: pending.len() as u64,
            idle: pending.idle() as u64,
            evicted: pending.evicted(),
            refused: connections.refusals(),
        }
    }
}

/// Why the hub has not taken what the caller published.
fn not_taken(hub: &Hub, caller: &Caller, error: PublishError, names: OptionNames) -> Problem {
    match error {
        PublishError::Full { capacity, share } => no_room(hub, caller, (capacity, share), names),
        error => refused(error, names),
    }
}

/// `507`: which limit is reached, what the account holds of it, and what to do.
fn no_room(
    hub: &Hub,
    caller: &Caller,
    (capacity, share): (Capacity, Share),
    names: OptionNames,
) -> Problem {
    let account = caller.account();
    let held = hub.holdings(&account);
    let held = match capacity {
        Capacity::Channels => held.channels,
        _ => held.bytes,
    };
    let detail = match (capacity, share) {
        (Capacity::Channels, Share::Own) => format!(
            "The limit of channels is reached, and {account} has {held} of them, which is its share: \
             DELETE channels, which are freed some seconds later, or wait until their messages \
             expire."
        ),
        (_, Share::Own) => format!(
            "The limit of bytes is reached, and {account}, which has {held} of them, would have more \
             than its share: DELETE channels, or wait until messages expire, and idempotency keys \
             after 5 minutes."
        ),
        (Capacity::Channels, _) => format!(
            "The limit of channels is reached, {account} has {held} of them, and publishers that have \
             more have readers on all of theirs: try again later, or raise {}.",
            names.of("max_channels")
        ),
        _ => format!(
            "The limit of bytes is reached, {account} has {held} of them, and publishers that have \
             more cannot free any: try again later, or raise {}.",
            names.of("max_bytes")
        ),
    };
    Problem::new(Code::InsufficientStorage, detail)
}

/// An error of the hub as the problem that a client sees.
fn refused(error: PublishError, names: OptionNames) -> Problem {
    match error {
        PublishError::TooLarge { .. } => {
            let detail = format_args!("{error}: see {}", names.of("history_bytes"));
            Problem::new(Code::TooLarge, detail)
        }
        PublishError::Ended => {
            let detail = format_args!("{error}: DELETE opens it again");
            Problem::new(Code::Ended, detail)
        }
        PublishError::Full { .. } => Problem::new(Code::InsufficientStorage, error),
        PublishError::NoSpace => {
            let detail = format_args!(
                "{error}: free space on the disk of {}; publishing then resumes by itself",
                names.of("data")
            );
            Problem::new(Code::InsufficientStorage, detail)
        }
        PublishError::ClusterFull => {
            let detail = format_args!(
                "{error}: free space on the disks of NATS, or raise the limits of its JetStream; \
                 publishing then resumes by itself"
            );
            Problem::new(Code::InsufficientStorage, detail)
        }
        PublishError::Busy | PublishError::ClusterBusy | PublishError::Unavailable => {
            Problem::new(Code::Unavailable, format_args!("{error}: try again in a moment"))
        }
        PublishError::Unknown => {
            let detail = format_args!("{error}: repeat it with the same Idempotency-Key");
            Problem::new(Code::Unavailable, detail)
        }
        PublishError::Disk | PublishError::ClusterFailed => {
            Problem::new(Code::Internal, format_args!("{error}: see the server's log"))
        }
        _ => Problem::new(Code::Internal, error),
    }
}
