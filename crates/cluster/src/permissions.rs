//! What the user of this node may do in NATS. A server tells only the connection that something was
//! forbidden, and not the request: so it is tried out before anything is made, and kept for operators.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Request, ServerError};
use futures_util::StreamExt as _;
use sockeye_hub::backplane::NodeId;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::StartError;
use crate::api::Api;

/// For how long something that was forbidden explains what does not work.
const EXPLAINS: Duration = Duration::from_secs(60);
/// How long an answer to a trial is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a trial is made until the connection is taken for broken and left to others to judge.
const TRIES: u32 = 3;
/// What no stream is called: nothing that expects it is stored.
const NO_STREAM: &str = "none";

/// What was forbidden last, in the words of the server, and when. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Forbidden {
    last: watch::Sender<Option<(String, Instant)>>,
    /// Whether the node has joined: before that it is refused in one line.
    has_joined: Arc<AtomicBool>,
}

impl Forbidden {
    pub(crate) fn new() -> Self {
        Self { last: watch::Sender::new(None), has_joined: Arc::default() }
    }

    /// A server complains.
    pub(crate) fn heard(&self, error: &ServerError) {
        if let ServerError::Other(said) = error
            && said.to_lowercase().contains("permissions violation")
        {
            self.last.send_replace(Some((said.clone(), Instant::now())));
            if !self.has_joined.load(Relaxed) {
                return;
            }
        }
        tracing::warn!(%error, "the server of NATS complains");
    }

    /// The node has joined.
    pub(crate) fn joined(&self) {
        self.has_joined.store(true, Relaxed);
    }

    /// Waits until something is forbidden, and gives why the node does not start then.
    pub(crate) async fn refusal(&self, server: &str) -> StartError {
        let mut heard = self.last.subscribe();
        // There is a sender: this one.
        let _ = heard.wait_for(Option::is_some).await;
        let said = self.last.borrow().as_ref().map(|(said, _)| said.clone()).unwrap_or_default();
        StartError::Forbidden { server: server.to_owned(), said }
    }

    /// What was forbidden in the last minute, in words.
    pub(crate) fn lately(&self) -> Option<String> {
        let last = self.last.borrow();
        let (said, when) = last.as_ref()?;
        let is_new = when.elapsed() < EXPLAINS;
        is_new.then(|| format!("NATS forbids the user what a node of this cluster does ({said})"))
    }
}

/// Tries what needs no stream: to listen to all that nodes listen to, and to talk to one. What is
/// forbidden is [heard](Forbidden::heard).
pub(crate) async fn try_talking(api: &Api) {
    let (client, names) = (api.client(), api.names());
    let node = names.node_subject(Some(NodeId::random()));
    for _ in 0..TRIES {
        let subjects = [names.live_subjects(0), names.question_subject(), node.clone()];
        let mut subscribed = Vec::new();
        for subject in subjects {
            subscribed.extend(client.subscribe(subject).await.ok());
        }
        let Some(mut to_this) = subscribed.pop() else { continue };
        let said = client.publish(node.clone(), "there?".into()).await;
        if said.is_ok() && timeout(PATIENCE, to_this.next()).await.is_ok_and(|came| came.is_some())
        {
            return;
        }
    }
}

/// Tries to publish into the streams, in a way that stores nothing.
pub(crate) async fn try_publishing(api: &Api) {
    let names = api.names();
    for subject in [names.clock_subject(0), names.record_subject("none")] {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, NO_STREAM);
        let request = Request::new().headers(headers).timeout(Some(PATIENCE));
        // Whatever it is, an answer says that it is allowed.
        let _ = timeout(PATIENCE, api.client().send_request(subject, request)).await;
    }
}
