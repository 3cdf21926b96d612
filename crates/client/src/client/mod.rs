//! The client: its connections, and what all of its users share.

mod builder;
mod publish;
mod subscription;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::Method;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::publish::Attempts;
pub use self::{builder::ClientBuilder, publish::Publish, subscription::Subscription};
#[cfg(test)]
pub(crate) use self::{publish::MOST_LINES, subscription::BUFFER};
use crate::{
    Error, Gap, Members, Message, Position,
    connection::{Connection, Core, PublishOrder},
    failure::nonsense,
    feed::poll,
    http::{Http, Question},
    queue::Queue,
};

/// The longest page of members: the server gives 64 KiB at most.
const MAX_MEMBERS: usize = 128 << 10;
/// Connections for requests that are kept while there is no request.
const MAX_IDLE: usize = 8;

/// A server, and the channels on it. Cloning is cheap: clones share connections.
///
/// Its connections end when it, its clones and its subscriptions are dropped.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    connections: Mutex<Vec<Arc<Connection>>>,
    idle: Mutex<Vec<Http>>,
    closing: CancellationToken,
    _closes: DropGuard,
}

/// A page of a channel's history.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// The position to go on from.
    pub at: Position,
    /// The messages.
    pub messages: Vec<Message>,
    /// What is missing before them.
    pub gap: Option<Gap>,
    /// Whether the channel has ended, and nothing follows these.
    pub has_ended: bool,
}

impl Client {
    /// A client of the server at this URL, `https://…` or `http://…`, with the default settings. A query in it is sent with
    /// each request: where there are no tokens, `?as=NAME` says who is present.
    ///
    /// ```
    /// let client = sockeye_client::Client::new("http://127.0.0.1:8080/")?;
    /// # Ok::<(), sockeye_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When it is not such a URL.
    pub fn new(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// A client with other settings.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    pub(crate) fn of(core: Core) -> Self {
        let closing = CancellationToken::new();
        Self(Arc::new(Inner {
            core: Arc::new(core),
            connections: Mutex::default(),
            idle: Mutex::default(),
            _closes: closing.clone().drop_guard(),
            closing,
        }))
    }

    /// A subscription to a channel: a stream of its messages, from now on unless [`after`](Subscription::after) says
    /// otherwise. It begins when it is first polled, or by [`ready`](Subscription::ready).
    ///
    /// ```no_run
    /// # async fn example(client: sockeye_client::Client) -> Result<(), sockeye_client::Error> {
    /// use futures_util::StreamExt;
    /// use sockeye_client::Item;
    ///
    /// let mut chat = client.subscribe("chat").after("-50");
    /// while let Some(item) = chat.next().await {
    ///     match item? {
    ///         Item::Message(message) => println!("{:?}", message.text()),
    ///         Item::Gap(gap) => println!("messages are missing: {}", gap.why),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self, channel: impl Into<Arc<str>>) -> Subscription {
        Subscription::new(self.clone(), channel.into())
    }

    /// One page of a channel's history: after `after` (a position, `earliest`, `-50`, `10m`), up to `limit` messages, 1000
    /// at most.
    ///
    /// # Errors
    ///
    /// When the server refuses, or is not reached.
    pub async fn read(
        &self,
        channel: &str,
        after: impl ToString,
        limit: usize,
    ) -> Result<Page, Error> {
        crate::name::check(channel)?;
        let name: Arc<str> = channel.into();
        let endpoint = self.0.core.channel(channel);
        let (after, limit) = (after.to_string(), limit.to_string());
        let question = poll::page_after(&after, &limit);
        let mut attempts = Attempts::default();
        let page = loop {
            let answer = self.ask(&endpoint, &question, endpoint.max_page()).await;
            let page = answer.and_then(|answer| poll::read_page(&endpoint, &answer));
            match page {
                Ok(page) => break page,
                Err(failure) => {
                    let failed = |failure| Error::of(endpoint.name(), failure);
                    attempts.again(failure).await.map_err(failed)?;
                }
            }
        };
        let poll::Page { at, mut messages, mut gap, end } = page;
        for message in &mut messages {
            message.channel = Arc::clone(&name);
        }
        if let Some(gap) = &mut gap {
            gap.channel = Arc::clone(&name);
        }
        Ok(Page { at, messages, gap, has_ended: end })
    }

    /// A page of the members of a channel, on whatever transport they listen: up to 1000 whose ids come after `after`, from the
    /// first without one.
    ///
    /// ```no_run
    /// # async fn example(client: sockeye_client::Client) -> Result<(), sockeye_client::Error> {
    /// let page = client.members("chat", None).await?;
    /// println!("{} listen, of them {} with an id", page.count, page.members.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the server refuses, or is not reached.
    pub async fn members(&self, channel: &str, after: Option<&str>) -> Result<Members, Error> {
        crate::name::check(channel)?;
        let endpoint = self.core().channel(&format!("{channel}/presence"));
        let mut parameters = vec![("limit", "1000")];
        parameters.extend(after.map(|after| ("after", after)));
        let question = Question::new(Method::GET, parameters);
        let mut attempts = Attempts::default();
        let mut members: Members = loop {
            let answer = self.ask(&endpoint, &question, MAX_MEMBERS).await;
            match answer.and_then(|answer| serde_json::from_slice(&answer).map_err(nonsense)) {
                Ok(members) => break members,
                Err(failure) => {
                    let failed = |failure| Error::of(endpoint.name(), failure);
                    attempts.again(failure).await.map_err(failed)?;
                }
            }
        };
        members.channel = channel.into();
        Ok(members)
    }

    pub(crate) fn core(&self) -> &Core {
        &self.0.core
    }

    /// Reads a channel for this queue, on a connection that has room for it.
    pub(crate) fn want(
        &self,
        name: &Arc<str>,
        after: &str,
        presence: bool,
        queue: &Arc<Queue>,
    ) -> Arc<Connection> {
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| !connection.is_closed());
        let wanted = |connection: &&Arc<Connection>| connection.want(name, after, presence, queue);
        if let Some(connection) = connections.iter().find(wanted) {
            return Arc::clone(connection);
        }
        let closing = self.0.closing.clone();
        let connection = Connection::start(Arc::clone(&self.0.core), closing);
        match connection.want(name, after, presence, queue) {
            true => connections.push(Arc::clone(&connection)),
            // In a runtime that has ended nothing begins.
            false => queue.end(Some(Error::Closed)),
        }
        connection
    }

    /// What publishes over a WebSocket, if there is one.
    pub(crate) fn publisher(&self) -> Option<mpsc::Sender<PublishOrder>> {
        let connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.iter().find_map(|connection| connection.publisher())
    }

    /// A connection for a request.
    pub(crate) fn idle(&self) -> Http {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().unwrap_or_default()
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, http: Http) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(http);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Client").field(&self.0.core.endpoint.name()).finish()
    }
}
