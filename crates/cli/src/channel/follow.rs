//! Reading a channel over whatever gets through, and on from where it was when that breaks.

use std::time::{Duration, Instant};

use sockeye_client::internals::{self, ndjson, poll, sse, v1};
use sockeye_server::Transport;
use tokio::time::sleep;

use super::{
    Channel, Failure,
    backoff::Backoff,
    feed::{FeedEvent, Sink},
};

/// What is tried, the best first.
pub(crate) const TRANSPORTS: [Transport; 4] =
    [Transport::V1, Transport::Sse, Transport::LongPoll, Transport::Poll];

/// A transport that lasted this long works, even if there was no message: proxies open some and then
/// cut them.
const WORKS_AFTER: Duration = Duration::from_secs(5);

/// How a channel is read.
pub(crate) struct Follow<'f> {
    pub(crate) channel: &'f Channel,
    /// What is tried, the best first.
    pub(crate) transports: &'f [Transport],
    /// How long polling waits between two requests.
    pub(crate) interval: Duration,
    /// Is told how the channel is read, and why not otherwise.
    pub(crate) note: &'f dyn Fn(String),
}

impl Follow<'_> {
    /// Reads on from there, whatever breaks, until the sink has enough or reading cannot go on.
    pub(crate) async fn run(&self, after: &str, sink: impl Sink) -> anyhow::Result<()> {
        let (mut turn, mut backoff) = (0, Backoff::default());
        let name = self.channel.name();
        let mut cursor = Cursor {
            note: self.note,
            sink,
            name,
            at: after.to_owned(),
            is_open: false,
            has_message: false,
            transport: Transport::V1,
            is_told: false,
            failure: None,
        };
        loop {
            let (transport, begun) = (self.transports[turn], Instant::now());
            let is_last = turn + 1 == self.transports.len();
            cursor.has_message = false;
            (cursor.transport, cursor.is_told) = (transport, false);
            let failure = self.listen(transport, &mut cursor).await;
            let worked = cursor.has_message || begun.elapsed() >= WORKS_AFTER;
            let (why, retry) = match failure {
                Failure::Enough => return Ok(()),
                Failure::Output(error) => return Err(error.into()),
                Failure::Unreachable(error) if !cursor.is_open => return Err(error),
                // A refusal by HTTP says more than one of a WebSocket, and may be another one.
                Failure::Refused(why) if worked || is_last || transport != Transport::V1 => {
                    anyhow::bail!(why)
                }
                Failure::Broken { why, .. } if is_last && !cursor.is_open => anyhow::bail!(why),
                Failure::Unreachable(error) => (format!("{error:#}"), Duration::ZERO),
                Failure::Refused(why) => (why, Duration::ZERO),
                Failure::Broken { why, retry } => (why, retry),
            };
            let delay = if worked || is_last {
                turn = 0;
                backoff.delay(worked, retry)
            } else {
                turn += 1;
                Duration::ZERO
            };
            let next = self.transports[turn].name();
            (self.note)(format!("* {why}; by {next} in {:.1} s", delay.as_secs_f64()));
            sleep(delay).await;
        }
    }

    /// Reads by this transport, and gives what has ended it.
    async fn listen(&self, transport: Transport, cursor: &mut Cursor<'_, impl Sink>) -> Failure {
        let (endpoint, after) = (self.channel.endpoint(), cursor.at.clone());
        let Err(failure) = match transport {
            // A plain WebSocket has no positions; `resumable` reads `ws` as `v1`.
            Transport::Ws | Transport::V1 => v1::listen(endpoint, &after, cursor).await,
            Transport::Sse => sse::listen(endpoint, &after, cursor).await,
            Transport::Ndjson => ndjson::listen(endpoint, &after, cursor).await,
            Transport::LongPoll => poll::read(endpoint, &after, poll::Pace::Held, cursor).await,
            Transport::Poll => {
                let pace = poll::Pace::Interval(self.interval);
                poll::read(endpoint, &after, pace, cursor).await
            }
        };
        cursor.failure.take().unwrap_or_else(|| self.channel.failure(failure))
    }
}

/// Passes on what comes, and knows where to go on.
struct Cursor<'f, S> {
    note: &'f dyn Fn(String),
    sink: S,
    /// What is read.
    name: String,
    /// Where to go on from.
    at: String,
    /// Whether the channel could ever be read.
    is_open: bool,
    has_message: bool,
    /// By what it is read, and whether that was said.
    transport: Transport,
    is_told: bool,
    /// Why the sink takes no more.
    failure: Option<Failure>,
}

impl<S: Sink> Cursor<'_, S> {
    fn see(&mut self, news: FeedEvent) -> Result<(), Failure> {
        match &news {
            FeedEvent::Open => {
                self.is_open = true;
                if !std::mem::replace(&mut self.is_told, true) {
                    let (name, transport, at) = (&self.name, self.transport, &self.at);
                    let how = transport.title();
                    (self.note)(format!("* reading {name} by {how} ({transport}), after {at}"));
                }
            }
            FeedEvent::At(at) => self.at = at.to_string(),
            FeedEvent::Gap(gap) => self.at = gap.next.to_string(),
            FeedEvent::Message(message) => {
                self.has_message = true;
                self.at = message.position().to_string();
            }
            FeedEvent::End(end) => {
                (self.note)(format!("* {} has ended at {}", self.name, end.at));
                self.sink.take(news)?;
                return Err(Failure::Enough);
            }
        }
        self.sink.take(news)
    }
}

impl<S: Sink> internals::Sink for Cursor<'_, S> {
    fn take(&mut self, news: FeedEvent) -> Result<(), internals::Failure> {
        self.see(news).map_err(|failure| {
            self.failure = Some(failure);
            internals::Failure::Enough
        })
    }

    async fn next_may_come(&mut self) {
        self.sink.next_may_come().await;
    }
}
