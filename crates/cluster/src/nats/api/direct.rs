//! Direct Get: many messages for one question, from whichever server has them.
//!
//! A server that follows may be behind the leader, so an answer is a beginning of the truth: in
//! order, without holes of its own, perhaps not to the end (ADR-31).

use std::time::Duration;

use async_nats::header::{HeaderName, NATS_LAST_SEQUENCE};
use async_nats::{Message, StatusCode};
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::time::timeout;

use super::Api;
use crate::error::jetstream::ApiError;
use crate::message;
use sockeye_hub::backplane::Arrival;

/// How many messages follow that did not fit into the answer.
const NUM_PENDING: HeaderName = HeaderName::from_static("Nats-Num-Pending");
/// Up to where the server that answered has the stream.
const UP_TO: HeaderName = HeaderName::from_static("Nats-UpTo-Sequence");

/// How long the next message of an answer is waited for.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// The most messages of an answer. A full channel of the default history stores 1001, one more than it
/// shows: it is read by one question.
pub(crate) const BATCH: u32 = 1024;
/// The most bytes of an answer.
const BATCH_BYTES: u64 = 4 << 20;

/// A question to a stream.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Get<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_last: Option<&'a [String]>,
}

impl<'a> Get<'a> {
    /// The messages of that subject, or of all that match it, from a sequence on.
    pub(crate) fn from(seq: u64, subject: &'a str) -> Self {
        Self {
            seq: Some(seq),
            next_by_subj: Some(subject),
            batch: Some(BATCH),
            max_bytes: Some(BATCH_BYTES),
            ..Self::default()
        }
    }

    /// The first message of that subject.
    pub(crate) fn first(subject: &'a str) -> Self {
        Self { batch: Some(1), ..Self::from(1, subject) }
    }

    /// The last message of each of these subjects, as the stream was at one moment.
    pub(crate) fn last_of(subjects: &'a [String]) -> Self {
        Self { multi_last: Some(subjects), ..Self::default() }
    }
}

/// What was answered.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The messages, in order.
    pub(crate) arrivals: Vec<Arrival>,
    /// How many more the server has that did not fit, or did not come.
    pub(crate) more: u64,
    /// Up to where the server has the stream, if the question was for the last of subjects and
    /// there is one.
    pub(crate) up_to: Option<u64>,
}

impl Answer {
    /// The same, of which the rest did not come.
    fn broken_off(self) -> Self {
        Self { more: 1, ..self }
    }
}

/// A number in the headers of a message.
fn number(message: &Message, name: HeaderName) -> Option<u64> {
    message.headers.as_ref()?.get_last(name)?.as_str().parse().ok()
}

impl Api {
    /// Asks a shard's stream.
    pub(crate) async fn get(&self, shard: u16, get: &Get<'_>) -> Result<Answer, ApiError> {
        let lost = |error: &dyn std::fmt::Display| ApiError::Connection(error.to_string());
        let batch = get.batch.map(|batch| batch.min(self.batch));
        let get = Get { batch, ..get.clone() };
        let question =
            serde_json::to_vec(&get).map_err(|error| ApiError::Garbled(error.to_string()))?;
        let _under_way = self.traffic().begun().await;
        let inbox = self.client().new_inbox();
        let subscribed = timeout(MESSAGE_TIMEOUT, self.client().subscribe(inbox.clone())).await;
        let subscribed = subscribed.map_err(|_| ApiError::Unanswered)?;
        let mut answers = subscribed.map_err(|error| lost(&error))?;
        let subject = format!("$JS.API.DIRECT.GET.{}", self.names().stream(shard));
        let asked = self.client().publish_with_reply(subject, inbox, question.into());
        let asked = timeout(MESSAGE_TIMEOUT, asked).await.map_err(|_| ApiError::Unanswered)?;
        asked.map_err(|error| lost(&error))?;
        let mut answer = Answer::default();
        loop {
            let message = match timeout(MESSAGE_TIMEOUT, answers.next()).await {
                Ok(message) => message.ok_or_else(|| lost(&"the connection is closed"))?,
                // The end is what was lost on the way.
                Err(_) if !answer.arrivals.is_empty() => return Ok(answer.broken_off()),
                Err(_) => return Err(ApiError::Unanswered),
            };
            // Each names the one before it, so that what is lost on the way is noticed.
            let last = answer.arrivals.last().map_or(0, |last| last.offset);
            if batch.is_some() && number(&message, NATS_LAST_SEQUENCE).is_some_and(|at| at != last)
            {
                return Ok(answer.broken_off());
            }
            match message.status.map(|status| status.as_u16()) {
                None | Some(200) => {
                    let arrival = message::read(message, self.names(), shard);
                    let arrival = arrival.map_err(|bad| ApiError::Garbled(bad.to_string()))?;
                    answer.arrivals.push(arrival);
                }
                // The end of what was asked for.
                Some(204) => {
                    answer.more = number(&message, NUM_PENDING).unwrap_or(0);
                    answer.up_to = number(&message, UP_TO);
                    return Ok(answer);
                }
                Some(404) => return Ok(answer),
                Some(status) if status == StatusCode::NO_RESPONDERS.as_u16() => {
                    return Err(ApiError::NoResponders);
                }
                Some(status) => {
                    let description = message.description.unwrap_or_default();
                    return Err(ApiError::Refused { code: u32::from(status), description });
                }
            }
        }
    }
}
