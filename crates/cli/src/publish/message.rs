//! A message as it is published: its key, and its forms.

use ::http::{HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use anyhow::anyhow;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use sockeye_client::internals::Question;

use crate::channel::Failure;

const SOCKEYE_EVENT: HeaderName = HeaderName::from_static("sockeye-event");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What all messages of one run have in common.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    /// Whether they are JSON.
    pub(crate) json: bool,
    pub(crate) event: Option<String>,
}

/// Keys that no other publication has, one for each message.
#[derive(Debug)]
pub(crate) struct Keys {
    prefix: String,
    given: u64,
}

impl Keys {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| anyhow!("no randomness: {error}"))?;
        Ok(Self { prefix: URL_SAFE_NO_PAD.encode(bytes), given: 0 })
    }

    pub(crate) fn next(&mut self) -> String {
        self.given += 1;
        format!("{}-{}", self.prefix, self.given)
    }
}

impl Kind {
    /// The message as a request by HTTP.
    pub(super) fn question(&self, data: &Bytes, key: &str) -> Result<Question<'static>, Failure> {
        let kind = match str::from_utf8(data) {
            _ if self.json => "application/json",
            Ok(_) => "text/plain; charset=utf-8",
            Err(_) => "application/octet-stream",
        };
        let mut question = Question::new(Method::POST, Vec::new());
        question.body = data.clone();
        question.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        question.headers.insert(IDEMPOTENCY_KEY, value(key)?);
        if let Some(event) = &self.event {
            question.headers.insert(SOCKEYE_EVENT, value(event)?);
        }
        Ok(question)
    }

    /// The message as a command of `sockeye.v1`.
    pub(super) fn command(&self, id: u64, data: &Bytes, key: &str) -> Result<String, Failure> {
        let (data, b64) = match str::from_utf8(data) {
            // It goes in as it is: no number loses its digits.
            Ok(text) if self.json => (Some(serde_json::from_str(text)), None),
            Ok(text) => (Some(to_raw_value(text)), None),
            Err(_) if self.json => {
                return Err(Failure::Refused("this is not JSON: it is not UTF-8".to_owned()));
            }
            Err(_) => (None, Some(STANDARD.encode(data))),
        };
        let data: Option<Box<RawValue>> = data
            .transpose()
            .map_err(|wrong| Failure::Refused(format!("this is not JSON: {wrong}")))?;
        let command = Command { id, op: "pub", key, event: self.event.as_deref(), data, b64 };
        serde_json::to_string(&command).map_err(Failure::broken)
    }
}

/// What publishes a message in `sockeye.v1`.
#[derive(Serialize)]
struct Command<'c> {
    id: u64,
    op: &'static str,
    key: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64: Option<String>,
}

/// A header's value.
fn value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text)
        .map_err(|_| Failure::Refused(format!("{text:?} cannot stand in a header")))
}
