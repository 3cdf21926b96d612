//! What keeps a connection: starts attempts, and judges those that have ended.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Attempt, Connection, Order, State, candidates::FLAPPING, requests, socket};
use crate::{
    Error, Status, Transport,
    failure::{Failure, Problem},
    platform::{AbortHandle, Instant, JoinError, JoinSet, backoff, final_error, sleep_until},
};

/// How long an attempt lasts until the failures before it are forgotten.
const STABLE: Duration = Duration::from_secs(60);
/// How long an attempt without channels is kept, in case one is subscribed to.
const LINGER: Duration = Duration::from_secs(2);
/// A deadline where there is none.
const LONG: Duration = Duration::from_secs(3600);
/// The publications that wait to be sent on a WebSocket.
const PUBLICATIONS: usize = 16;

/// The tasks of attempts.
#[derive(Default)]
struct Tasks {
    set: JoinSet<(u64, Failure)>,
    handles: HashMap<u64, AbortHandle>,
}

/// Keeps the connection until it has had no channel for a while, or the client is dropped.
pub(super) async fn keep(closes: ClosesWhenDropped, closing: CancellationToken) {
    let connection = &closes.0;
    let mut tasks = Tasks::default();
    while let Some(deadline) = connection.step(&mut tasks) {
        tokio::select! {
            Some(ended) = tasks.set.join_next() => tasks.ended(connection, ended),
            () = connection.changed.notified() => {}
            () = sleep_until(deadline) => {}
            () = closing.cancelled() => return,
        }
    }
}

/// Closes the connection when nothing keeps it any more: also when the runtime ends, even before it has begun to.
pub(super) struct ClosesWhenDropped(pub(super) Arc<Connection>);

impl Drop for ClosesWhenDropped {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.fail(&Error::Closed);
    }
}

impl Tasks {
    fn ended(&mut self, connection: &Connection, ended: Result<(u64, Failure), JoinError>) {
        match ended {
            Ok((id, failure)) => {
                self.handles.remove(&id);
                connection.ended(id, failure);
            }
            Err(error) => {
                let found = self.handles.iter().find(|(_, handle)| handle.id() == error.id());
                let Some((&id, _)) = found else { return };
                self.handles.remove(&id);
                connection.ended(id, Failure::broken(error));
            }
        }
    }
}

impl Connection {
    /// Does what is to be done now, and says when to look again; not at all, if the connection is over.
    fn step(self: &Arc<Self>, tasks: &mut Tasks) -> Option<Instant> {
        let now = Instant::now();
        let mut deadline = now + LONG;
        let mut state = self.lock();
        let mut connects = false;
        if state.channels.is_empty() {
            let until = *state.idle_since.get_or_insert(now) + LINGER;
            if until <= now {
                state.is_closed = true;
                return None;
            }
            deadline = deadline.min(until);
        } else {
            state.idle_since = None;
            match state.not_before.filter(|until| *until > now) {
                _ if state.current.is_some() => {}
                Some(until) => deadline = deadline.min(until),
                None => {
                    let rank = state.candidates.best(now).unwrap_or(0);
                    state.current = Some(self.begin(&mut state, rank, tasks));
                    connects = true;
                }
            }
            if let Some(due) = state.climb_due(now) {
                match state.candidates.best(now) {
                    Some(rank) if due <= now => {
                        state.climber = Some(self.begin(&mut state, rank, tasks));
                    }
                    _ => deadline = deadline.min(due),
                }
            }
        }
        let is_wanted =
            |id: &u64| state.current.iter().chain(&state.climber).any(|attempt| attempt.id == *id);
        tasks.handles.retain(|id, handle| {
            is_wanted(id) || {
                handle.abort();
                false
            }
        });
        drop(state);
        if connects {
            (self.core.on_status)(&Status::Connecting);
        }
        Some(deadline)
    }

    /// Begins an attempt.
    fn begin(self: &Arc<Self>, state: &mut State, rank: usize, tasks: &mut Tasks) -> Attempt {
        state.last_id += 1;
        let id = state.last_id;
        let (orders, ordered) = mpsc::unbounded_channel();
        let (publications, to_publish) = mpsc::channel(PUBLICATIONS);
        for name in state.channels.keys() {
            // The receiver is there.
            let _ = orders.send(Order::Open(Arc::clone(name)));
        }
        let (connection, transport) = (Arc::clone(self), state.candidates.transport(rank));
        let handle = tasks.set.spawn(async move {
            let failure = match transport {
                Transport::V1 => socket::run(&connection, id, ordered, to_publish).await,
                _ => requests::run(&connection, id, transport, ordered).await,
            };
            (id, failure)
        });
        tasks.handles.insert(id, handle);
        Attempt { id, rank, since: None, orders, publications }
    }

    /// An attempt has ended. Was it its transport? And how long to wait now?
    fn ended(&self, id: u64, failure: Failure) {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(climber) = state.climber.take_if(|climber| climber.id == id) {
            state.candidates.block(climber.rank, now);
            return;
        }
        let Some(attempt) = state.current.take_if(|current| current.id == id) else { return };
        // Ended from here, to begin anew.
        if matches!(failure, Failure::Enough) || state.channels.is_empty() {
            return;
        }
        let failure = match failure {
            Failure::Unreachable(error) => match final_error(*error) {
                Ok(error) => {
                    drop(state);
                    let server = self.core.endpoint.name();
                    self.fail(&Error::of(server, Failure::unreachable(error)));
                    return;
                }
                Err(error) => Failure::unreachable(error),
            },
            failure => failure,
        };
        if let Some((delay, error)) = state.judge(&attempt, failure, self, now) {
            drop(state);
            (self.core.on_status)(&Status::Waiting { delay, error });
        }
    }
}

impl State {
    /// When a better transport than the one that works is to be tried.
    pub(super) fn climb_due(&self, now: Instant) -> Option<Instant> {
        let current = self.current.as_ref().filter(|current| current.since.is_some())?;
        // Two that begin "now" begin at different places: what is between them would be skipped.
        if self.channels.values().any(|channel| channel.at.is_none()) {
            return None;
        }
        match self.climber {
            Some(_) => None,
            None => self.candidates.better_at(current.rank, now),
        }
    }

    /// How long to wait after an attempt, and why; not at all where another transport is tried at once.
    fn judge(
        &mut self,
        attempt: &Attempt,
        failure: Failure,
        connection: &Connection,
        now: Instant,
    ) -> Option<(Duration, Error)> {
        let lived = attempt.since.map_or(Duration::ZERO, |since| now - since);
        // Neither an end that the server wants nor a token that it refuses says anything of the transport.
        let of_token = |problem: &Problem| problem.is_unauthorized() && problem.is_of_the_server();
        let (is_blameless, retry) = match &failure {
            Failure::Refused(problem) => (of_token(problem), Duration::ZERO),
            Failure::Broken { problem, retry, is_on_purpose, .. } => {
                (*is_on_purpose || of_token(problem), *retry)
            }
            Failure::Unreachable(_) | Failure::Enough => (false, Duration::ZERO),
        };
        if lived >= STABLE {
            self.failures = 0;
        }
        if lived >= FLAPPING {
            self.candidates.known(attempt.rank);
        } else if !is_blameless {
            self.candidates.block(attempt.rank, now);
            if self.candidates.best(now).is_some() && self.failures == 0 {
                return None;
            }
        }
        if self.candidates.best(now).is_none() {
            self.candidates.unblock();
        }
        self.failures += 1;
        let delay = backoff(self.failures, retry);
        self.not_before = Some(now + delay);
        Some((delay, Error::of(connection.core.endpoint.name(), failure)))
    }
}
