//! Small records that all nodes share for a time: tickets. They are in a stream of their own, in memory,
//! each the last message of its subject.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::{HeaderMap, Request};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Serialize;
use sockeye_hub::backplane::{Answer, Record, Records};
use sockeye_hub::store::StoreError;
use tokio::time::{Instant, sleep};

use crate::error::jetstream::{ApiError, code};
use crate::nats::api::Api;
use crate::nats::waiting::Waiting;
use crate::publish::ack::{self, Ack, Failure};
use crate::streams::{DUPLICATE_WINDOW, FORMAT, key, make, refused, retrying};
use crate::{ClusterOptions, StartError};

const TTL: &str = "Nats-TTL";
/// The longest a record is kept, in nanoseconds: a day, and an hour of which others are not sure.
const MAX_AGE: u64 = 25 * 3600 * 1_000_000_000;
/// What all records may take on each server of NATS, in bytes.
const MAX_BYTES: i64 = 64 << 20;
/// The largest record, in bytes: a token is as large as the head of a request at most.
const MAX_RECORD: i32 = 64 << 10;
/// How long an acknowledgement is waited for.
const ACK: Duration = Duration::from_secs(3);
/// How long it is tried to write a record that is not taken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The records of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct SharedRecords(Api);

#[derive(Debug, Serialize)]
struct Config {
    name: String,
    subjects: [String; 1],
    retention: &'static str,
    storage: &'static str,
    num_replicas: i64,
    max_msgs_per_subject: i64,
    max_age: u64,
    max_bytes: i64,
    max_msg_size: i32,
    discard: &'static str,
    duplicate_window: u64,
    allow_msg_ttl: bool,
    deny_delete: bool,
    metadata: BTreeMap<&'static str, &'static str>,
}

/// Makes the stream if it is not there, with as many replicas as the shards have.
pub(crate) async fn ensure(
    api: &Api,
    options: &ClusterOptions,
    waiting: &Waiting,
) -> Result<(), StartError> {
    let stream = api.names().records_stream();
    let failed = |error| refused(&format!("to look for {stream}"), error);
    let info = match retrying(waiting, || api.info(&stream)).await {
        Err(error) if error.code() == Some(code::NO_STREAM) => {
            let first = api.names().stream(0);
            let shard = retrying(waiting, || api.info(&first)).await.map_err(failed)?;
            let replicas = shard.number("num_replicas").unwrap_or(1);
            let config = config(api, replicas);
            let asked = options.replicas.unwrap_or(u8::try_from(replicas).unwrap_or(u8::MAX));
            make(api, &stream, &config, asked, waiting).await?
        }
        info => info.map_err(failed)?,
    };
    if info.metadata(key::FORMAT) != Some(FORMAT) {
        return Err(StartError::Format { stream });
    }
    if info.number("max_msgs_per_subject") != Some(1) {
        let there = info.number("max_msgs_per_subject").unwrap_or_default().to_string();
        let (key, needed) = ("max_msgs_per_subject", "1".to_owned());
        return Err(StartError::Configuration { stream, key, there, needed });
    }
    Ok(())
}

fn config(api: &Api, replicas: i64) -> Config {
    Config {
        name: api.names().records_stream(),
        subjects: [api.names().record_subject("*")],
        retention: "limits",
        storage: "memory",
        num_replicas: replicas,
        max_msgs_per_subject: 1,
        max_age: MAX_AGE,
        max_bytes: MAX_BYTES,
        max_msg_size: MAX_RECORD,
        discard: "new",
        duplicate_window: DUPLICATE_WINDOW.as_nanos() as u64,
        allow_msg_ttl: true,
        deny_delete: true,
        metadata: BTreeMap::from([(key::FORMAT, FORMAT)]),
    }
}

impl SharedRecords {
    pub(crate) fn new(api: Api) -> Arc<Self> {
        Arc::new(Self(api))
    }
}

impl Records for SharedRecords {
    fn put(&self, key: String, value: Bytes, at: u64, ttl: Duration) -> Answer<Option<u64>> {
        let (api, begun) = (self.0.clone(), Instant::now());
        let subject = api.names().record_subject(&key);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, at.to_string());
        headers.insert(TTL, format!("{}s", ttl.as_secs().max(1)));
        Box::pin(async move {
            loop {
                let pause = match write(&api, &subject, &headers, &value).await {
                    Ack::Stored { seq, .. } => return Ok(Some(seq)),
                    Ack::Refused(Failure::Conflict) => return Ok(None),
                    Ack::Refused(Failure::NoSpace) => return Err(StoreError::NoSpace),
                    Ack::Refused(Failure::Busy) | Ack::Unknown => {
                        return Err(StoreError::Unavailable);
                    }
                    Ack::Refused(_) => return Err(StoreError::Failed),
                    Ack::Again => ack::RETRY_AFTER,
                    Ack::InProgress(pause) => pause,
                };
                // It was not taken, so it is not written twice.
                if begun.elapsed() + pause > WRITE_TIMEOUT {
                    return Err(StoreError::Unavailable);
                }
                sleep(pause).await;
            }
        })
    }

    fn taken(&self) -> Answer<u32> {
        let api = self.0.clone();
        Box::pin(async move {
            let info = api.info(&api.names().records_stream()).await;
            let info = info.map_err(|_| StoreError::Unavailable)?;
            let room = info.number("max_bytes").and_then(|bytes| u64::try_from(bytes).ok());
            let room = room.filter(|bytes| *bytes > 0).unwrap_or(u64::MAX);
            let taken = info.state.bytes.saturating_mul(1000) / room;
            Ok(u32::try_from(taken).unwrap_or(u32::MAX))
        })
    }

    fn get(&self, key: String) -> Answer<Option<Record>> {
        let (api, begun) = (self.0.clone(), Instant::now());
        Box::pin(async move {
            loop {
                match api.last_record(&key).await {
                    Ok(None) => return Ok(None),
                    Ok(Some((revision, data))) => {
                        let value = BASE64_STANDARD.decode(data).map_err(|_| StoreError::Failed)?;
                        return Ok(Some(Record { value: value.into(), revision }));
                    }
                    Err(error) if is_soon_over(&error) && begun.elapsed() < WRITE_TIMEOUT => {
                        sleep(ack::RETRY_AFTER).await;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a record cannot be read");
                        return Err(StoreError::Unavailable);
                    }
                }
            }
        })
    }
}

/// Whether nothing was done and another try may find a leader.
fn is_soon_over(error: &ApiError) -> bool {
    matches!(error, ApiError::NoResponders) || error.code() == Some(code::NOT_AVAILABLE)
}

async fn write(api: &Api, subject: &str, headers: &HeaderMap, value: &Bytes) -> Ack {
    if api.client().connection_state() != State::Connected {
        // What async-nats takes now it would send some time later, when it is given up.
        return Ack::Again;
    }
    let Some(_under_way) = api.traffic().begin() else { return Ack::Again };
    let request = Request::new().headers(headers.clone()).payload(value.clone()).timeout(Some(ACK));
    let asked = api.client().send_request(subject.to_owned(), request);
    match tokio::time::timeout(ACK, asked).await {
        Ok(answer) => ack::of_request(answer),
        Err(_) => Ack::Unknown,
    }
}
