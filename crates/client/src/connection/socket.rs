//! One WebSocket for all channels: `sockeye.v1` on `/connect`.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{mpsc, oneshot};

use super::{Connection, Order, PublishOrder};
use crate::{
    Position,
    failure::{Failure, Problem},
    frame::{Command, Done, Frame},
    message::Item,
    platform::{BoxFuture, Instant, sleep_until, timeout},
    token::Token,
    websocket::{self, CAN_WAIT, Reader, Received, WebSocket, Writer, next},
};

/// The server speaks first; a WebSocket on which nothing has come by then does not work.
pub(crate) const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// How long the answer to a command may take that was sent because nothing was heard.
const PONG_WITHIN: Duration = Duration::from_secs(5);
/// After how long a silence it asks whether the server is there, where that does not say.
const PING_AFTER: Duration = Duration::from_secs(25);
/// The publications that may be without an answer; more wait.
const IN_FLIGHT: usize = 256;
/// The soonest that a fresh token is sent.
const RENEW_AFTER: Duration = Duration::from_secs(1);

/// Reads the channels that are ordered, until something ends it.
pub(super) async fn run(
    connection: &Arc<Connection>,
    id: u64,
    orders: mpsc::UnboundedReceiver<Order>,
    publications: mpsc::Receiver<PublishOrder>,
) -> Failure {
    let (socket, token) = match open(connection).await {
        Ok(opened) => opened,
        Err(failure) => {
            if let Failure::Refused(problem) = &failure
                && problem.is_unauthorized()
                && problem.is_of_the_server()
            {
                for name in connection.names() {
                    connection.refused(id, &name, problem.clone());
                }
            }
            return failure;
        }
    };
    let (mut reader, writer) = socket.split();
    let (outgoing, to_send) = mpsc::unbounded_channel();
    let mut session = Session {
        connection,
        id,
        outgoing,
        last_id: 0,
        asked: HashMap::new(),
        in_flight: 0,
        max_message: usize::MAX,
        subscribed: HashSet::new(),
        opening: HashMap::new(),
        held: None,
        rooms: FuturesUnordered::new(),
        ping_after: PING_AFTER,
        heard: Instant::now(),
        pinged: None,
        renew: None,
        renewing: None,
    };
    session.renew_later(token.as_ref());
    tokio::select! {
        failure = session.run(&mut reader, orders, publications) => failure,
        failure = send(&writer, to_send) => failure,
    }
}

/// Opens the WebSocket; with a fresh token, if the first is refused.
async fn open(connection: &Connection) -> Result<(WebSocket, Option<Token>), Failure> {
    let core = &connection.core;
    let mut token = core.tokens.current().await?;
    let mut is_fresh = false;
    loop {
        let endpoint = core.endpoint.below("connect");
        match (websocket::open(&endpoint, &[], token.as_ref()).await, &token) {
            (Ok(socket), _) => return Ok((socket, token)),
            (Err(Failure::Refused(problem)), Some(refused))
                if problem.is_unauthorized() && !is_fresh =>
            {
                match core.tokens.other_than(Some(&refused.text)).await? {
                    Some(fresh) => (token, is_fresh) = (Some(fresh), true),
                    None => return Err(Failure::Refused(problem)),
                }
            }
            (Err(failure), _) => return Err(failure),
        }
    }
}

/// Sends commands as the server takes them: apart from reading, so that neither waits for the other.
async fn send(writer: &Writer, mut commands: mpsc::UnboundedReceiver<String>) -> Failure {
    while let Some(command) = commands.recv().await {
        if let Err(error) = writer.send(command).await {
            return Failure::broken(error);
        }
    }
    Failure::Enough
}

/// What is asked for with a command.
enum Asked {
    Subscription(Arc<str>),
    Publication(oneshot::Sender<Result<Position, Failure>>),
    /// Its answer shows that the server is there.
    Nothing,
    Token,
}

type Renewing = BoxFuture<Result<Option<Token>, Failure>>;
type Room = BoxFuture<Arc<str>>;

/// An open WebSocket.
struct Session<'c> {
    connection: &'c Arc<Connection>,
    id: u64,
    outgoing: mpsc::UnboundedSender<String>,
    last_id: u64,
    asked: HashMap<u64, Asked>,
    in_flight: usize,
    /// The most bytes that the server takes for a message.
    max_message: usize,
    subscribed: HashSet<Arc<str>>,
    /// The channels that are subscribed to once the server has answered, and by when it has to.
    opening: HashMap<Arc<str>, Instant>,
    /// The only channel there is, if the application does not take what has come of it: nothing more is read then.
    held: Option<Arc<str>>,
    /// The channels that are read again when there is room for them.
    rooms: FuturesUnordered<Room>,
    ping_after: Duration,
    heard: Instant,
    pinged: Option<Instant>,
    /// When a fresh token is asked for.
    renew: Option<Instant>,
    renewing: Option<Renewing>,
}

impl Session<'_> {
    async fn run(
        &mut self,
        reader: &mut Reader,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut publications: mpsc::Receiver<PublishOrder>,
    ) -> Failure {
        match timeout(HELLO_WITHIN, next(reader)).await {
            Err(_) => return Failure::broken("nothing comes on the WebSocket"),
            Ok(Err(failure)) => return failure,
            Ok(Ok(received)) => {
                if let Err(failure) = self.greeted(&received) {
                    return failure;
                }
            }
        }
        loop {
            let looks_at = self.pinged.map_or(self.heard + self.ping_after, |at| at + PONG_WITHIN);
            let silent = (self.held.is_none()).then_some(looks_at);
            let result = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.ordered(order),
                    None => Err(Failure::Enough),
                },
                Some(order) = publications.recv(), if self.in_flight < IN_FLIGHT => {
                    self.publish(order)
                }
                received = next(reader), if self.held.is_none() => {
                    received.and_then(|received| self.heard(&received))
                }
                Some(name) = self.rooms.next(), if !self.rooms.is_empty() => self.has_room(&name),
                () = at(silent) => self.silent(),
                () = at(self.opening.values().min().copied()) => {
                    Err(Failure::broken("the server does not answer"))
                }
                () = at(self.renew) => {
                    self.begin_renewal();
                    Ok(())
                }
                token = renewed(&mut self.renewing), if self.renewing.is_some() => {
                    self.renewing = None;
                    self.show(token)
                }
            };
            if let Err(failure) = result {
                return failure;
            }
        }
    }

    fn greeted(&mut self, received: &Received) -> Result<(), Failure> {
        let Frame { hello: Some(hello), .. } = Frame::read(received.as_text())? else {
            return Err(Failure::broken("the server does not begin with hello"));
        };
        if let Some(ping) = hello.ping.filter(|ping| *ping > 0) {
            self.ping_after = Duration::from_secs(ping.min(3600));
        }
        self.max_message = hello.max_message.unwrap_or(usize::MAX);
        self.heard = Instant::now();
        self.connection.works(self.id);
        Ok(())
    }

    fn ordered(&mut self, order: Order) -> Result<(), Failure> {
        match order {
            Order::Open(name) => {
                // With another channel on it the WebSocket is read on: what a channel does not take waits at the server.
                if let Some(held) = self.held.take().filter(|held| *held != name) {
                    self.pause(&held)?;
                }
                self.subscribe(&name)
            }
            Order::Shut(name) => {
                self.held.take_if(|held| *held == name);
                self.pause(&name)
            }
        }
    }

    fn subscribe(&mut self, name: &Arc<str>) -> Result<(), Failure> {
        let Some(reading) = self.connection.reading(name) else { return Ok(()) };
        let within = self.connection.core.endpoint.answers_within();
        self.opening.insert(Arc::clone(name), Instant::now() + within);
        let command = |id| {
            let after = Some(&*reading.after);
            let presence = reading.presence;
            Command { id, op: "sub", ch: Some(name), after, presence, ..Command::default() }
        };
        self.ask(Asked::Subscription(Arc::clone(name)), command)
    }

    fn pause(&mut self, name: &Arc<str>) -> Result<(), Failure> {
        self.subscribed.remove(name);
        if self.opening.remove(name).is_some() {
            // What comes between its answer and the one to another `sub` is of the subscription before.
            for asked in self.asked.values_mut() {
                if matches!(asked, Asked::Subscription(other) if other == name) {
                    *asked = Asked::Nothing;
                }
            }
        }
        self.ask(Asked::Nothing, |id| Command {
            id,
            op: "unsub",
            ch: Some(name),
            ..Command::default()
        })
    }

    fn ask<'a>(
        &mut self,
        asked: Asked,
        command: impl FnOnce(u64) -> Command<'a>,
    ) -> Result<(), Failure> {
        self.last_id += 1;
        let command = serde_json::to_string(&command(self.last_id)).map_err(Failure::broken)?;
        self.asked.insert(self.last_id, asked);
        self.outgoing.send(command).map_err(Failure::broken)
    }

    fn publish(&mut self, order: PublishOrder) -> Result<(), Failure> {
        self.last_id += 1;
        let max = self.max_message;
        let command = match order.publication.len() > max {
            // Sent all the same, it might end the connection, and with it what is read.
            true => {
                let why = format!("The server takes {max} bytes at most.");
                Err(Failure::Refused(Problem::coded("too_large".to_owned(), &why, false)))
            }
            false => order.publication.command(self.last_id),
        };
        match command {
            Ok(command) => {
                self.in_flight += 1;
                self.asked.insert(self.last_id, Asked::Publication(order.reply));
                self.outgoing.send(command).map_err(Failure::broken)
            }
            Err(failure) => {
                // The task that asked may have ended.
                let _ = order.reply.send(Err(failure));
                Ok(())
            }
        }
    }

    /// Something came.
    fn heard(&mut self, received: &Received) -> Result<(), Failure> {
        (self.heard, self.pinged) = (Instant::now(), None);
        let mut frame = Frame::read(received.as_text())?;
        if let Some(bye) = frame.bye {
            return Err(bye.failure());
        }
        if let Some(name) = frame.ch.take() {
            let Some(name) = self.subscribed.get(&*name).cloned() else { return Ok(()) };
            return self.of_channel(&name, frame);
        }
        let Some(asked) = frame.id.and_then(|id| self.asked.remove(&id)) else { return Ok(()) };
        self.answered(asked, frame)
    }

    fn of_channel(&mut self, name: &Arc<str>, frame: Frame<'_>) -> Result<(), Failure> {
        if let Some(refusal) = frame.err {
            self.subscribed.remove(name);
            return self.refused(name, refusal.into());
        }
        let Some(item) = frame.into_item()? else { return Ok(()) };
        let is_end = matches!(item, Item::End(_));
        self.connection.took(self.id, name, item);
        if is_end {
            self.subscribed.remove(name);
            return Ok(());
        }
        let Some(reading) = self.connection.reading(name) else { return Ok(()) };
        if !reading.queue.is_full() {
            return Ok(());
        }
        match CAN_WAIT && self.subscribed.len() == 1 && self.opening.is_empty() {
            true => self.held = Some(Arc::clone(name)),
            false => self.pause(name)?,
        }
        let name = Arc::clone(name);
        self.rooms.push(Box::pin(async move {
            reading.queue.room().await;
            name
        }));
        Ok(())
    }

    /// The application has taken what had come of this channel.
    fn has_room(&mut self, name: &Arc<str>) -> Result<(), Failure> {
        if self.held.take_if(|held| held == name).is_some() {
            self.heard = Instant::now();
            return Ok(());
        }
        match self.subscribed.contains(name) || self.opening.contains_key(name) {
            true => Ok(()),
            false => self.subscribe(name),
        }
    }

    fn answered(&mut self, asked: Asked, frame: Frame<'_>) -> Result<(), Failure> {
        let Frame { ok, err, .. } = frame;
        match (asked, err) {
            (Asked::Subscription(name), Some(refusal)) => {
                self.opening.remove(&name);
                self.refused(&name, refusal.into())
            }
            (Asked::Subscription(name), None) => {
                self.opening.remove(&name);
                let Done { at, missed } = ok.unwrap_or_default();
                self.subscribed.insert(Arc::clone(&name));
                // One with missed messages to come is not at the channel's end yet.
                if let Some(at) = at.filter(|_| missed == 0) {
                    self.connection.stands(self.id, &name, at);
                }
                Ok(())
            }
            (Asked::Publication(reply), refusal) => {
                self.in_flight -= 1;
                let outcome = match (refusal, ok.and_then(|ok| ok.at)) {
                    (Some(refusal), _) => Err(refusal.into()),
                    (None, Some(at)) => Ok(at),
                    (None, None) => Err(Failure::broken("the answer has no position")),
                };
                // The task that asked may have ended.
                let _ = reply.send(outcome);
                Ok(())
            }
            (Asked::Token, Some(refusal)) => Err(Failure::later(refusal.into(), Duration::ZERO)),
            (Asked::Token | Asked::Nothing, _) => Ok(()),
        }
    }

    /// The server refuses a channel, or cannot have it read now.
    fn refused(&self, name: &Arc<str>, problem: Problem) -> Result<(), Failure> {
        let expired = || self.connection.core.tokens.expired();
        if problem.retry || problem.is_unauthorized() && expired() {
            return Err(Failure::later(problem, Duration::ZERO));
        }
        self.connection.refused(self.id, name, problem);
        Ok(())
    }

    /// Nothing was heard for long. No answer, no connection: one whose other end is gone may look open for minutes.
    fn silent(&mut self) -> Result<(), Failure> {
        if self.pinged.is_some() {
            return Err(Failure::broken("nothing is heard of the server"));
        }
        self.pinged = Some(Instant::now());
        self.ask(Asked::Nothing, |id| Command { id, op: "ping", ..Command::default() })
    }

    /// A token that expires ends what it opened, unless a fresh one comes first.
    fn begin_renewal(&mut self) {
        self.renew = None;
        let core = Arc::clone(&self.connection.core);
        self.renewing = Some(Box::pin(async move { core.tokens.current().await }));
    }

    /// Sends a fresh token. Where there is none, it is asked for again while the old one lasts.
    fn show(&mut self, token: Result<Option<Token>, Failure>) -> Result<(), Failure> {
        let Ok(token) = token else {
            self.renew = Some(Instant::now() + RENEW_AFTER);
            return Ok(());
        };
        self.renew_later(token.as_ref());
        let Some(token) = &token else { return Ok(()) };
        let text = Some(&*token.text);
        let auth = |id| Command { id, op: "auth", token: text, ..Command::default() };
        self.ask(Asked::Token, auth)
    }

    fn renew_later(&mut self, token: Option<&Token>) {
        let fresh_until = token.and_then(|token| token.fresh_until);
        self.renew = fresh_until.map(|until| until.max(Instant::now() + RENEW_AFTER));
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        for (_, asked) in self.asked.drain() {
            if let Asked::Publication(reply) = asked {
                // The task that asked may have ended.
                let _ = reply.send(Err(Failure::broken("the connection was lost")));
            }
        }
    }
}

/// Waits for the token that was asked for.
async fn renewed(renewing: &mut Option<Renewing>) -> Result<Option<Token>, Failure> {
    match renewing {
        Some(renewing) => renewing.await,
        None => pending().await,
    }
}

/// Waits until then; for ever, if there is no such time.
pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
