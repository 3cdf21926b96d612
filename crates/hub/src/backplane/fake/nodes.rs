//! What hubs tell each other, and records that they share, in this process: both go wrong on demand.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Engine, EngineState, Node};
use crate::backplane::{Answer, MAX_NODE_MESSAGE, NodeId, NodeLink, NodeSink, Record, Records};
use crate::store::StoreError;

/// What is on its way between hubs, and the records.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// The nodes by their numbers, each with what it has not heard yet.
    nodes: HashMap<usize, (NodeId, VecDeque<Bytes>)>,
    cut: HashSet<usize>,
    records: HashMap<String, (Record, u64)>,
    revision: u64,
}

#[derive(Debug)]
struct Link {
    engine: Engine,
    number: usize,
}

#[derive(Debug)]
pub(super) struct SharedRecords(Engine);

impl Engine {
    /// Cuts a node off from the others, until [`mend`](Self::mend).
    pub fn cut(&self, node: &Node) {
        self.lock().mail.cut.insert(node.number);
    }

    /// What all records take that have not expired, in bytes.
    pub fn record_bytes(&self) -> usize {
        let state = self.lock();
        let there = state.mail.records.values().filter(|(_, until)| *until > state.now);
        there.map(|(record, _)| record.value.len()).sum()
    }

    /// Connects a node again.
    pub fn mend(&self, node: &Node) {
        self.lock().mail.cut.remove(&node.number);
    }
}

impl Node {
    /// Lets the hub hear what others have told it. Whether there was anything.
    pub fn deliver(&self) -> bool {
        let mut has_heard = false;
        while let Some(message) = self.next_message() {
            has_heard = true;
            if let Some(node_sink) = self.node_sink.get() {
                node_sink.heard(message);
            }
        }
        has_heard
    }

    /// Lets the hub look at the others: to be called every quarter of a second.
    pub fn look_at_others(&self) {
        if let Some(node_sink) = self.node_sink.get() {
            node_sink.tick();
        }
    }

    fn next_message(&self) -> Option<Bytes> {
        self.engine.lock().mail.nodes.get_mut(&self.number)?.1.pop_front()
    }

    pub(super) fn join(&self, node: NodeId, node_sink: Arc<dyn NodeSink>) -> Arc<dyn NodeLink> {
        self.engine.lock().mail.nodes.insert(self.number, (node, VecDeque::new()));
        let _ = self.node_sink.set(node_sink);
        Arc::new(Link { engine: self.engine.clone(), number: self.number })
    }

    pub(super) fn shared_records(&self) -> Arc<dyn Records> {
        Arc::new(SharedRecords(self.engine.clone()))
    }
}

impl EngineState {
    fn post(&mut self, number: usize, message: &Bytes) {
        let faults = self.faults;
        if self.is_hit(faults.lost) {
            return;
        }
        let (repeated, swapped) = (self.is_hit(faults.repeated), self.is_hit(faults.swapped));
        let Some((_, inbox)) = self.mail.nodes.get_mut(&number) else { return };
        inbox.push_back(message.clone());
        if repeated {
            inbox.push_back(message.clone());
        }
        let count = inbox.len();
        if swapped && count > 1 {
            inbox.swap(count - 2, count - 1);
        }
    }
}

impl NodeLink for Link {
    fn send(&self, to: Option<NodeId>, message: Bytes) {
        assert!(message.len() <= MAX_NODE_MESSAGE, "{} bytes", message.len());
        let mut state = self.engine.lock();
        for number in self.others(&state, to) {
            state.post(number, &message);
        }
    }

    fn show_life(&self, sign: Bytes) {
        let mut state = self.engine.lock();
        for number in self.others(&state, None) {
            let faults = state.faults;
            if !state.is_hit(faults.lost)
                && let Some((_, inbox)) = state.mail.nodes.get_mut(&number)
            {
                inbox.push_front(sign.clone());
            }
        }
    }
}

impl Link {
    /// The numbers of the nodes that hear what is sent.
    fn others(&self, state: &EngineState, to: Option<NodeId>) -> Vec<usize> {
        let mail = &state.mail;
        let hears = |number: &usize, id: &NodeId| {
            *number != self.number
                && !mail.cut.contains(number)
                && !mail.cut.contains(&self.number)
                && to.is_none_or(|to| to == *id)
        };
        let nodes = mail.nodes.iter().filter(|(number, (id, _))| hears(number, id));
        let mut others: Vec<_> = nodes.map(|(number, _)| *number).collect();
        // The same faults with the same seed.
        others.sort_unstable();
        others
    }
}

impl Records for SharedRecords {
    fn put(&self, key: String, value: Bytes, at: u64, ttl: Duration) -> Answer<Option<u64>> {
        let outcome = self.with(|state| {
            let now = state.now;
            let mail = &mut state.mail;
            mail.records.retain(|_, (_, until)| *until > now);
            let there = mail.records.get(&key).map_or(0, |(record, _)| record.revision);
            (there == at).then(|| {
                mail.revision += 1;
                let record = Record { value, revision: mail.revision };
                mail.records.insert(key, (record, now + ttl.as_millis() as u64));
                mail.revision
            })
        });
        Box::pin(std::future::ready(outcome))
    }

    fn get(&self, key: String) -> Answer<Option<Record>> {
        let outcome = self.with(|state| {
            let (record, until) = state.mail.records.get(&key)?;
            (*until > state.now).then(|| record.clone())
        });
        Box::pin(std::future::ready(outcome))
    }
}

impl SharedRecords {
    fn with<T>(&self, act: impl FnOnce(&mut EngineState) -> T) -> Result<T, StoreError> {
        let mut state = self.0.lock();
        let silent = state.faults.silent;
        match state.is_hit(silent) {
            true => Err(StoreError::Unavailable),
            false => Ok(act(&mut state)),
        }
    }
}
