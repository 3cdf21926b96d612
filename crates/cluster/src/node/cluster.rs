//! A node's part in a cluster: the hub's backplane.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sockeye_hub::{ChannelName, ENTRY_OVERHEAD, IdempotencyKey};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::error::jetstream::{ApiError, code};
use crate::message::Headers;
use crate::message::own_ids::OwnIds;
use crate::message::subjects::Names;
use crate::nats::api::{Api, Get};
use crate::nats::connection::{self, Connection};
use crate::nats::permissions;
use crate::nats::waiting::Waiting;
use crate::node::markers::Marker;
use crate::operate::figures::ClusterFigures;
use crate::operate::status::{self, About};
use crate::presence::Members;
use crate::publish::ack::Failure;
use crate::publish::clock;
use crate::publish::{Done, Limits, Outgoing, PublishCounts, Publisher};
use crate::records::{self, SharedRecords};
use crate::shard::Shard;
use crate::shard::epoch;
use crate::shard::feed::{self, Feed, FeedBounds, Reset};
use crate::streams::{self, SLACK, key};
use crate::{ClusterOptions, StartError};
use sockeye_hub::backplane::{
    self, Backplane, Figure, NodeId, NodeLink, NodeSink, Records, Reply, Sink, Stored, What,
};
use sockeye_hub::store::StoreError;

/// How long until something is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long most shards may be stale until another server of NATS is tried: one that is cut off from
/// the others does not know it.
const STALE: Duration = Duration::from_secs(3);
/// The same for any of them: longer than the election of a leader takes.
const STALE_FOR_LONG: Duration = Duration::from_secs(10);
/// The least time between two such changes.
const BETWEEN_CHANGES: Duration = Duration::from_secs(10);
/// How often it is looked how stale they are.
const LOOK: Duration = Duration::from_millis(500);
/// How long a shard may be stale until the node says that it is not ready.
const UNHEALTHY: Duration = Duration::from_secs(10);
/// How many digits of a hash name a key.
const ID_DIGITS: usize = 22;
/// How many channels with more than one answer has are read at once: each may have twice what is shown of it.
const LONG_READS: usize = 4;

/// A node's part in a cluster. Cloning is cheap: clones are the same node.
///
/// It is a [`Backplane`]. The feeds run until the runtime ends.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    about: About,
    options: ClusterOptions,
    api: Api,
    runtime: Handle,
    connections: watch::Receiver<u64>,
    shards: Vec<Arc<Shard>>,
    publishers: Vec<Publisher>,
    counts: Arc<PublishCounts>,
    /// Taken by those reads of channels that one answer is not enough for.
    long_reads: Semaphore,
    members: Members,
    own_ids: OwnIds,
}

impl Cluster {
    /// Connects to NATS, however long it takes, and makes the streams that are not there.
    ///
    /// # Errors
    ///
    /// [`StartError`] if waiting does not help, in one line that says what to do.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn connect(options: ClusterOptions) -> Result<Self, StartError> {
        Self::join(options, &Waiting::new()).await
    }

    /// The same, which tells what it waits for.
    pub(crate) async fn join(
        options: ClusterOptions,
        waiting: &Waiting,
    ) -> Result<Self, StartError> {
        let connection = connection::connect(&options, waiting).await?;
        let (forbidden, servers) = (connection.forbidden.clone(), options.servers.to_string());
        tokio::select! {
            biased;
            refusal = forbidden.refusal(&servers) => Err(refusal),
            joined = Self::join_with(connection, options, waiting) => {
                forbidden.joined();
                joined
            }
        }
    }

    async fn join_with(
        connection: Connection,
        options: ClusterOptions,
        waiting: &Waiting,
    ) -> Result<Self, StartError> {
        let Connection { client, connections, forbidden, stopping } = connection;
        connection::check_server(&client, &options)?;
        let unknown = Arc::new(Names::new(options.name.clone(), 1));
        let capacity = connection::capacity(&options);
        let api = Api::new(client.clone(), unknown, capacity);
        permissions::try_talking(&api).await;
        check_jetstream(&api, &options, waiting).await?;
        let shards = streams::shards(&api, &options, waiting).await?;
        let api = Api::new(client, Arc::new(Names::new(options.name.clone(), shards)), capacity);
        let leaving = api.traffic().clone();
        tokio::spawn(leaving.leave_in_time(api.client().clone(), stopping, connections.clone()));
        let found = streams::ensure(&api, &options, waiting).await?;
        records::ensure(&api, &options, waiting).await?;
        permissions::try_publishing(&api).await;
        let shards: Vec<_> = (0..)
            .zip(found)
            .map(|(number, found)| Arc::new(Shard::new(number, found.epoch)))
            .collect();
        let (queued, counts) = (Arc::new(AtomicU64::new(0)), Arc::new(PublishCounts::default()));
        let message = options.max_message_size() as u64;
        let limits = Limits { history: options.history_bytes, message, answers: capacity };
        let publisher = |shard: &Arc<Shard>| {
            let (queued, counts) = (Arc::clone(&queued), Arc::clone(&counts));
            let (api, connections) = (api.clone(), connections.clone());
            Publisher::start(api, connections, Arc::clone(shard), limits, queued, counts)
        };
        let publishers: Vec<_> = shards.iter().map(publisher).collect();
        for (shard, publisher) in shards.iter().zip(&publishers) {
            clock::start(&api, shard, publisher).await;
        }
        let about = About {
            api: api.clone(),
            options: options.clone(),
            shards: shards.clone(),
            since: Instant::now(),
            allowed: UNHEALTHY,
            forbidden,
        };
        tokio::spawn(status::answer(about.clone()));
        tokio::spawn(permissions::watch(about.api.clone(), about.forbidden.clone()));
        Ok(Self(Arc::new(Inner {
            about,
            options,
            api,
            runtime: Handle::current(),
            connections,
            shards,
            publishers,
            counts,
            long_reads: Semaphore::new(LONG_READS),
            members: Members::default(),
            own_ids: OwnIds::random(),
        })))
    }

    /// Waits until every shard is followed.
    pub async fn ready(&self) {
        while !self.0.shards.iter().all(|shard| shard.is_live()) {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the node has done so far.
    pub fn figures(&self) -> ClusterFigures {
        ClusterFigures::of(&self.0.shards, &self.0.counts)
    }

    /// Whether there is a connection to NATS just now.
    #[cfg(test)]
    pub(crate) fn is_connected(&self) -> bool {
        self.0.api.client().connection_state() == State::Connected
    }

    /// Ends the connection to NATS for good.
    #[cfg(test)]
    pub(crate) async fn disconnect(&self) {
        self.0.api.client().drain().await.expect("it was connected");
    }

    #[cfg(test)]
    pub(crate) fn api(&self) -> &Api {
        &self.0.api
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> &Arc<Names> {
        self.0.api.names()
    }

    /// Publishes the marker behind which a history is forgotten, whatever it takes.
    pub(crate) fn forgotten(
        &self,
        channel: &ChannelName,
    ) -> impl Future<Output = Result<u64, Failure>> + use<> {
        // Handed over now: its place among what is published is that of this call.
        let forgotten = self.marker(channel).map(Marker::forget);
        async move { forgotten.ok_or(Failure::Failed)?.await }
    }

    /// Publishes the end of a channel; gives that of one that has ended.
    pub(crate) fn ended(
        &self,
        channel: &ChannelName,
    ) -> impl Future<Output = Result<u64, Failure>> + use<> {
        let holds = self.0.options.history_age.saturating_add(SLACK / 4 * 3);
        let ended = self.marker(channel).map(|marker| marker.end(holds));
        async move { ended.ok_or(Failure::Failed)?.await }
    }

    fn marker(&self, channel: &ChannelName) -> Option<Marker> {
        let (_, publisher) = self.shard_of(self.shard(channel))?;
        let (api, publisher) = (self.0.api.clone(), publisher.clone());
        Some(Marker { api, publisher, channel: channel.clone() })
    }

    /// Carries what is said between hubs.
    pub(crate) fn carry(&self, members: &Members) {
        members.start(self.0.api.client(), &self.0.runtime);
    }

    pub(crate) fn shard_of(&self, number: u16) -> Option<(&Arc<Shard>, &Publisher)> {
        let index = usize::from(number);
        self.0.shards.get(index).zip(self.0.publishers.get(index))
    }
}

impl Inner {
    /// How the cluster is, as this node sees it.
    async fn report(&self) -> String {
        let status = status::gather(&self.api, &self.options).await;
        serde_json::to_string(&status).unwrap_or_default()
    }
}

/// JetStream may still be electing its leaders.
async fn check_jetstream(
    api: &Api,
    options: &ClusterOptions,
    waiting: &Waiting,
) -> Result<(), StartError> {
    const TRIES: u32 = 40;
    const TELL: u32 = 10;
    let mut tries = 0;
    loop {
        let no_jetstream = || StartError::NoJetStream { server: options.servers.to_string() };
        match api.account().await {
            Ok(()) => return Ok(()),
            Err(error) => match error.code() {
                Some(code::NOT_ENABLED | code::NOT_ENABLED_FOR_ACCOUNT) => {
                    return Err(no_jetstream());
                }
                _ if !error.is_passing() => return Err(streams::refused("JetStream", error)),
                _ if tries >= TRIES && matches!(error, ApiError::NoResponders) => {
                    return Err(no_jetstream());
                }
                // It is known soon whether there is one.
                _ if matches!(error, ApiError::NoResponders) => {}
                _ if tries % TELL == 0 => {
                    tracing::warn!(%error, "waiting for JetStream");
                    waiting.wait_for(streams::waiting_for_jetstream(&error));
                }
                _ => {}
            },
        }
        tries += 1;
        sleep(PAUSE).await;
    }
}

/// Follows a shard, from the moment that its stream can be asked.
async fn follow(inner: Arc<Inner>, shard: Arc<Shard>, sink: Arc<dyn Sink>) {
    let (api, number) = (&inner.api, shard.number);
    let stream = api.names().stream(number);
    let (live, (info, ends)) = loop {
        let subscribed = feed::subscribe(api, number).await;
        // The leader has answered: it knows of the subscription, which is behind it on the way.
        match (subscribed, feed::place(api, number).await) {
            (Ok(live), Ok(place)) => break (live, place),
            (_, Err(error)) => tracing::debug!(stream, %error, "cannot be followed yet"),
            (Err(error), _) => tracing::debug!(stream, %error, "cannot be followed yet"),
        }
        sleep(PAUSE).await;
    };
    let epoch = info.metadata(key::EPOCH).and_then(|text| text.parse().ok());
    let epoch = epoch.unwrap_or(shard.place().epoch);
    let begin = Reset { epoch, upto: info.state.last_seq, ends };
    let (findings, found) = mpsc::unbounded_channel();
    // Less than the stream keeps, which drops nothing for its age before.
    let age = inner.options.history_age.saturating_add(SLACK / 2);
    let bounds = FeedBounds {
        age,
        held: inner.options.max_held_bytes / u64::from(inner.api.names().shards()),
    };
    let feed = Feed::new(api.clone(), Arc::clone(&shard), sink, bounds, begin);
    let period = clock::period(&inner.options);
    if let Some(publisher) = inner.publishers.get(usize::from(number)) {
        tokio::spawn(clock::wind(api.clone(), Arc::clone(&shard), publisher.clone(), period));
    }
    tokio::spawn(epoch::watch(api.clone(), Arc::clone(&shard), findings));
    feed.run(live, found, inner.connections.clone()).await;
    tracing::error!(
        stream,
        "the connection to NATS has ended for good: this node follows its channels no longer and \
         has to be restarted"
    );
}

/// When [`stay_fresh`] looks. After a stop of this process not at once for each look that was missed: what has come
/// meanwhile is read first.
fn looks() -> Interval {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// Takes another server of NATS when this one tells nothing any more.
async fn stay_fresh(inner: Arc<Inner>) {
    let mut tick = looks();
    let (mut changed, mut looked) = (None::<Instant>, Instant::now());
    loop {
        tick.tick().await;
        // This process was stopped, and what has come meanwhile is not read yet.
        if std::mem::replace(&mut looked, Instant::now()).elapsed() > STALE / 2 {
            continue;
        }
        let live = inner.shards.iter().filter(|shard| shard.is_live());
        let mut staleness: Vec<_> = live.map(|shard| shard.staleness()).collect();
        staleness.sort_unstable();
        // Where one leader has died, its shards wait for another, and the others go on.
        let is_stale = staleness.get(staleness.len() / 2).is_some_and(|most| *most > STALE)
            || staleness.last().is_some_and(|any| *any > STALE_FOR_LONG);
        let is_due = changed.is_none_or(|changed| changed.elapsed() > BETWEEN_CHANGES);
        if is_stale && is_due && inner.api.client().connection_state() == State::Connected {
            tracing::warn!("this server of NATS says nothing of some shards: taking another");
            changed = Some(Instant::now());
            if inner.api.client().force_reconnect().await.is_err() {
                return;
            }
        }
    }
}

impl Backplane for Cluster {
    fn shards(&self) -> u16 {
        self.0.api.names().shards()
    }

    fn shard(&self, channel: &ChannelName) -> u16 {
        self.0.api.names().shard(channel)
    }

    fn attach(&self, sink: Arc<dyn Sink>) {
        for shard in &self.0.shards {
            let follow = follow(Arc::clone(&self.0), Arc::clone(shard), Arc::clone(&sink));
            self.0.runtime.spawn(follow);
        }
        self.0.runtime.spawn(stay_fresh(Arc::clone(&self.0)));
    }

    fn message_id(&self, channel: &ChannelName, key: &IdempotencyKey) -> String {
        message_id(channel, key)
    }

    fn publish(&self, outgoing: backplane::Outgoing) {
        let backplane::Outgoing {
            channel,
            shard,
            payload,
            event,
            id,
            source,
            is_behind_end,
            reply,
        } = outgoing;
        let name = event.as_ref().map_or(0, |event| event.as_str().len());
        let charge = (payload.as_bytes().len() + name) as u64 + ENTRY_OVERHEAD;
        let Some((_, publisher)) = self.shard_of(shard) else { return };
        let id = id.or_else(|| self.0.own_ids.give().map(Arc::from));
        let repeatable = id.is_some();
        let mut headers = Headers::of(&payload, event, id);
        if is_behind_end {
            headers = headers.behind(self.0.api.names().end_subject(&channel));
        }
        publisher.publish(Outgoing {
            subject: self.0.api.names().log_subject(&channel).into(),
            repeatable,
            headers,
            payload: payload.as_bytes().clone(),
            source,
            charge,
            done: Done::Hub(reply),
        });
    }

    fn end(&self, channel: ChannelName, reply: Reply) {
        self.0.runtime.spawn(reply_with(self.ended(&channel), reply));
    }

    fn slack(&self) -> Duration {
        SLACK
    }

    fn forget(&self, channel: ChannelName, reply: Reply) {
        self.0.runtime.spawn(reply_with(self.forgotten(&channel), reply));
    }

    fn read(&self, channel: ChannelName) -> backplane::Answer<Stored> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let read = read(&inner.api, &inner.long_reads, &channel).await;
            read.map_err(|error| {
                tracing::debug!(channel = channel.as_str(), %error, "the channel cannot be read");
                StoreError::Unavailable
            })
        })
    }

    fn reads(&self) -> usize {
        self.0.options.reads_of_shard(self.shards())
    }

    fn last(&self, shard: u16) -> backplane::Answer<u64> {
        let api = self.0.api.clone();
        Box::pin(async move {
            let info = api.info(&api.names().stream(shard)).await;
            info.map(|info| info.state.last_seq).map_err(|_| StoreError::Unavailable)
        })
    }

    fn health(&self) -> Result<(), StoreError> {
        match self.0.about.is_healthy() {
            true => Ok(()),
            false => Err(StoreError::Unavailable),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.0.about.status().failure
    }

    fn report(&self) -> Option<backplane::Report> {
        let inner = Arc::clone(&self.0);
        Some(Box::pin(async move { inner.report().await }))
    }

    fn link(&self, node: NodeId, sink: Arc<dyn NodeSink>) -> Option<Arc<dyn NodeLink>> {
        let link = self.0.members.link(Arc::clone(self.0.api.names()), node, sink);
        self.carry(&self.0.members);
        Some(link)
    }

    fn flush(&self) -> backplane::Answer<()> {
        let flushed = self.0.members.flush();
        Box::pin(async move {
            flushed.await;
            Ok(())
        })
    }

    fn records(&self) -> Option<Arc<dyn Records>> {
        Some(SharedRecords::new(self.0.api.clone()))
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = ClusterFigures::of(&self.0.shards, &self.0.counts).for_operators();
        figures.extend(self.0.members.figures());
        figures
    }
}

/// By what JetStream knows a publication with that key again.
pub(crate) fn message_id(channel: &ChannelName, key: &IdempotencyKey) -> String {
    let mut hash = Context::new(&SHA256);
    // The ids of a stream are those of many channels.
    hash.update(channel.as_str().as_bytes());
    hash.update(&[0]);
    hash.update(key.as_text().as_bytes());
    let mut id = BASE64_URL_SAFE_NO_PAD.encode(hash.finish());
    id.truncate(ID_DIGITS);
    id
}

/// Tells what has become of a marker.
async fn reply_with(outcome: impl Future<Output = Result<u64, Failure>>, reply: Reply) {
    match outcome.await {
        Ok(seq) => reply.taken(seq),
        Err(failure) => reply.refused(failure.error(0, 0)),
    }
}

/// All that the stream has of a channel, and what tells whether that is all.
async fn read(
    api: &Api,
    long_reads: &Semaphore,
    channel: &ChannelName,
) -> Result<Stored, ApiError> {
    let names = api.names();
    let (shard, subject) = (names.shard(channel), names.log_subject(channel));
    let end_subject = names.end_subject(channel);
    let clock = api.names().clock_subject(shard);
    let mut messages = Vec::new();
    let mut from = 1;
    let mut place = None;
    loop {
        let answer = api.get(shard, &Get::from(from, &subject)).await?;
        messages.extend(answer.arrivals);
        if answer.more == 0 {
            break;
        }
        if place.is_none() {
            // The semaphore is never closed.
            place = long_reads.acquire().await.ok();
        }
        match messages.last() {
            Some(last) if last.offset >= from => from = last.offset + 1,
            // There is more, and none of it has come.
            _ => return Err(ApiError::Unanswered),
        }
    }
    let newest = api.get(shard, &Get::last_of(&[subject, end_subject, clock.clone()])).await?;
    let is_clock = |what: &What| matches!(what, What::Clock);
    let is_of_end = |what: &What| matches!(what, What::End(_) | What::Open { .. });
    let is_of_log = |what: &What| matches!(what, What::Message { .. } | What::Forget(_));
    let of_log = newest.arrivals.iter().filter(|arrival| is_of_log(&arrival.what));
    let head = of_log.map(|arrival| arrival.offset).max().unwrap_or(0);
    let end = newest.arrivals.iter().find(|arrival| is_of_end(&arrival.what)).cloned();
    let oldest = api.get(shard, &Get::first(&clock)).await?;
    let clock = oldest.arrivals.iter().find(|arrival| is_clock(&arrival.what));
    let clock = clock.map(|arrival| arrival.offset);
    Ok(Stored { messages, head, upto: newest.up_to.unwrap_or(0), clock, end })
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { options, shards, .. } = &*self.0;
        f.debug_struct("Cluster")
            .field("name", &options.name)
            .field("servers", &options.servers)
            .field("shards", &shards.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_stopped_reads_before_it_looks_again() {
        let mut looks = looks();
        looks.tick().await;
        tokio::time::advance(20 * STALE).await;
        looks.tick().await;
        assert!(looks.tick().now_or_never().is_none());
        tokio::time::advance(LOOK).await;
        assert!(looks.tick().now_or_never().is_some());
    }
}
