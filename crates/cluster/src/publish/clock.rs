//! The clock of a shard: an empty message each minute, by which a node that reads an old history can
//! tell how far back it is whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::ClusterOptions;
use crate::error::jetstream::ApiError;
use crate::message::Headers;
use crate::nats::api::{Api, Get};
use crate::publish::ack::Failure;
use crate::publish::{Done, Outgoing, Publisher};
use crate::shard::Shard;
use crate::streams::SLACK;
use sockeye_hub::backplane::What;

/// How often it is looked whether one is due.
const LOOK: Duration = Duration::from_secs(5);
/// How long the first strike is tried before it is left to the next look.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long until it is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// The least time between two.
const LEAST: Duration = Duration::from_secs(60);

/// How long after the last one the next is due: as many fit into the time that a stream keeps as it
/// keeps of a subject.
pub(crate) fn period(options: &ClusterOptions) -> Duration {
    let count = u32::try_from(options.history_count.max(1)).unwrap_or(u32::MAX);
    (options.history_age.saturating_add(SLACK) / count).max(LEAST)
}

/// Has the clock of a shard strike for the first time. A stream that was just made may have no leader yet.
pub(crate) async fn start(api: &Api, shard: &Shard, publisher: &Publisher) {
    let begun = Instant::now();
    while let Err(error) = strike(api, shard, publisher).await {
        if begun.elapsed() >= FIRST_TIMEOUT {
            tracing::warn!(shard = shard.number, %error, "the clock of the shard is late");
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Winds the clock of a shard for ever.
pub(crate) async fn wind(api: Api, shard: Arc<Shard>, publisher: Publisher, period: Duration) {
    loop {
        if shard.clock().is_none_or(|(_, came)| came.elapsed() >= period)
            && let Err(error) = strike(&api, &shard, &publisher).await
        {
            tracing::debug!(shard = shard.number, %error, "the clock of the shard is late");
        }
        sleep(LOOK).await;
    }
}

/// Publishes one, unless another node has been faster.
pub(crate) async fn strike(
    api: &Api,
    shard: &Shard,
    publisher: &Publisher,
) -> Result<(), ApiError> {
    let last = match shard.clock() {
        Some((last, _)) => last,
        None => match last(api, shard.number).await? {
            // It is not known when it was: taken for new, the next is late by one period at most.
            Some(last) => {
                shard.clock_came(last);
                return Ok(());
            }
            None => 0,
        },
    };
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, last.to_string());
    let (done, outcome) = oneshot::channel();
    publisher.publish(Outgoing {
        subject: api.names().clock_subject(shard.number).into(),
        headers: Headers::Other(headers),
        payload: Bytes::new(),
        repeatable: true,
        source: None,
        charge: 0,
        done: Done::Task(done),
    });
    match outcome.await {
        Ok(Ok(seq)) => shard.clock_came(seq),
        Ok(Err(Failure::Conflict)) => {
            if let Some(last) = self::last(api, shard.number).await? {
                shard.clock_came(last);
            }
        }
        Ok(Err(_)) | Err(_) => return Err(ApiError::Unanswered),
    }
    Ok(())
}

/// The sequence of the newest one.
async fn last(api: &Api, shard: u16) -> Result<Option<u64>, ApiError> {
    let subjects = [api.names().clock_subject(shard)];
    let answer = api.get(shard, &Get::last_of(&subjects)).await?;
    let clocks = answer.arrivals.iter().filter(|arrival| matches!(arrival.what, What::Clock));
    Ok(clocks.map(|arrival| arrival.offset).max())
}
