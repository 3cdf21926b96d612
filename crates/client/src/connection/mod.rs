//! Where each channel was read to, and one attempt that reads on; another when it ends.

mod candidates;
mod keep;
mod requests;
mod socket;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::candidates::Candidates;
#[cfg(test)]
pub(crate) use self::{requests::HELD_REQUESTS, socket::HELLO_WITHIN};
use crate::{
    Error, Position, Status, Transport,
    endpoint::Endpoint,
    failure::{Failure, Problem},
    message::Item,
    platform::{self, Instant, Told},
    publication::Publication,
    queue::Queue,
    token::Tokens,
};

/// The most channels of one connection: as many as the server lets a `sockeye.v1` connection subscribe to.
pub(crate) const MAX_CHANNELS: usize = 128;

/// What all connections of a client share.
pub(crate) struct Core {
    /// Where the server is.
    pub(crate) endpoint: Endpoint,
    pub(crate) tokens: Tokens,
    /// What is tried, the best first.
    pub(crate) transports: Vec<Transport>,
    pub(crate) poll_interval: Duration,
    pub(crate) on_status: Told<Status>,
}

/// The channels that are read together.
pub(crate) struct Connection {
    core: Arc<Core>,
    state: Mutex<State>,
    /// Told when there may be something to do.
    changed: Notify,
}

struct State {
    channels: HashMap<Arc<str>, Channel>,
    candidates: Candidates,
    /// What reads.
    current: Option<Attempt>,
    /// What is tried beside it, because it may be better.
    climber: Option<Attempt>,
    last_id: u64,
    /// Attempts that have failed, since one has lasted.
    failures: u32,
    /// When the next attempt may begin.
    not_before: Option<Instant>,
    /// Since when there is no channel.
    idle_since: Option<Instant>,
    is_closed: bool,
}

/// A channel, and where it was read to.
struct Channel {
    queue: Arc<Queue>,
    /// Where to go on: a position, or where reading is to begin.
    after: String,
    at: Option<Position>,
    /// Whether members that come and go are told, where the transport can.
    presence: bool,
}

/// One attempt to read over one transport, from its opening to its end.
struct Attempt {
    id: u64,
    /// Which of the candidates it takes.
    rank: usize,
    /// When it first delivered.
    since: Option<Instant>,
    orders: mpsc::UnboundedSender<Order>,
    publications: mpsc::Sender<PublishOrder>,
}

/// What an attempt is asked to do.
#[derive(Debug)]
enum Order {
    /// To read this channel.
    Open(Arc<str>),
    /// To read it no longer.
    Shut(Arc<str>),
}

/// A publication, and what is to be told of it.
pub(crate) struct PublishOrder {
    pub(crate) publication: Arc<Publication>,
    pub(crate) reply: oneshot::Sender<Result<Position, Failure>>,
}

/// Where a channel is to be read from, and what takes it.
struct Reading {
    queue: Arc<Queue>,
    after: String,
    presence: bool,
}

impl Connection {
    /// Begins, without a channel.
    pub(crate) fn start(core: Arc<Core>, closing: CancellationToken) -> Arc<Self> {
        let connection = Arc::new(Self::new(core));
        let closes = keep::ClosesWhenDropped(Arc::clone(&connection));
        platform::spawn(keep::keep(closes, closing));
        connection
    }

    fn new(core: Arc<Core>) -> Self {
        let state = State {
            channels: HashMap::new(),
            candidates: Candidates::new(&core.transports),
            current: None,
            climber: None,
            last_id: 0,
            failures: 0,
            not_before: None,
            idle_since: None,
            is_closed: false,
        };
        Self { core, state: Mutex::new(state), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Reads this channel from there on, unless it cannot.
    pub(crate) fn want(
        &self,
        name: &Arc<str>,
        after: &str,
        presence: bool,
        queue: &Arc<Queue>,
    ) -> bool {
        let mut state = self.lock();
        let is_full = state.channels.len() >= MAX_CHANNELS;
        if state.is_closed || is_full || state.channels.contains_key(name) {
            return false;
        }
        let at = after.parse().ok();
        if let Some(at) = &at {
            queue.begins(at);
        }
        let channel = Channel { queue: Arc::clone(queue), after: after.to_owned(), at, presence };
        if channel.at.is_none() {
            // Another is tried once it is known where this one began.
            state.climber = None;
        }
        state.channels.insert(Arc::clone(name), channel);
        state.order(&Order::Open(Arc::clone(name)));
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Reads this channel no longer, if it is still for this queue.
    pub(crate) fn leave(&self, name: &Arc<str>, queue: &Arc<Queue>) {
        let mut state = self.lock();
        if state.channels.get(name).is_some_and(|channel| Arc::ptr_eq(&channel.queue, queue)) {
            state.remove(name);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// What publishes over the WebSocket, if there is one.
    pub(crate) fn publisher(&self) -> Option<mpsc::Sender<PublishOrder>> {
        let state = self.lock();
        let current = state.current.as_ref().filter(|current| current.since.is_some())?;
        let is_v1 = state.candidates.transport(current.rank) == Transport::V1;
        is_v1.then(|| current.publications.clone())
    }

    /// Where this channel is to be read from, if it still is.
    fn reading(&self, name: &Arc<str>) -> Option<Reading> {
        let state = self.lock();
        let channel = state.channels.get(name)?;
        let Channel { queue, after, presence, .. } = channel;
        Some(Reading { queue: Arc::clone(queue), after: after.clone(), presence: *presence })
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.lock().channels.keys().cloned().collect()
    }

    /// An attempt has delivered: it is the one from now on.
    fn works(&self, id: u64) {
        let mut state = self.lock();
        if state.climber.as_ref().is_some_and(|climber| climber.id == id) {
            state.current = state.climber.take();
        }
        let Some(current) = state.current.as_mut().filter(|current| current.id == id) else {
            return;
        };
        if current.since.is_some() {
            return;
        }
        current.since = Some(Instant::now());
        let rank = current.rank;
        let transport = state.candidates.transport(rank);
        drop(state);
        self.changed.notify_one();
        (self.core.on_status)(&Status::Live { transport });
    }

    /// The server has said where a channel is, without a message.
    fn stands(&self, id: u64, name: &Arc<str>, at: Position) {
        let mut state = self.lock();
        let Some(channel) = state.read_by(id, name) else { return };
        let is_news = channel
            .at
            .as_ref()
            .is_none_or(|before| at.epoch() == before.epoch() && at.offset() > before.offset());
        if is_news {
            channel.queue.begins(&at);
            channel.after = at.to_string();
            if channel.at.replace(at).is_none() {
                self.changed.notify_one();
            }
        }
    }

    /// Something has come of a channel. For a moment two attempts may read it; what has come counts once.
    fn took(&self, id: u64, name: &Arc<str>, item: Item) {
        let mut state = self.lock();
        let Some(channel) = state.read_by(id, name) else { return };
        let Some(at) = item.position().cloned() else {
            channel.queue.put(item.of_channel(name));
            return;
        };
        let is_end = matches!(item, Item::End(_));
        let follows = |before: &Position| match &item {
            Item::Gap(gap) => gap.after == *before || at.is_past(before),
            Item::Message(_) => at.is_past(before),
            _ => true,
        };
        if !channel.at.as_ref().is_none_or(follows) {
            return;
        }
        channel.after = at.to_string();
        if channel.at.replace(at).is_none() {
            self.changed.notify_one();
        }
        channel.queue.put(item.of_channel(name));
        if is_end {
            // Nothing follows: it is not read again, on whatever transport.
            channel.queue.end(None);
            state.remove(name);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The server refuses this channel.
    fn refused(&self, id: u64, name: &Arc<str>, problem: Problem) {
        let mut state = self.lock();
        let Some(channel) = state.read_by(id, name) else { return };
        let server = self.core.channel(name).name();
        channel.queue.end(Some(Error::Refused { server, problem }));
        state.remove(name);
        drop(state);
        self.changed.notify_one();
    }

    /// All channels end with this error.
    fn fail(&self, error: &Error) {
        let mut state = self.lock();
        for (_, channel) in state.channels.drain() {
            channel.queue.end(Some(error.clone()));
        }
    }
}

impl Core {
    /// The URL of a channel.
    pub(crate) fn channel(&self, name: &str) -> Endpoint {
        self.endpoint.below(&format!("c/{name}"))
    }
}

impl State {
    /// The channel, if it is this attempt that reads it now. One that has not delivered yet may be refused.
    fn read_by(&mut self, id: u64, name: &Arc<str>) -> Option<&mut Channel> {
        let current = self.current.as_ref()?;
        if current.id != id {
            return None;
        }
        self.channels.get_mut(name)
    }

    fn remove(&mut self, name: &Arc<str>) {
        self.channels.remove(name);
        self.order(&Order::Shut(Arc::clone(name)));
    }

    /// Has all attempts do this.
    fn order(&self, order: &Order) {
        for attempt in self.current.iter().chain(&self.climber) {
            // One that has ended is told of soon.
            let _ = attempt.orders.send(match order {
                Order::Open(name) => Order::Open(Arc::clone(name)),
                Order::Shut(name) => Order::Shut(Arc::clone(name)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(id: u64, rank: usize, since: Option<Instant>) -> Attempt {
        let (orders, publications) = (mpsc::unbounded_channel().0, mpsc::channel(1).0);
        Attempt { id, rank, since, orders, publications }
    }

    #[tokio::test]
    async fn two_transports_that_begin_now_skip_nothing_between_them() {
        let core = Core {
            endpoint: Endpoint::new(&"http://127.0.0.1/".parse().unwrap(), http::HeaderMap::new()),
            tokens: Tokens::default(),
            transports: vec![Transport::V1, Transport::Poll],
            poll_interval: Duration::from_secs(5),
            on_status: Box::new(|_| {}),
        };
        let connection = Connection::new(Arc::new(core));
        connection.lock().current = Some(attempt(1, 1, Some(Instant::now())));
        connection.lock().climber = Some(attempt(2, 0, None));
        let (chat, queue) = (Arc::from("chat"), Arc::new(Queue::new(4)));
        assert!(connection.want(&chat, "now", false, &queue));
        assert_eq!(connection.lock().climb_due(Instant::now()), None);
        connection.stands(1, &chat, "k.4".parse().unwrap());
        // A message is published, and then the other asks where the channel is.
        connection.works(2);
        connection.stands(2, &chat, "k.5".parse().unwrap());
        assert_eq!(connection.reading(&chat).unwrap().after, "k.4");
        assert!(connection.lock().climb_due(Instant::now()).is_some());
    }
}
