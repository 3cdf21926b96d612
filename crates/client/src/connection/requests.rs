//! The transports over plain HTTP: each channel is read by requests of its own.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::sync::mpsc;

use super::{Connection, Order, socket::at};
use crate::{
    Transport,
    failure::Failure,
    feed::{FeedEvent, Sink, ndjson, poll, sse},
    message::Item,
    platform::{AbortHandle, Instant, JoinSet, sleep_until},
    queue::Queue,
    token::Token,
};

/// Requests that the server holds, at a time; channels beyond are polled. Each is a connection of its own.
/// A browser has six of HTTP/1.1 to a server, for all pages of its origin.
pub(crate) const HELD_REQUESTS: usize = if cfg!(target_family = "wasm") { 4 } else { 64 };
/// The soonest that an attempt begins anew with a fresh token, or a request is made with one after another.
const RENEW_AFTER: Duration = Duration::from_secs(1);

/// Reads the channels that are ordered, until something ends it.
pub(super) async fn run(
    connection: &Arc<Connection>,
    id: u64,
    transport: Transport,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> Failure {
    let token = match connection.core.tokens.current().await {
        Ok(token) => token,
        Err(failure) => return failure,
    };
    let fresh_until = token.as_ref().and_then(|token| token.fresh_until);
    let renew = fresh_until.map(|until| until.max(Instant::now() + RENEW_AFTER));
    let mut requests =
        Requests { connection, id, transport, token, set: JoinSet::new(), open: HashMap::new() };
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Open(name)) => requests.open(name),
                Some(Order::Shut(name)) => requests.shut(&name),
                None => return Failure::Enough,
            },
            Some(ended) = requests.set.join_next_with_id() => match ended {
                Ok((task, (name, failure))) => {
                    if requests.open.get(&name).is_some_and(|handle| handle.id() == task) {
                        requests.open.remove(&name);
                        if let Some(failure) = requests.ended(&name, failure) {
                            return failure;
                        }
                    }
                }
                Err(error) if error.is_panic() => return Failure::broken(error),
                Err(_) => {}
            },
            // Begun anew with a fresh token, from the same positions.
            () = at(renew) => return Failure::Enough,
        }
    }
}

struct Requests<'c> {
    connection: &'c Arc<Connection>,
    id: u64,
    transport: Transport,
    token: Option<Token>,
    set: JoinSet<(Arc<str>, Failure)>,
    open: HashMap<Arc<str>, AbortHandle>,
}

impl Requests<'_> {
    fn open(&mut self, name: Arc<str>) {
        if self.open.contains_key(&name) {
            return;
        }
        let transport = match self.open.len() < HELD_REQUESTS {
            true => self.transport,
            false => Transport::Poll,
        };
        let connection = Arc::clone(self.connection);
        let sink = ChannelSink { connection, id: self.id, name, has_worked: false };
        let (name, token) = (Arc::clone(&sink.name), self.token.clone());
        let handle = self.set.spawn(async move {
            let name = Arc::clone(&sink.name);
            (name, sink.read(transport, token).await)
        });
        self.open.insert(name, handle);
    }

    fn shut(&mut self, name: &Arc<str>) {
        if let Some(handle) = self.open.remove(name) {
            handle.abort();
        }
    }

    /// What it means for the others that the requests of one channel have ended.
    fn ended(&self, name: &Arc<str>, failure: Failure) -> Option<Failure> {
        const OF_A_CHANNEL: [StatusCode; 4] = [
            StatusCode::BAD_REQUEST,
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
        ];
        let problem = match failure {
            Failure::Enough => return None,
            Failure::Refused(problem) => problem,
            failure => return Some(failure),
        };
        let is_of_a_channel = problem.status.is_some_and(|status| OF_A_CHANNEL.contains(&status));
        if !is_of_a_channel || !problem.is_of_the_server() {
            return Some(Failure::Refused(problem));
        }
        self.connection.refused(self.id, name, problem);
        None
    }
}

/// Brings what comes of one channel to its queue.
struct ChannelSink {
    connection: Arc<Connection>,
    id: u64,
    name: Arc<str>,
    /// Whether the server has let it read.
    has_worked: bool,
}

impl ChannelSink {
    async fn read(mut self, transport: Transport, mut token: Option<Token>) -> Failure {
        let (mut is_fresh, mut may_ask) = (false, Instant::now());
        loop {
            let failure = self.listen(transport, token.as_ref()).await;
            let (Failure::Refused(problem), Some(refused)) = (&failure, &token) else {
                return failure;
            };
            // One that has worked has expired. A fresh one that is refused at once is refused.
            let may_be_another = std::mem::take(&mut self.has_worked) || !is_fresh;
            if !problem.is_unauthorized() || !may_be_another {
                return failure;
            }
            // One server of several may refuse what the others take.
            sleep_until(may_ask).await;
            may_ask = Instant::now() + RENEW_AFTER;
            match self.connection.core.tokens.other_than(Some(&refused.text)).await {
                Ok(None) => return failure,
                Ok(fresh) => (token, is_fresh) = (fresh, true),
                Err(failure) => return failure,
            }
        }
    }

    /// Reads until something ends it.
    async fn listen(&mut self, transport: Transport, token: Option<&Token>) -> Failure {
        let core = Arc::clone(&self.connection.core);
        let Some(reading) = self.connection.reading(&self.name) else { return Failure::Enough };
        let endpoint = core.channel(&self.name).bearer(token.map(|token| &token.header));
        let after = &reading.after;
        let Err(failure) = match transport {
            Transport::Sse => sse::listen(&endpoint, after, self).await,
            Transport::Ndjson => ndjson::listen(&endpoint, after, self).await,
            Transport::Poll => {
                let pace = poll::Pace::Interval(core.poll_interval);
                poll::read(&endpoint, after, pace, self).await
            }
            Transport::LongPoll | Transport::V1 => {
                poll::read(&endpoint, after, poll::Pace::Probing, self).await
            }
        };
        failure
    }

    fn queue(&self) -> Option<Arc<Queue>> {
        self.connection.reading(&self.name).map(|reading| reading.queue)
    }
}

impl Sink for ChannelSink {
    fn take(&mut self, news: FeedEvent) -> Result<(), Failure> {
        let item = match news {
            FeedEvent::Open => {
                self.has_worked = true;
                self.connection.works(self.id);
                return Ok(());
            }
            FeedEvent::At(at) => {
                self.connection.stands(self.id, &self.name, at);
                return Ok(());
            }
            FeedEvent::Gap(gap) => Item::Gap(gap),
            FeedEvent::Message(message) => Item::Message(message),
            FeedEvent::End(end) => Item::End(end),
        };
        let is_end = matches!(item, Item::End(_));
        self.connection.took(self.id, &self.name, item);
        if is_end { Err(Failure::Enough) } else { Ok(()) }
    }

    async fn next_may_come(&mut self) {
        if let Some(queue) = self.queue() {
            queue.room().await;
        }
    }
}
