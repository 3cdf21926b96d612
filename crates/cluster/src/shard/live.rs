//! What JetStream publishes again of a shard, as it comes over the connection to the leader, if there is one, or over that for
//! everything.
//!
//! When another one is taken both are listened to for a moment: what comes twice is told by its number.

use std::future::pending;
use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use crate::nats::api::Api;
use crate::nats::direct::Direct;

/// How long both are listened to.
const OVERLAP: Duration = Duration::from_secs(1);
/// How long a connection may take a subscription.
const SUBSCRIBING: Duration = Duration::from_secs(1);

/// The subscription of a feed.
pub(crate) struct Live {
    /// The connection for everything.
    common: Client,
    subject: String,
    direct: Option<Direct>,
    current: Subscriber,
    /// The one before it, and until when it is listened to.
    former: Option<(Subscriber, Instant)>,
}

impl Live {
    /// `current` is on the connection for everything.
    pub(crate) fn new(api: &Api, shard: u16, current: Subscriber) -> Self {
        let (common, subject) = (api.client().clone(), api.names().live_subjects(shard));
        Self { common, subject, direct: None, current, former: None }
    }

    /// The next message; `None` when the connection has ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let former = async {
                match &mut self.former {
                    Some((former, until)) => timeout_at(*until, former.next()).await.ok().flatten(),
                    None => pending().await,
                }
            };
            tokio::select! {
                message = self.current.next() => return message,
                message = former => match message {
                    Some(message) => return Some(message),
                    None => self.former = None,
                },
            }
        }
    }

    /// The next message if it is there already.
    pub(crate) fn next_there(&mut self) -> Option<Message> {
        self.current.next().now_or_never().flatten()
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// The leader publishes what does not come this way.
    pub(crate) fn leave(&self) {
        if let Some(direct) = &self.direct {
            direct.leave();
        }
    }

    /// Takes the connection to the leader, or that for everything. Whether the one before was lost.
    pub(crate) async fn take(&mut self, link: Option<Direct>) -> bool {
        let is_lost = self.direct.as_ref().is_some_and(Direct::is_gone);
        let link = link.filter(Direct::is_good);
        if link == self.direct {
            return false;
        }
        let client = link.as_ref().map_or(&self.common, Direct::client);
        let subscribed = timeout(SUBSCRIBING, client.subscribe(self.subject.clone())).await;
        if let Ok(Ok(subscriber)) = subscribed {
            let former = std::mem::replace(&mut self.current, subscriber);
            self.former = (!is_lost).then(|| (former, Instant::now() + OVERLAP));
            self.direct = link;
        }
        is_lost
    }
}
