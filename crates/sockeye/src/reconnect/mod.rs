//! A client that connects again when its connection ends.
//!
//! ```no_run
//! use sockeye::{Client, reconnect::Event};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::new("ws://127.0.0.1:9001/")?.reconnecting();
//! while let Some(event) = client.next_event().await {
//!     match event {
//!         Event::Connecting { attempt, delay } => println!("attempt {attempt} in {delay:?}"),
//!         Event::Open => client.send("hello").await?,
//!         Event::Message(message) => println!("{message:?}"),
//!         Event::Down(why) => println!("{why}"),
//!         _ => {}
//!     }
//! }
//! // It has given up, and the last event said why.
//! # Ok(())
//! # }
//! ```
//!
//! [`on_open`](ReconnectingClient::on_open) does what each new connection needs, such as to subscribe anew;
//! a [`Handle`] sends and closes from other tasks.
//!
//! What was sent on a connection that then broke may have arrived or not, and what was sent by others
//! meanwhile is missed: a protocol on top of it has to number its messages to find gaps.

mod backoff;
mod handle;
mod policy;

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use sockeye_proto::{CloseFrame, Closed, Failure, Message};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Sleep, sleep},
};

use self::handle::Link;
pub use self::{
    backoff::Backoff,
    handle::Handle,
    policy::{Decision, Down},
};
use crate::{Client, ConnectError, Error, WebSocket};

/// A client that connects again when its connection ends.
///
/// It is a [`Stream`] of [`Event`]s; [`next_event`](Self::next_event) is the same as an `async` method.
/// It has no task of its own: it connects while it is polled for events, or sends. Its methods are
/// cancel-safe: the next call continues what this one began.
pub struct ReconnectingClient {
    connect: Box<dyn FnMut() -> Connecting + Send>,
    on_open: Option<OnOpen>,
    decide: Box<dyn FnMut(&Down) -> Decision + Send>,
    backoff: Backoff,
    /// Failures in a row, short connections counted.
    failures: u32,
    stage: Stage,
    /// Events that came while something was sent.
    seen: VecDeque<Event>,
    /// Whether no more connections are to be made.
    is_closing: bool,
    /// What the handles know.
    link: watch::Sender<Link>,
    /// What the handles ask to close with.
    requests: mpsc::UnboundedReceiver<Option<CloseFrame>>,
    requesting: mpsc::UnboundedSender<Option<CloseFrame>>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<WebSocket, ConnectError>> + Send>>;
type Readying = Pin<Box<dyn Future<Output = Result<WebSocket, Error>> + Send>>;
type OnOpen = Arc<dyn Fn(WebSocket) -> Readying + Send + Sync>;
type Opening = Pin<Box<dyn Future<Output = Result<WebSocket, Down>> + Send>>;

/// What has happened to a [`ReconnectingClient`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// It is about to connect.
    Connecting {
        /// How many attempts in a row this makes: 1 for the first, and after a connection that was
        /// open for a while.
        attempt: u32,
        /// How long it waits before.
        delay: Duration,
    },
    /// A connection is open, and ready where there is a [hook](ReconnectingClient::on_open).
    Open,
    /// A message was received.
    Message(Message),
    /// There is no connection. If no further event follows, it has given up.
    Down(Down),
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no connection, and no more will be made.
    #[error("the client has stopped reconnecting")]
    Ended(Message),
    /// There is no open connection at the moment.
    #[error("there is no open connection at the moment")]
    NotOpen(Message),
    /// The message cannot be sent on any connection.
    #[error(transparent)]
    Refused(Error),
}

enum Stage {
    /// The next attempt is to be announced.
    Next(Duration),
    Waiting(Pin<Box<Sleep>>),
    Connecting(Opening),
    Open {
        socket: Box<WebSocket>,
        since: Instant,
        /// How it has failed.
        error: Option<Error>,
    },
    Ended,
}

impl Client {
    /// A client that connects again, each time with these settings, when its connection ends.
    pub fn reconnecting(self) -> ReconnectingClient {
        ReconnectingClient::new(move || self.clone().connect())
    }
}

impl ReconnectingClient {
    /// A client that connects with your own function: over your own transport, or to ask
    /// for a fresh token each time.
    ///
    /// ```no_run
    /// # async fn fresh_token() -> String { String::new() }
    /// use sockeye::{Client, reconnect::ReconnectingClient};
    ///
    /// let client = ReconnectingClient::new(|| async {
    ///     let token = fresh_token().await;
    ///     Client::new(format!("ws://127.0.0.1:9001/?token={token}"))?.connect().await
    /// });
    /// ```
    pub fn new<F>(mut connect: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<WebSocket, ConnectError>> + Send + 'static,
    {
        let (requesting, requests) = mpsc::unbounded_channel();
        Self {
            connect: Box::new(move || Box::pin(connect())),
            on_open: None,
            decide: Box::new(Down::decision),
            backoff: Backoff::default(),
            failures: 0,
            stage: Stage::Next(Duration::ZERO),
            seen: VecDeque::new(),
            is_closing: false,
            link: watch::Sender::new(Link::Down),
            requests,
            requesting,
        }
    }

    /// Sets what is done with each connection when it is open, before anything else is sent on it and
    /// before [`Event::Open`]: to authenticate, or to subscribe anew. It may wait for an answer; it gives
    /// the connection back, or an error, and then there is none.
    ///
    /// ```no_run
    /// use sockeye::Client;
    ///
    /// # fn example() -> Result<(), sockeye::AddressError> {
    /// let client = Client::new("ws://127.0.0.1:9001/")?.reconnecting().on_open(|mut socket| async {
    ///     socket.send("subscribe news").await?;
    ///     Ok(socket)
    /// });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It has no deadline of its own.
    pub fn on_open<F>(mut self, hook: impl Fn(WebSocket) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<WebSocket, Error>> + Send + 'static,
    {
        self.on_open = Some(Arc::new(move |socket| Box::pin(hook(socket))));
        self
    }

    /// A handle to send and to close from other tasks.
    pub fn handle(&self) -> Handle {
        Handle::new(self.link.subscribe(), self.requesting.clone())
    }

    /// Sets how long it waits before it connects again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets which failures are final. Default: [`Down::decision`].
    ///
    /// ```no_run
    /// use sockeye::{Client, reconnect::{Down, Decision}};
    ///
    /// let client = Client::new("ws://127.0.0.1:9001/")?.reconnecting().decide(|down| match down {
    ///     // This server's way to say that the token has expired.
    ///     Down::Closed(closed) if closed.code() == 4001 => Decision::Final,
    ///     other => other.decision(),
    /// });
    /// # Ok::<(), sockeye::AddressError>(())
    /// ```
    pub fn decide(mut self, decide: impl FnMut(&Down) -> Decision + Send + 'static) -> Self {
        self.decide = Box::new(decide);
        self
    }

    /// The next event; `None` once it has given up or was closed.
    pub async fn next_event(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_next_event(cx)).await
    }

    /// Sends a message; waits until there is a connection, and while the peer is slow to read.
    ///
    /// Events that come meanwhile are kept for [`next_event`](Self::next_event).
    ///
    /// # Errors
    ///
    /// [`SendError::Ended`] or [`SendError::Refused`].
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut message = message.into();
        loop {
            message = match self.send_if_open(message).await {
                Err(SendError::NotOpen(message)) => message,
                result => return result,
            };
            match poll_fn(|cx| self.poll_stage(cx)).await {
                Some(event) => self.seen.push_back(event),
                None => return Err(SendError::Ended(message)),
            }
        }
    }

    /// Sends a message if there is an open connection; waits only while the peer is slow to read.
    ///
    /// # Errors
    ///
    /// [`SendError::NotOpen`], also where the connection has just ended and the event is still to
    /// come, or [`SendError::Refused`].
    pub async fn send_if_open(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let Stage::Open { socket, .. } = &mut self.stage else {
            return Err(SendError::NotOpen(message));
        };
        match socket.send(message.clone()).await {
            Ok(()) => Ok(()),
            Err(Error::Failed(_) | Error::Io(_) | Error::Closed(_)) => {
                Err(SendError::NotOpen(message))
            }
            Err(error) => Err(SendError::Refused(error)),
        }
    }

    /// The connection, while one is open.
    pub fn socket(&self) -> Option<&WebSocket> {
        match &self.stage {
            Stage::Open { socket, .. } => Some(socket),
            _ => None,
        }
    }

    /// Closes the connection, if one is open, and makes no more; as [`WebSocket::close`].
    pub async fn close(&mut self, frame: impl Into<Option<CloseFrame>>) -> Option<Closed> {
        let closed = match &mut self.stage {
            Stage::Open { socket, .. } => Some(socket.close(frame).await),
            _ => None,
        };
        self.end(closed.clone());
        closed
    }

    fn poll_next_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        match self.seen.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None => self.poll_stage(cx),
        }
    }

    /// Goes on from stage to stage up to the next event.
    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_requests(cx);
        loop {
            match &mut self.stage {
                Stage::Next(delay) => {
                    let (attempt, delay) = (self.failures.saturating_add(1), *delay);
                    self.stage = Stage::Waiting(Box::pin(sleep(delay)));
                    return Poll::Ready(Some(Event::Connecting { attempt, delay }));
                }
                Stage::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.stage = Stage::Connecting(self.open());
                }
                Stage::Connecting(connecting) => {
                    let event = match ready!(connecting.as_mut().poll(cx)) {
                        Ok(socket) => {
                            self.link.send_replace(Link::Open(socket.weak_writer()));
                            let (socket, since) = (Box::new(socket), Instant::now());
                            self.stage = Stage::Open { socket, since, error: None };
                            Event::Open
                        }
                        Err(down) => self.go_down(down),
                    };
                    return Poll::Ready(Some(event));
                }
                Stage::Open { socket, since, error } => {
                    match ready!(Pin::new(&mut **socket).poll_next(cx)) {
                        Some(Ok(message)) => return Poll::Ready(Some(Event::Message(message))),
                        // Then comes the end.
                        Some(Err(cause)) => *error = Some(cause),
                        None => {
                            let closed = socket.closed().unwrap_or_else(|| Failure::Lost.into());
                            let down = match (error.take(), closed.failure) {
                                (Some(error), _) => Down::Failed(error),
                                (None, Some(failure)) => Down::Failed(Error::Failed(failure)),
                                (None, None) => Down::Closed(closed.clone()),
                            };
                            if since.elapsed() >= self.backoff.stable_after {
                                self.failures = 0;
                            }
                            if self.is_closing {
                                self.end(Some(closed));
                                return Poll::Ready(Some(Event::Down(down)));
                            }
                            return Poll::Ready(Some(self.go_down(down)));
                        }
                    }
                }
                Stage::Ended => return Poll::Ready(None),
            }
        }
    }

    /// Does what the handles ask for.
    fn poll_requests(&mut self, cx: &mut Context<'_>) {
        // One sender is here: this never ends.
        while let Poll::Ready(Some(frame)) = self.requests.poll_recv(cx) {
            self.is_closing = true;
            match &self.stage {
                Stage::Open { socket, .. } => socket.start_close(frame),
                Stage::Ended => {}
                _ => self.end(None),
            }
        }
    }

    /// Makes no more connections.
    fn end(&mut self, closed: Option<Closed>) {
        self.stage = Stage::Ended;
        self.link.send_replace(Link::Ended(closed));
    }

    /// Connects, and does what is to be done before anything else.
    fn open(&mut self) -> Opening {
        let (connecting, on_open) = ((self.connect)(), self.on_open.clone());
        Box::pin(async move {
            let socket = connecting.await.map_err(Down::NotOpened)?;
            match on_open {
                Some(on_open) => on_open(socket).await.map_err(Down::Failed),
                None => Ok(socket),
            }
        })
    }

    /// Decides what comes next.
    fn go_down(&mut self, down: Down) -> Event {
        self.link.send_replace(Link::Down);
        self.failures = self.failures.saturating_add(1);
        let delay = |hint| Stage::Next(self.backoff.delay(self.failures, hint));
        self.stage = match (self.decide)(&down) {
            Decision::Final => {
                self.link.send_replace(Link::Ended(None));
                Stage::Ended
            }
            Decision::Retry => delay(Duration::ZERO),
            Decision::RetryAfter(hint) => delay(hint),
        };
        Event::Down(down)
    }
}

impl Stream for ReconnectingClient {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_next_event(cx)
    }
}

impl fmt::Debug for ReconnectingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Next(_) | Stage::Waiting(_) => "Waiting",
            Stage::Connecting(_) => "Connecting",
            Stage::Open { .. } => "Open",
            Stage::Ended => "Ended",
        };
        f.debug_struct("ReconnectingClient")
            .field("stage", &stage)
            .field("failures", &self.failures)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}
