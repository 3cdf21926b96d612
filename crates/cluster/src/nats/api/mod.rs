//! The few requests to JetStream that a cluster makes, in their JSON.

mod direct;
pub(crate) mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, Request, RequestErrorKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

pub(crate) use self::direct::{Answer, Get};
use self::stream::StreamInfo;
use crate::error::jetstream::{ApiError, Refusal, code};
use crate::message::subjects::Names;
use crate::message::time::parse_millis;
use crate::nats::traffic::Traffic;

/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one is waited for that makes or changes a stream.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer: an error, or what was asked for.
#[derive(Deserialize)]
struct Envelope {
    error: Option<Refusal>,
}

/// JetStream, as a cluster uses it. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    client: Client,
    names: Arc<Names>,
    traffic: Traffic,
    /// The most messages of an answer: as many as the connection has room for.
    batch: u32,
}

impl Api {
    /// `capacity` is how many messages of a subscription may wait.
    pub(crate) fn new(client: Client, names: Arc<Names>, capacity: usize) -> Self {
        let batch = u32::try_from(capacity / 2).unwrap_or(direct::BATCH).clamp(1, direct::BATCH);
        Self { client, names, traffic: Traffic::default(), batch }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// The requests that are under way.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Asks whether JetStream is there for this account.
    pub(crate) async fn account(&self) -> Result<(), ApiError> {
        self.ask::<serde::de::IgnoredAny>("INFO".to_owned(), &(), ANSWER_TIMEOUT).await.map(drop)
    }

    /// Makes a stream.
    pub(crate) async fn create(
        &self,
        stream: &str,
        config: &impl Serialize,
    ) -> Result<(), ApiError> {
        let subject = format!("STREAM.CREATE.{stream}");
        let made = self.ask::<serde::de::IgnoredAny>(subject, config, CHANGE_TIMEOUT);
        made.await.map(drop)
    }

    /// Asks a stream's leader what it is and has.
    pub(crate) async fn info(&self, stream: &str) -> Result<StreamInfo, ApiError> {
        self.ask(format!("STREAM.INFO.{stream}"), &(), ANSWER_TIMEOUT).await
    }

    /// Gives a stream this configuration.
    pub(crate) async fn update(
        &self,
        stream: &str,
        config: &serde_json::Value,
    ) -> Result<StreamInfo, ApiError> {
        self.ask(format!("STREAM.UPDATE.{stream}"), config, CHANGE_TIMEOUT).await
    }

    /// Drops what a shard has of a subject before `before`, or all of it.
    pub(crate) async fn purge(
        &self,
        shard: u16,
        subject: &str,
        before: Option<u64>,
    ) -> Result<(), ApiError> {
        #[derive(Serialize)]
        struct Purge<'a> {
            filter: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            seq: Option<u64>,
        }
        let request = Purge { filter: subject, seq: before };
        let subject = format!("STREAM.PURGE.{}", self.names.stream(shard));
        self.ask::<serde::de::IgnoredAny>(subject, &request, ANSWER_TIMEOUT).await.map(drop)
    }

    /// Stores a message of a shard's clock, and gives its sequence.
    pub(crate) async fn put_clock(&self, shard: u16) -> Result<u64, ApiError> {
        #[derive(Deserialize)]
        struct Stored {
            seq: u64,
        }
        let subject = self.names.clock_subject(shard);
        self.send::<Stored>(subject, Vec::new(), CHANGE_TIMEOUT).await.map(|stored| stored.seq)
    }

    /// Asks a shard's leader alone whether it has a message from `from` on.
    pub(crate) async fn has_from(&self, shard: u16, from: u64) -> Result<bool, ApiError> {
        #[derive(Serialize)]
        struct Next<'a> {
            seq: u64,
            next_by_subj: &'a str,
        }
        let subjects = self.names.log_subjects(shard);
        let request = Next { seq: from, next_by_subj: &subjects };
        let subject = format!("STREAM.MSG.GET.{}", self.names.stream(shard));
        match self.ask::<serde::de::IgnoredAny>(subject, &request, ANSWER_TIMEOUT).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(code::NO_MESSAGE) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The sequence of the newest message that matches a subject, as the shard's leader says; 0 if there is
    /// none.
    pub(crate) async fn last_of(&self, shard: u16, subject: &str) -> Result<u64, ApiError> {
        #[derive(Serialize)]
        struct Last<'a> {
            last_by_subj: &'a str,
        }
        #[derive(Deserialize)]
        struct Found {
            message: Stored,
        }
        #[derive(Deserialize)]
        struct Stored {
            seq: u64,
        }
        let stream = format!("STREAM.MSG.GET.{}", self.names.stream(shard));
        let last = Last { last_by_subj: subject };
        match self.ask::<Found>(stream, &last, ANSWER_TIMEOUT).await {
            Ok(found) => Ok(found.message.seq),
            Err(error) if error.code() == Some(code::NO_MESSAGE) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// When the message with that sequence came, as the shard's leader says; `None` if it has none.
    pub(crate) async fn time_of(&self, shard: u16, seq: u64) -> Result<Option<u64>, ApiError> {
        #[derive(Serialize)]
        struct At {
            seq: u64,
        }
        #[derive(Deserialize)]
        struct Found {
            message: Stored,
        }
        #[derive(Deserialize)]
        struct Stored {
            time: String,
        }
        let subject = format!("STREAM.MSG.GET.{}", self.names.stream(shard));
        match self.ask::<Found>(subject, &At { seq }, ANSWER_TIMEOUT).await {
            Ok(found) => Ok(parse_millis(&found.message.time)),
            Err(error) if error.code() == Some(code::NO_MESSAGE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last record under a key, as the leader of their stream has it: its sequence, and what it says
    /// in Base64.
    pub(crate) async fn last_record(&self, key: &str) -> Result<Option<(u64, String)>, ApiError> {
        #[derive(Serialize)]
        struct Last {
            last_by_subj: String,
        }
        #[derive(Deserialize)]
        struct Found {
            message: Stored,
        }
        #[derive(Deserialize)]
        struct Stored {
            seq: u64,
            #[serde(default)]
            data: String,
        }
        let subject = format!("STREAM.MSG.GET.{}", self.names.records_stream());
        let request = Last { last_by_subj: self.names.record_subject(key) };
        match self.ask::<Found>(subject, &request, ANSWER_TIMEOUT).await {
            Ok(Found { message }) => Ok(Some((message.seq, message.data))),
            Err(error) if error.code() == Some(code::NO_MESSAGE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One question with one answer in JSON.
    async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        question: &impl Serialize,
        limit: Duration,
    ) -> Result<T, ApiError> {
        let question =
            serde_json::to_vec(question).map_err(|error| ApiError::Garbled(error.to_string()))?;
        self.send(format!("$JS.API.{subject}"), question, limit).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        subject: String,
        payload: Vec<u8>,
        limit: Duration,
    ) -> Result<T, ApiError> {
        let _under_way = self.traffic.begun().await;
        let request = Request::new().payload(payload.into()).timeout(Some(limit));
        let asked = self.client.send_request(subject, request);
        // Sending, too, waits where the connection is gone.
        let answer = timeout(limit, asked).await.map_err(|_| ApiError::Unanswered)?;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::TimedOut => ApiError::Unanswered,
            RequestErrorKind::NoResponders => ApiError::NoResponders,
            RequestErrorKind::InvalidSubject
            | RequestErrorKind::MaxPayloadExceeded
            | RequestErrorKind::Other => ApiError::Connection(error.to_string()),
        })?;
        read_answer(&answer)
    }
}

/// What an answer says.
fn read_answer<T: DeserializeOwned>(answer: &Message) -> Result<T, ApiError> {
    let garbled = |error: serde_json::Error| ApiError::Garbled(error.to_string());
    let Envelope { error } = serde_json::from_slice(&answer.payload).map_err(garbled)?;
    match error {
        Some(refusal) => Err(refusal.into()),
        None => serde_json::from_slice(&answer.payload).map_err(garbled),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::tests::message;

    fn answer(text: &[u8]) -> Message {
        message("_INBOX.1", async_nats::HeaderMap::new(), text)
    }

    #[test]
    fn an_answer_is_an_error_or_what_was_asked_for() {
        let refused = br#"{"type":"x","error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        let error = read_answer::<StreamInfo>(&answer(refused)).unwrap_err();
        assert_eq!(error.code(), Some(code::NO_STREAM));
        assert_eq!(error.to_string(), "JetStream says: stream not found (10059)");
        assert!(!error.is_passing());
        let away = br#"{"error":{"code":500,"err_code":10118,"description":"stream is offline"}}"#;
        assert!(read_answer::<StreamInfo>(&answer(away)).unwrap_err().is_passing());
        assert!(matches!(read_answer::<StreamInfo>(&answer(b"x")), Err(ApiError::Garbled(_))));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_an_error(text: Vec<u8>) {
            let _ = read_answer::<StreamInfo>(&answer(&text));
        }
    }
}
