//! What the user of this node may do in NATS. A server tells only the connection that something was
//! forbidden, and not the request: so it is tried out before anything is made, and kept for operators.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Request, ServerError};
use futures_util::StreamExt as _;
use sockeye_hub::backplane::NodeId;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::StartError;
use crate::message::subjects::CLOCK;
use crate::nats::api::{Api, Get};

/// For how long something that was forbidden explains what does not work.
const EXPLAINS: Duration = Duration::from_secs(60);
/// How long an answer to a trial is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a trial is made until the connection is taken for broken and left to others to judge.
const TRIES: u32 = 3;
/// How long until everything is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// What no stream is called: nothing that expects it is stored.
const NO_STREAM: &str = "none";

/// What was forbidden. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Forbidden {
    state: watch::Sender<ForbiddenState>,
    /// Whether the node has joined: before that it is refused in one line.
    has_joined: Arc<AtomicBool>,
}

#[derive(Clone, Debug, Default)]
struct ForbiddenState {
    /// The last that was, in the words of the server, and when.
    last: Option<(String, Instant)>,
    /// The last that no node can do without, until all of it was tried and is allowed.
    needed: Option<String>,
    /// How often such a thing was.
    count: u64,
    /// Whether it was to listen: then the server has ended a subscription.
    is_deaf: bool,
}

impl Forbidden {
    pub(crate) fn new() -> Self {
        Self { state: watch::Sender::new(ForbiddenState::default()), has_joined: Arc::default() }
    }

    /// A server complains.
    pub(crate) fn heard(&self, error: &ServerError) {
        if let ServerError::Other(said) = error
            && said.to_lowercase().contains("permissions violation")
        {
            self.state.send_modify(|state| state.add(said));
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
        let mut heard = self.state.subscribe();
        // There is a sender: this one.
        let _ = heard.wait_for(|state| state.last.is_some()).await;
        let last = self.state.borrow().last.clone();
        let said = last.map(|(said, _)| said).unwrap_or_default();
        StartError::Forbidden { server: server.to_owned(), said }
    }

    /// Changes what is known without waking a task.
    fn change(&self, change: impl FnOnce(&mut ForbiddenState)) {
        self.state.send_if_modified(|state| {
            change(state);
            false
        });
    }

    /// What was forbidden in the last minute, in words.
    pub(crate) fn lately(&self) -> Option<String> {
        let state = self.state.borrow();
        let (said, when) = state.last.as_ref()?;
        (when.elapsed() < EXPLAINS).then(|| in_words(said))
    }

    /// What is forbidden that a node cannot do without, whatever channel its clients use, in words.
    pub(crate) fn to_all(&self) -> Option<String> {
        self.state.borrow().needed.as_deref().map(in_words)
    }
}

impl ForbiddenState {
    fn add(&mut self, said: &str) {
        self.last = Some((said.to_owned(), Instant::now()));
        if !is_of_one_channel(said) {
            self.needed = Some(said.to_owned());
            self.count += 1;
            self.is_deaf |= said.to_lowercase().contains("subscription");
        }
    }
}

fn in_words(said: &str) -> String {
    format!("NATS forbids the user what a node of this cluster does ({said})")
}

/// Whether a complaint is about a message to one channel. An operator may forbid some, and then clients that use them do
/// not make a node unready.
fn is_of_one_channel(said: &str) -> bool {
    let subject = said.split('"').nth(1).unwrap_or_default();
    let tokens: Vec<_> = subject.split('.').collect();
    matches!(tokens[..], [_, "c", _, token] if !matches!(token, CLOCK | "*" | ">"))
}

/// Tries, each time that something was forbidden after the node has joined, everything that a node needs, until it is
/// allowed.
pub(crate) async fn watch(api: Api, forbidden: Forbidden) {
    let mut heard = forbidden.state.subscribe();
    // There is a sender: this task's own.
    while heard.changed().await.is_ok() {
        let count = loop {
            match try_all(&api, &forbidden).await {
                Some(count) => break count,
                None => sleep(TRY_AGAIN).await,
            }
        };
        forbidden.change(|state| {
            // What is forbidden since then is tried next.
            state.needed.take_if(|_| state.count == count);
        });
        // However often messages of one channel are forbidden.
        sleep(TRY_AGAIN).await;
    }
}

/// Whether all is allowed: then the [count](ForbiddenState::count). The server has ended the subscriptions that it
/// forbade: as soon as it allows them a new connection makes them anew.
async fn try_all(api: &Api, forbidden: &Forbidden) -> Option<u64> {
    let before = forbidden.state.borrow().count;
    let is_allowed = || forbidden.state.borrow().count == before;
    if !try_talking(api).await || !is_allowed() {
        return None;
    }
    let is_deaf = forbidden.state.borrow().is_deaf;
    if is_deaf {
        tracing::info!("NATS allows to listen again: making all subscriptions anew");
        forbidden.change(|state| state.is_deaf = false);
        let _ = api.client().force_reconnect().await;
    }
    let is_all = try_publishing(api).await && try_reading(api).await && is_allowed();
    is_all.then_some(before)
}

/// Tries what needs no stream: to listen to all that nodes listen to, and to talk to one. What is
/// forbidden is [heard](Forbidden::heard). Whether it worked.
pub(crate) async fn try_talking(api: &Api) -> bool {
    let (client, names) = (api.client(), api.names());
    let node = names.node_subject(Some(NodeId::random()));
    for _ in 0..TRIES {
        let (inbox, live) = (client.new_inbox(), names.live_subjects(0));
        let subjects = [inbox, live, names.question_subject(), node.clone()];
        let mut subscribed = Vec::new();
        for subject in subjects {
            subscribed.extend(client.subscribe(subject).await.ok());
        }
        let Some(mut to_this) = subscribed.pop() else { continue };
        let said = client.publish(node.clone(), "there?".into()).await;
        if said.is_ok()
            && timeout(ANSWER_TIMEOUT, to_this.next()).await.is_ok_and(|came| came.is_some())
        {
            return true;
        }
    }
    false
}

/// Tries to read from a stream, and to ask its leader.
async fn try_reading(api: &Api) -> bool {
    let clock = [api.names().clock_subject(0)];
    api.get(0, &Get::last_of(&clock)).await.is_ok()
        && api.info(&api.names().stream(0)).await.is_ok()
}

/// Tries to publish into the streams, in a way that stores nothing. Whether there were answers.
pub(crate) async fn try_publishing(api: &Api) -> bool {
    let (names, mut is_allowed) = (api.names(), true);
    for subject in [names.clock_subject(0), names.record_subject("none")] {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, NO_STREAM);
        let request = Request::new().headers(headers).timeout(Some(ANSWER_TIMEOUT));
        // Whatever it is, an answer says that it is allowed.
        let answer = timeout(ANSWER_TIMEOUT, api.client().send_request(subject, request)).await;
        is_allowed &= answer.is_ok_and(|answer| answer.is_ok());
    }
    is_allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(said: &str) -> ServerError {
        ServerError::Other(said.to_owned())
    }

    #[test]
    fn what_no_node_can_do_without_is_told_from_one_channel() {
        for (said, is_needed) in [
            (r#"Permissions Violation for Publish to "sockeye.c.0.secret""#, false),
            (r#"Permissions Violation for Publish to "sockeye.c.0._clock""#, true),
            (r#"Permissions Violation for Publish to "sockeye.n.all""#, true),
            (r#"Permissions Violation for Publish to "$JS.API.STREAM.INFO.sockeye_c0""#, true),
            (r#"Permissions Violation for Subscription to "sockeye.l.0.*""#, true),
            ("permissions violation", true),
        ] {
            let forbidden = Forbidden::new();
            forbidden.heard(&complaint(said));
            assert_eq!(forbidden.to_all().is_some(), is_needed, "{said}");
            assert!(forbidden.lately().is_some_and(|words| words.contains(said)), "{said}");
        }
        let forbidden = Forbidden::new();
        forbidden.heard(&complaint("maximum connections exceeded"));
        assert_eq!((forbidden.lately(), forbidden.to_all()), (None, None));
    }
}
