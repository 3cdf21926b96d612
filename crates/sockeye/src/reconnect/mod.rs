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
//! What was sent on a connection that then broke may have arrived or not, and what was sent by others
//! meanwhile is missed: a protocol of one's own on top has to number its messages, or do without.

mod backoff;
mod verdict;

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use sockeye_proto::{CloseFrame, Closed, Failure, Message};
use tokio::time::{Instant, Sleep, sleep};

pub use self::{
    backoff::Backoff,
    verdict::{Down, Verdict},
};
use crate::{Client, ConnectError, Error, WebSocket};

/// A client that connects again when its connection ends.
///
/// It is a [`Stream`] of [`Event`]s; [`next_event`](Self::next_event) is the same as an `async` method.
/// It has no task of its own: it connects while it is polled for events, or sends. Its methods are
/// cancel-safe: what one has begun, the next goes on with.
pub struct ReconnectingClient {
    connect: Box<dyn FnMut() -> Connecting + Send>,
    verdict: Box<dyn FnMut(&Down) -> Verdict + Send>,
    backoff: Backoff,
    /// Failures in a row, short connections counted.
    failures: u32,
    stage: Stage,
    /// Events that came while something was sent.
    seen: VecDeque<Event>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<WebSocket, ConnectError>> + Send>>;

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
    /// A connection is open.
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
    #[error("the client has given up: there is no connection")]
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
    Connecting(Connecting),
    Open {
        socket: Box<WebSocket>,
        since: Instant,
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
    /// A client that connects with a function of one's own: for a transport of one's own, or to ask
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
        Self {
            connect: Box::new(move || Box::pin(connect())),
            verdict: Box::new(Down::verdict),
            backoff: Backoff::default(),
            failures: 0,
            stage: Stage::Next(Duration::ZERO),
            seen: VecDeque::new(),
        }
    }

    /// Sets how long it waits before it connects again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets which failures are final. Default: [`Down::verdict`].
    ///
    /// ```no_run
    /// use sockeye::{Client, reconnect::{Down, Verdict}};
    ///
    /// let client = Client::new("ws://127.0.0.1:9001/")?.reconnecting().decide(|down| match down {
    ///     // This server's way to say that the token has expired.
    ///     Down::Closed(closed) if closed.code() == 4001 => Verdict::Final,
    ///     other => other.verdict(),
    /// });
    /// # Ok::<(), sockeye::AddressError>(())
    /// ```
    pub fn decide(mut self, verdict: impl FnMut(&Down) -> Verdict + Send + 'static) -> Self {
        self.verdict = Box::new(verdict);
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
        self.stage = Stage::Ended;
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
        loop {
            match &mut self.stage {
                Stage::Next(delay) => {
                    let (attempt, delay) = (self.failures.saturating_add(1), *delay);
                    self.stage = Stage::Waiting(Box::pin(sleep(delay)));
                    return Poll::Ready(Some(Event::Connecting { attempt, delay }));
                }
                Stage::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.stage = Stage::Connecting((self.connect)());
                }
                Stage::Connecting(connecting) => {
                    let event = match ready!(connecting.as_mut().poll(cx)) {
                        Ok(socket) => {
                            let (socket, since) = (Box::new(socket), Instant::now());
                            self.stage = Stage::Open { socket, since };
                            Event::Open
                        }
                        Err(error) => self.go_down(Down::NotOpened(error)),
                    };
                    return Poll::Ready(Some(event));
                }
                Stage::Open { socket, since } => {
                    match ready!(Pin::new(&mut **socket).poll_next(cx)) {
                        Some(Ok(message)) => return Poll::Ready(Some(Event::Message(message))),
                        // Then comes the end, and how it came about.
                        Some(Err(_)) => {}
                        None => {
                            let closed = socket.closed();
                            if since.elapsed() >= self.backoff.stable_after {
                                self.failures = 0;
                            }
                            let closed = closed.unwrap_or_else(|| Failure::Lost.into());
                            return Poll::Ready(Some(self.go_down(Down::Closed(closed))));
                        }
                    }
                }
                Stage::Ended => return Poll::Ready(None),
            }
        }
    }

    /// Decides what comes next.
    fn go_down(&mut self, down: Down) -> Event {
        self.failures = self.failures.saturating_add(1);
        let delay = |hint| Stage::Next(self.backoff.delay(self.failures, hint));
        self.stage = match (self.verdict)(&down) {
            Verdict::Final => Stage::Ended,
            Verdict::Retry => delay(Duration::ZERO),
            Verdict::RetryAfter(hint) => delay(hint),
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
