//! A client that connects again and again: each connection is the next case.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    pin::pin,
    time::Duration,
};

use sockeye_wire::Role;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    CheckError, GONE, OnProgress, Options, Progress, bounded,
    findings::{Findings, not_judged, wants_confirmation},
};
use crate::{
    case::{Case, Expect},
    judge::{Peer, judge},
    link::{Mistake, Stream},
    probe::{self, Abilities},
    report::Report,
    verdict::Judged,
};

/// How long a client may take to connect again.
const AGAIN: Duration = Duration::from_secs(20);

/// The connections of a client, one case each.
#[derive(Debug)]
pub struct Connections(mpsc::Receiver<Accepted>);

/// A connection that was accepted.
pub struct Accepted(pub Stream);

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accepted")
    }
}

impl Connections {
    /// What is sent here is a connection of the client.
    #[must_use]
    pub fn new() -> (mpsc::Sender<Accepted>, Self) {
        let (sender, receiver) = mpsc::channel(64);
        (sender, Self(receiver))
    }

    /// The next connection, unless the client has gone: it is waited for without end as long as others are
    /// open.
    async fn next(&mut self, are_others_open: bool) -> Option<Stream> {
        let next = self.0.recv();
        let next = if are_others_open { next.await } else { timeout(AGAIN, next).await.ok()? };
        next.map(|Accepted(stream)| stream)
    }
}

/// Checks a client that connects again and again and echoes: each connection is the next case, and those
/// that are open at the same time are tried side by side. When `stop` is ready before all cases are judged,
/// the report has what was found until then.
///
/// # Errors
///
/// When the connections, or the wait for the first of them, end before it is known what the client does.
pub async fn check_client(
    connections: &mut Connections,
    options: &Options,
    on_progress: OnProgress<'_>,
    stop: impl Future<Output = ()>,
) -> Result<Report, CheckError> {
    let began = Instant::now();
    let mut stop = pin!(stop);
    let first = tokio::select! {
        first = connections.0.recv() => first,
        () = &mut stop => None,
    };
    let first = first.ok_or(CheckError::NoClient)?;
    let abilities = tokio::select! {
        abilities = probe::client(first.0, options.timeouts()) => abilities?,
        () = &mut stop => return Err(CheckError::NoClient),
    };
    let cases = options.cases(Role::Client);
    let options = &options.for_peer(&abilities);
    let mut run = Run::new(&cases, &abilities, options);
    let running = run.everything(connections, on_progress);
    let left = bounded(running, stop, began, options).await;
    let outcomes = run.findings.conclude(&cases, left.unwrap_or(GONE));
    Ok(Report::new(abilities, outcomes, began.elapsed(), left.is_some()))
}

/// All cases, those that wait for a connection and those that have been tried.
struct Run<'c> {
    cases: &'c [Case],
    options: &'c Options,
    /// The cases that are due, in their order; behind them those that are due again.
    due: VecDeque<usize>,
    findings: Findings,
    /// Every `Sec-WebSocket-Key` so far.
    keys: HashSet<String>,
}

impl<'c> Run<'c> {
    fn new(cases: &'c [Case], abilities: &Abilities, options: &'c Options) -> Self {
        let (mut due, mut findings) = (VecDeque::new(), Findings::of(cases));
        for (at, case) in cases.iter().enumerate() {
            let why = match (&case.expect, abilities.missing(case)) {
                (_, Some(why)) => why,
                // Watched for in all the others.
                (Expect::Never(_), None) => "nothing is sent for this",
                _ => {
                    due.push_back(at);
                    continue;
                }
            };
            findings.keep(at, &case.id, not_judged(why), true);
        }
        Self { cases, options, due, findings, keys: HashSet::new() }
    }

    /// Gives each connection the next case, until none is due or the client has gone.
    async fn everything(&mut self, connections: &mut Connections, on_progress: OnProgress<'_>) {
        let mut running = JoinSet::new();
        while !(self.due.is_empty() && running.is_empty()) {
            let is_more = !self.due.is_empty() && running.len() < self.options.jobs;
            let are_others_open = !running.is_empty();
            tokio::select! {
                Some(joined) = running.join_next() => {
                    // One that has panicked is left without a verdict.
                    if let Ok((at, judged)) = joined {
                        self.keep(at, judged);
                    }
                    let open = self.due.len() + running.len();
                    let done = self.cases.len().saturating_sub(open);
                    on_progress(Progress { done, all: self.cases.len() });
                }
                stream = connections.next(are_others_open), if is_more => {
                    let next = stream.and_then(|stream| Some((stream, self.due.pop_front()?)));
                    let Some((stream, at)) = next else {
                        // What is open may still end.
                        self.due.clear();
                        continue;
                    };
                    let case = self.cases[at].clone();
                    let timeouts = match self.findings.first(at) {
                        None => self.options.timeouts(),
                        Some(_) => self.options.longer_timeouts(),
                    };
                    running.spawn(async move {
                        (at, judge(&case, Peer::Client(stream), timeouts).await)
                    });
                }
            }
        }
    }

    /// Keeps what a connection has shown; a fault is tried once more on another one.
    fn keep(&mut self, at: usize, mut judged: Judged) {
        if judged.key.take().is_some_and(|key| !self.keys.insert(key)) {
            let shown = "Sec-WebSocket-Key".to_owned();
            judged.mistakes.push(Mistake { what: "a key that was used before", shown });
        }
        let is_new = self.findings.first(at).is_none();
        if is_new && wants_confirmation(&self.cases[at], &judged.ruling) {
            self.due.push_back(at);
        }
        self.findings.keep(at, &self.cases[at].id, judged, is_new);
    }
}
