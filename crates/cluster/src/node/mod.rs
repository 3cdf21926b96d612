//! A node: it is there before its cluster can be reached, and joins it as soon as it can.

pub(crate) mod cluster;
mod markers;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sockeye_hub::backplane::{
    Answer, Backplane, Figure, NodeId, NodeLink, NodeSink, Outgoing, Record, Records, Reply,
    Report, Sink, Stored,
};
use sockeye_hub::store::StoreError;
use sockeye_hub::{ChannelName, IdempotencyKey, PublishError};
use tokio::sync::{oneshot, watch};

use crate::message::subjects::Names;
use crate::nats::waiting::Waiting;
use crate::node::cluster::message_id;
use crate::operate::figures::ClusterFigures;
use crate::presence::Members;
use crate::streams::{MAX_SHARDS, SLACK};
use crate::{Cluster, ClusterOptions, StartError, Status};

/// A node of a cluster that may not be reachable yet: the backplane of a server that listens meanwhile.
///
/// Until it has joined nothing can be read or published, and [`health`](Backplane::health) says so. Cloning is
/// cheap: clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    options: ClusterOptions,
    started: Instant,
    joined: OnceLock<Cluster>,
    /// The hub, if it is there before the cluster.
    sink: Mutex<Option<Arc<dyn Sink>>>,
    waiting: Waiting,
    members: Members,
}

/// The records of the cluster, once the node has joined it.
#[derive(Debug)]
struct NodeRecords(Node);

/// How the joining of a [`Node`] goes on.
#[derive(Debug)]
pub struct Joining {
    outcome: oneshot::Receiver<Result<Cluster, StartError>>,
    waiting: watch::Receiver<Option<String>>,
    joined: Option<Cluster>,
}

impl Node {
    /// Begins to join the cluster, in a task of its own, and goes on until it has or is refused.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(options: ClusterOptions) -> (Self, Joining) {
        let waiting = Waiting::new();
        let (told, outcome) = oneshot::channel();
        let joining = Joining { outcome, waiting: waiting.subscribe(), joined: None };
        let node = Self(Arc::new(Inner {
            options,
            started: Instant::now(),
            joined: OnceLock::new(),
            sink: Mutex::new(None),
            waiting,
            members: Members::default(),
        }));
        let joins = node.clone();
        tokio::spawn(async move {
            let Inner { options, waiting, .. } = &*joins.0;
            let outcome = Cluster::join(options.clone(), waiting).await;
            if let Ok(cluster) = &outcome {
                joins.has_joined(cluster);
            }
            // The caller may not wait for it.
            let _ = told.send(outcome);
        });
        (node, joining)
    }

    fn has_joined(&self, cluster: &Cluster) {
        let mut sink = self.sink();
        let _ = self.0.joined.set(cluster.clone());
        if let Some(sink) = sink.take() {
            cluster.attach(sink);
        }
        cluster.carry(&self.0.members);
    }

    fn sink(&self) -> MutexGuard<'_, Option<Arc<dyn Sink>>> {
        self.0.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Joining {
    /// Waits until the node has joined, or knows that something has to be waited for. Whether it has joined.
    ///
    /// # Errors
    ///
    /// [`StartError`] if waiting does not help, in one line that says what to do.
    pub async fn settled(&mut self) -> Result<bool, StartError> {
        if self.joined.is_some() {
            return Ok(true);
        }
        let outcome = tokio::select! {
            biased;
            outcome = &mut self.outcome => outcome,
            _ = self.waiting.wait_for(Option::is_some) => return Ok(false),
        };
        if let Ok(outcome) = outcome {
            self.joined = Some(outcome?);
        }
        Ok(true)
    }

    /// Waits until the node follows every shard.
    ///
    /// # Errors
    ///
    /// [`StartError`] if it is refused before that.
    pub async fn ready(&mut self) -> Result<(), StartError> {
        if self.joined.is_none()
            && let Ok(outcome) = (&mut self.outcome).await
        {
            self.joined = Some(outcome?);
        }
        match &self.joined {
            Some(cluster) => cluster.ready().await,
            // The runtime of the task has ended.
            None => std::future::pending().await,
        }
        Ok(())
    }

    /// Waits until the node is refused: for ever once it has joined.
    pub async fn refused(mut self) -> StartError {
        if self.joined.is_none()
            && let Ok(Err(why)) = (&mut self.outcome).await
        {
            return why;
        }
        std::future::pending().await
    }
}

impl Backplane for Node {
    /// As many as there can be: how many there are is not known from the beginning.
    fn shards(&self) -> u16 {
        MAX_SHARDS
    }

    fn shard(&self, channel: &ChannelName) -> u16 {
        // Any will do before: none of them has begun.
        self.0.joined.get().map_or(0, |cluster| cluster.shard(channel))
    }

    fn attach(&self, sink: Arc<dyn Sink>) {
        let mut waiting = self.sink();
        match self.0.joined.get() {
            Some(cluster) => cluster.attach(sink),
            None => *waiting = Some(sink),
        }
    }

    fn message_id(&self, channel: &ChannelName, key: &IdempotencyKey) -> String {
        message_id(channel, key)
    }

    fn publish(&self, outgoing: Outgoing) {
        match self.0.joined.get() {
            Some(cluster) => cluster.publish(outgoing),
            None => outgoing.reply.refused(PublishError::Unavailable),
        }
    }

    fn end(&self, channel: ChannelName, reply: Reply) {
        match self.0.joined.get() {
            Some(cluster) => cluster.end(channel, reply),
            None => reply.refused(PublishError::Unavailable),
        }
    }

    fn slack(&self) -> Duration {
        SLACK
    }

    fn forget(&self, channel: ChannelName, reply: Reply) {
        match self.0.joined.get() {
            Some(cluster) => cluster.forget(channel, reply),
            None => reply.refused(PublishError::Unavailable),
        }
    }

    fn read(&self, channel: ChannelName) -> Answer<Stored> {
        match self.0.joined.get() {
            Some(cluster) => cluster.read(channel),
            None => Box::pin(async { Err(StoreError::Unavailable) }),
        }
    }

    fn reads(&self) -> usize {
        self.0.joined.get().map_or(1, Backplane::reads)
    }

    fn last(&self, shard: u16) -> Answer<u64> {
        match self.0.joined.get() {
            Some(cluster) => cluster.last(shard),
            None => Box::pin(async { Err(StoreError::Unavailable) }),
        }
    }

    fn health(&self) -> Result<(), StoreError> {
        self.0.joined.get().map_or(Err(StoreError::Unavailable), Backplane::health)
    }

    fn trouble(&self) -> Option<String> {
        match self.0.joined.get() {
            Some(cluster) => cluster.trouble(),
            None => Some(
                self.0.waiting.text().unwrap_or_else(|| "the node joins its cluster".to_owned()),
            ),
        }
    }

    fn link(&self, node: NodeId, sink: Arc<dyn NodeSink>) -> Option<Arc<dyn NodeLink>> {
        let Inner { options, members, joined, .. } = &*self.0;
        let link = members.link(Arc::new(Names::new(options.name.clone(), 1)), node, sink);
        if let Some(cluster) = joined.get() {
            cluster.carry(members);
        }
        Some(link)
    }

    fn flush(&self) -> Answer<()> {
        let flushed = self.0.joined.get().map(|_| self.0.members.flush());
        Box::pin(async move {
            if let Some(flushed) = flushed {
                flushed.await;
            }
            Ok(())
        })
    }

    fn records(&self) -> Option<Arc<dyn Records>> {
        Some(Arc::new(NodeRecords(self.clone())))
    }

    fn report(&self) -> Option<Report> {
        match self.0.joined.get() {
            Some(cluster) => cluster.report(),
            None => {
                let report = Status::before_joining(&self.0.options, self.trouble());
                Some(Box::pin(async move { serde_json::to_string(&report).unwrap_or_default() }))
            }
        }
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = match self.0.joined.get() {
            Some(cluster) => Backplane::figures(cluster),
            None => ClusterFigures::before_joining(self.0.started.elapsed()).for_operators(),
        };
        figures.extend(self.0.members.figures());
        figures
    }
}

impl NodeRecords {
    fn there(&self) -> Option<Arc<dyn Records>> {
        self.0.0.joined.get()?.records()
    }
}

impl Records for NodeRecords {
    fn put(&self, key: String, value: Bytes, at: u64, ttl: Duration) -> Answer<Option<u64>> {
        match self.there() {
            Some(records) => records.put(key, value, at, ttl),
            None => Box::pin(async { Err(StoreError::Unavailable) }),
        }
    }

    fn taken(&self) -> Answer<u32> {
        match self.there() {
            Some(records) => records.taken(),
            None => Box::pin(async { Err(StoreError::Unavailable) }),
        }
    }

    fn get(&self, key: String) -> Answer<Option<Record>> {
        match self.there() {
            Some(records) => records.get(key),
            None => Box::pin(async { Err(StoreError::Unavailable) }),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { options, joined, .. } = &*self.0;
        f.debug_struct("Node")
            .field("name", &options.name)
            .field("servers", &options.servers)
            .field("joined", &joined.get().is_some())
            .finish_non_exhaustive()
    }
}
