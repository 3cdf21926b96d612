//! Questions to all nodes that are under way.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::node_presence::NodePresence;
use crate::backplane::NodeId;

/// The questions by their numbers.
#[derive(Debug, Default)]
pub(super) struct Asks(Mutex<HashMap<u64, Asked>>);

#[derive(Debug)]
struct Asked {
    answers: HashMap<NodeId, NodePresence>,
    /// Those that have not answered.
    waits_for: HashSet<NodeId>,
    answered: Arc<Notify>,
}

/// One question; when it is dropped, answers to it mean nothing any more.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    asks: &'a Asks,
    number: u64,
    answered: Arc<Notify>,
}

impl Asks {
    /// A question to these.
    pub(super) fn ask(&self, number: u64, waits_for: HashSet<NodeId>) -> Ask<'_> {
        let answered = Arc::<Notify>::default();
        let asked = Asked { answers: HashMap::new(), waits_for, answered: Arc::clone(&answered) };
        self.lock().insert(number, asked);
        Ask { asks: self, number, answered }
    }

    /// A node has answered; one that was not waited for, too.
    pub(super) fn answer(&self, number: u64, from: NodeId, presence: NodePresence) {
        if let Some(asked) = self.lock().get_mut(&number) {
            asked.waits_for.remove(&from);
            asked.answers.insert(from, presence);
            asked.answered.notify_one();
        }
    }

    /// The node is gone: its answer is not waited for.
    pub(super) fn drop_node(&self, node: NodeId) {
        for asked in self.lock().values_mut() {
            if asked.waits_for.remove(&node) {
                asked.answered.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ask<'_> {
    /// Waits until all have answered.
    pub(super) async fn answered(&self) {
        while self.missing() > 0 {
            self.answered.notified().await;
        }
    }

    /// How many have not.
    pub(super) fn missing(&self) -> usize {
        self.asks.lock().get(&self.number).map_or(0, |asked| asked.waits_for.len())
    }

    /// The answers that have come.
    pub(super) fn answers(self) -> HashMap<NodeId, NodePresence> {
        let asked = self.asks.lock().remove(&self.number);
        asked.map(|asked| asked.answers).unwrap_or_default()
    }
}

impl Drop for Ask<'_> {
    fn drop(&mut self) {
        self.asks.lock().remove(&self.number);
    }
}
