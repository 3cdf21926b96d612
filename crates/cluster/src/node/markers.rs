//! What is published of a channel that says nothing: its end, and that its history is forgotten.
//!
//! The end has a subject of its own. So it can be found among those of all channels, whatever is stored on the
//! channel, and JetStream takes each only if it is the next of its subject: of several ends that nodes publish at
//! once one is taken. A history is forgotten only if no end has come meanwhile that the node does not know; and
//! the channel is opened before that.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use bytes::Bytes;
use sockeye_hub::backplane::What;
use sockeye_hub::{ChannelName, Clock};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::message::{self, Headers};
use crate::nats::api::{Api, Get};
use crate::publish::ack::Failure;
use crate::publish::{Done, Outgoing, Publisher};

/// How long it is tried, if others come first or the stream is full.
const TRIED: Duration = Duration::from_secs(10);
/// How long until it is tried again where another came first; and where the stream is full.
const CONFLICT: Duration = Duration::from_millis(20);
const FULL: Duration = Duration::from_millis(250);

/// A channel on which something is to be published that says nothing.
pub(super) struct Marker {
    pub(super) api: Api,
    pub(super) publisher: Publisher,
    pub(super) channel: ChannelName,
}

/// The newest record under the subject of a channel's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// There is none.
    Nothing,
    /// The channel has ended: the sequence, and the time in milliseconds since the Unix epoch.
    End(u64, u64),
    /// It is something else, with that sequence.
    Other(u64),
}

type Outcome = oneshot::Receiver<Result<u64, Failure>>;

impl Marker {
    /// Ends the channel, and gives the sequence of its end; if it has ended and that is not older than `holds`,
    /// of that one. Its place among what is published is that of this call, if there was no end before.
    pub(super) fn end(self, holds: Duration) -> impl Future<Output = Result<u64, Failure>> {
        let first = self.put_end(0);
        async move {
            let (begun, mut outcome) = (Instant::now(), told(first).await);
            while outcome == Err(Failure::Conflict) && begun.elapsed() < TRIED {
                outcome = match self.record().await? {
                    Record::End(seq, ts) if is_younger(ts, holds) => return Ok(seq),
                    Record::End(seq, _) | Record::Other(seq) => told(self.put_end(seq)).await,
                    Record::Nothing => told(self.put_end(0)).await,
                };
                pause_after(outcome).await;
            }
            settled(outcome)
        }
    }

    /// Forgets the history of the channel, and gives the sequence of the marker. A full stream refuses even that:
    /// what is to be forgotten goes first then.
    pub(super) fn forget(self) -> impl Future<Output = Result<u64, Failure>> {
        let first = self.put_forget(0);
        async move {
            let (begun, mut outcome, mut is_purged) = (Instant::now(), told(first).await, false);
            while let Err(why @ (Failure::Conflict | Failure::NoSpace)) = outcome {
                if begun.elapsed() > TRIED {
                    break;
                }
                if why == Failure::NoSpace && !std::mem::replace(&mut is_purged, true) {
                    self.purge().await?;
                }
                // What was dropped is not told before there is a marker.
                outcome = match self.record().await? {
                    Record::End(seq, ts) => match told(self.put_open(seq, ts)).await {
                        Ok(seq) => told(self.put_forget(seq)).await,
                        failed => failed,
                    },
                    Record::Other(seq) => told(self.put_forget(seq)).await,
                    Record::Nothing => told(self.put_forget(0)).await,
                };
                pause_after(outcome).await;
            }
            settled(outcome)
        }
    }

    async fn purge(&self) -> Result<(), Failure> {
        let names = self.api.names();
        let (shard, subject) = (names.shard(&self.channel), names.log_subject(&self.channel));
        self.api.purge(shard, &subject, None).await.map_err(|error| {
            tracing::warn!(shard, subject, %error, "the stream is full, and a history cannot be dropped");
            Failure::NoSpace
        })
    }

    /// What some server has; one that is behind is found out by JetStream, which then refuses what is published.
    async fn record(&self) -> Result<Record, Failure> {
        let names = self.api.names();
        let (shard, subjects) = (names.shard(&self.channel), [names.end_subject(&self.channel)]);
        let answer = self.api.get(shard, &Get::last_of(&subjects)).await;
        let newest = answer.map_err(|error| {
            let channel = self.channel.as_str();
            tracing::debug!(channel, %error, "whether the channel has ended cannot be read");
            Failure::Unavailable
        })?;
        Ok(match newest.arrivals.last() {
            None => Record::Nothing,
            Some(last) if matches!(last.what, What::End(_)) => Record::End(last.offset, last.ts),
            Some(last) => Record::Other(last.offset),
        })
    }

    fn put_end(&self, last: u64) -> Outcome {
        self.put(self.api.names().end_subject(&self.channel), message::end_headers(last))
    }

    fn put_open(&self, ended: u64, ts: u64) -> Outcome {
        self.put(self.api.names().end_subject(&self.channel), message::open_headers(ended, ts))
    }

    fn put_forget(&self, last: u64) -> Outcome {
        let names = self.api.names();
        let headers = message::forget_headers(&names.end_subject(&self.channel), last);
        self.put(names.log_subject(&self.channel), headers)
    }

    fn put(&self, subject: String, headers: HeaderMap) -> Outcome {
        let (done, outcome) = oneshot::channel();
        self.publisher.publish(Outgoing {
            subject: subject.into(),
            headers: Headers::Other(headers),
            payload: Bytes::new(),
            repeatable: true,
            source: None,
            charge: 0,
            done: Done::Task(done),
        });
        outcome
    }
}

async fn told(outcome: Outcome) -> Result<u64, Failure> {
    outcome.await.unwrap_or(Err(Failure::Unknown))
}

async fn pause_after(outcome: Result<u64, Failure>) {
    match outcome {
        Err(Failure::Conflict) => sleep(CONFLICT).await,
        Err(Failure::NoSpace) => sleep(FULL).await,
        _ => {}
    }
}

/// Others came first for as long as it was tried.
fn settled(outcome: Result<u64, Failure>) -> Result<u64, Failure> {
    outcome.map_err(|failure| match failure {
        Failure::Conflict => Failure::Unavailable,
        other => other,
    })
}

fn is_younger(ts: u64, age: Duration) -> bool {
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    Clock::system().now() < ts.saturating_add(age)
}
