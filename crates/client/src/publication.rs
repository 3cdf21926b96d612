//! What is published, and its forms.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{failure::Failure, http::Question};

const SOCKEYE_EVENT: HeaderName = HeaderName::from_static("sockeye-event");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a publication carries: text, bytes or JSON.
///
/// ```
/// use sockeye_client::Payload;
///
/// let text: Payload = "hello".into();
/// let bytes: Payload = vec![0, 1, 2].into();
/// let json = Payload::json(&["a", "b"])?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Payload(PayloadKind);

#[derive(Debug, Clone)]
enum PayloadKind {
    Text(String),
    Binary(Bytes),
    Json(Box<RawValue>),
}

/// A message that is to be published.
///
/// ```
/// use sockeye_client::Publication;
///
/// let publication = Publication::new("chat", "hello").event("greeting").key("6f1c");
/// ```
#[derive(Debug, Clone)]
pub struct Publication {
    channel: String,
    payload: Payload,
    event: Option<String>,
    key: Option<String>,
}

/// A publication in JSON: a command of `sockeye.v1`, or a line of many.
#[derive(Serialize)]
struct Line<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<&'static str>,
    ch: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64: Option<String>,
}

impl Payload {
    /// A value of serde's, as JSON. A string is text.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        to_raw_value(value).map(|json| Self(PayloadKind::Json(json)))
    }

    fn content_type(&self) -> &'static str {
        match self.0 {
            PayloadKind::Text(_) => "text/plain; charset=utf-8",
            PayloadKind::Binary(_) => "application/octet-stream",
            PayloadKind::Json(_) => "application/json",
        }
    }

    fn len(&self) -> usize {
        match &self.0 {
            PayloadKind::Text(text) => text.len(),
            PayloadKind::Binary(bytes) => bytes.len(),
            PayloadKind::Json(json) => json.get().len(),
        }
    }

    fn bytes(&self) -> Bytes {
        match &self.0 {
            PayloadKind::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            PayloadKind::Binary(bytes) => bytes.clone(),
            PayloadKind::Json(json) => Bytes::copy_from_slice(json.get().as_bytes()),
        }
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self(PayloadKind::Text(text.to_owned()))
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self(PayloadKind::Text(text))
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(PayloadKind::Binary(bytes.into()))
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(PayloadKind::Binary(bytes))
    }
}

impl From<Box<RawValue>> for Payload {
    /// JSON, byte for byte.
    fn from(json: Box<RawValue>) -> Self {
        Self(PayloadKind::Json(json))
    }
}

impl Publication {
    /// A publication on that channel.
    pub fn new(channel: impl Into<String>, payload: impl Into<Payload>) -> Self {
        Self { channel: channel.into(), payload: payload.into(), event: None, key: None }
    }

    /// Names the event: 1 to 64 visible ASCII characters. Default: none.
    pub fn event(mut self, name: impl Into<String>) -> Self {
        self.event = Some(name.into());
        self
    }

    /// Sets the idempotency key: a repetition with the same one gets the first position. Default: one that no other
    /// publication has, so that what this client repeats is published once. Give your own where your program
    /// repeats it, after a restart for example.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// The same with a key.
    pub(crate) fn keyed(mut self) -> Result<Self, Failure> {
        if self.key.is_none() {
            let without =
                |error| Failure::refused(format!("there is no randomness for a key: {error}"));
            self.key = Some(crate::random::key().map_err(without)?);
        }
        Ok(self)
    }

    /// How many bytes it carries.
    pub(crate) fn len(&self) -> usize {
        self.payload.len()
    }

    /// The message as a request by HTTP.
    pub(crate) fn question(&self) -> Result<Question<'static>, Failure> {
        let mut question = Question::new(Method::POST, Vec::new());
        question.body = self.payload.bytes();
        let kind = HeaderValue::from_static(self.payload.content_type());
        question.headers.insert(CONTENT_TYPE, kind);
        for (name, text) in [(IDEMPOTENCY_KEY, &self.key), (SOCKEYE_EVENT, &self.event)] {
            if let Some(text) = text {
                let value = HeaderValue::from_str(text);
                let value = value
                    .map_err(|_| Failure::refused(format!("{text:?} cannot stand in a header")))?;
                question.headers.insert(name, value);
            }
        }
        Ok(question)
    }

    /// The message as a command of `sockeye.v1`.
    pub(crate) fn command(&self, id: u64) -> Result<String, Failure> {
        self.json(Some(id), Some("pub"))
    }

    /// The message as a line of many.
    pub(crate) fn line(&self) -> Result<String, Failure> {
        self.json(None, None)
    }

    fn json(&self, id: Option<u64>, op: Option<&'static str>) -> Result<String, Failure> {
        let (data, b64) = match &self.payload.0 {
            PayloadKind::Text(text) => (Some(to_raw_value(text).map_err(Failure::refused)?), None),
            // In JSON line breaks stand between values only, where they are as good as spaces.
            PayloadKind::Json(json) if json.get().contains(['\r', '\n']) => {
                let line = json.get().replace(['\r', '\n'], " ");
                (Some(RawValue::from_string(line).map_err(Failure::refused)?), None)
            }
            PayloadKind::Json(json) => (Some(json.clone()), None),
            PayloadKind::Binary(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        let (key, event) = (self.key.as_deref(), self.event.as_deref());
        let line = Line { id, op, ch: &self.channel, key, event, data, b64 };
        serde_json::to_string(&line).map_err(Failure::refused)
    }
}
