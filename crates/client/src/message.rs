//! Messages, gaps and ends, as every transport has them in JSON.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error as _,
};
use serde_json::value::RawValue;

use crate::{Change, Members, Position};

/// What a subscription brings.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Item {
    /// A message.
    Message(Message),
    /// Messages are missing here, because the server has not kept them. What follows comes behind
    /// [`Gap::next`].
    Gap(Gap),
    /// The channel has ended: nothing follows.
    End(End),
    /// A member has come, for subscriptions with [`presence`](crate::Subscription::presence).
    Join(Change),
    /// A member has gone, likewise.
    Leave(Change),
    /// More members have come and gone than the server could tell one by one: these are there now.
    Members(Members),
}

/// A message of a channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    #[serde(skip)]
    pub(crate) channel: Arc<str>,
    pub(crate) at: Position,
    pub(crate) ts: u64,
    #[serde(default, deserialize_with = "even_null", skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Box<RawValue>>,
    #[serde(
        default,
        deserialize_with = "from_base64",
        serialize_with = "to_base64",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) b64: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
}

/// What a message carries.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Data<'m> {
    /// Text, or a string that was published as JSON: the server does not tell them apart.
    Text(String),
    /// Bytes.
    Binary(&'m Bytes),
    /// Other JSON, byte for byte as it was published.
    Json(&'m RawValue),
}

/// Messages that are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    #[serde(skip)]
    pub(crate) channel: Arc<str>,
    /// Where the reader was.
    pub after: Position,
    /// The position just before what follows.
    pub next: Position,
    /// `expired`: trimmed while the client was away; `slow`: trimmed while it was connected; `reset`: the history was
    /// deleted, or the server has lost its data and began a new epoch.
    #[serde(deserialize_with = "word")]
    pub why: String,
}

/// The end of a channel, where messages are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    #[serde(skip)]
    pub(crate) channel: Arc<str>,
    /// The position of the end.
    pub at: Position,
    end: bool,
}

impl Item {
    /// The channel that it is of.
    pub fn channel(&self) -> &str {
        match self {
            Self::Message(message) => &message.channel,
            Self::Gap(gap) => &gap.channel,
            Self::End(end) => &end.channel,
            Self::Join(change) | Self::Leave(change) => &change.channel,
            Self::Members(members) => &members.channel,
        }
    }

    /// The position to go on from, once this has been seen to; presence has none.
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Message(message) => Some(&message.at),
            Self::Gap(gap) => Some(&gap.next),
            Self::End(end) => Some(&end.at),
            Self::Join(_) | Self::Leave(_) | Self::Members(_) => None,
        }
    }

    /// The message, if it is one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }

    pub(crate) fn of_channel(mut self, name: &Arc<str>) -> Self {
        match &mut self {
            Self::Message(message) => message.channel = Arc::clone(name),
            Self::Gap(gap) => gap.channel = Arc::clone(name),
            Self::End(end) => end.channel = Arc::clone(name),
            Self::Join(change) | Self::Leave(change) => change.channel = Arc::clone(name),
            Self::Members(members) => members.channel = Arc::clone(name),
        }
        self
    }

    /// How many bytes it costs to keep, in about.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Message(message) => {
                let data = message.data.as_ref().map_or(0, |data| data.get().len());
                let event = message.event.as_ref().map_or(0, String::len);
                data + event + message.b64.as_ref().map_or(0, Bytes::len)
            }
            Self::Gap(_) | Self::End(_) => 0,
            Self::Join(change) | Self::Leave(change) => change.size(),
            Self::Members(members) => members.size(),
        }
    }
}

impl Message {
    /// The channel that it was published on.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Its position.
    pub fn position(&self) -> &Position {
        &self.at
    }

    /// When the server took it.
    pub fn time(&self) -> SystemTime {
        let since = Duration::from_millis(self.ts);
        SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The event's name, if the publisher gave one.
    pub fn event(&self) -> Option<&str> {
        self.event.as_deref()
    }

    /// What it carries.
    pub fn data(&self) -> Data<'_> {
        if let Some(bytes) = &self.b64 {
            return Data::Binary(bytes);
        }
        let json = self.data.as_deref().unwrap_or(RawValue::NULL);
        match serde_json::from_str(json.get()) {
            Ok(text) => Data::Text(text),
            Err(_) => Data::Json(json),
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<String> {
        match self.data() {
            Data::Text(text) => Some(text),
            Data::Binary(_) | Data::Json(_) => None,
        }
    }

    /// The JSON as a type of serde's.
    ///
    /// # Errors
    ///
    /// When it is not of that type. Bytes are of none.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match &self.data {
            Some(json) => serde_json::from_str(json.get()),
            None if self.b64.is_some() => Err(serde_json::Error::custom("the message is bytes")),
            None => serde_json::from_str("null"),
        }
    }

    /// Whether it was published as bytes, and not as text or JSON.
    pub fn is_binary(&self) -> bool {
        self.b64.is_some()
    }

    /// Writes the payload: text and bytes as they are, JSON in one line.
    ///
    /// # Errors
    ///
    /// When `out` does not take it.
    pub fn write_payload(&self, mut out: impl Write) -> io::Result<()> {
        match self.data() {
            Data::Binary(bytes) => out.write_all(bytes),
            Data::Text(text) => out.write_all(text.as_bytes()),
            Data::Json(json) => out.write_all(in_one_line(json.get()).as_bytes()),
        }
    }

    /// Writes the message as JSON, in one line.
    ///
    /// # Errors
    ///
    /// When `out` does not take it.
    pub fn write_json(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(in_one_line(&serde_json::to_string(self)?).as_bytes())
    }
}

impl Gap {
    /// The channel that it is of.
    pub fn channel(&self) -> &str {
        &self.channel
    }
}

impl End {
    /// The end at that position.
    pub(crate) fn new(at: Position) -> Self {
        Self { channel: Arc::default(), at, end: true }
    }

    /// The channel that has ended.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The end, if that is what the JSON is: it is told from any message by its last member.
    pub(crate) fn of(json: &[u8]) -> Option<Self> {
        let is_end = json.trim_ascii_end().ends_with(b",\"end\":true}");
        is_end.then(|| serde_json::from_slice(json).ok()).flatten()
    }
}

/// A word of the server's, of a length that one may have.
fn word<'de, D: Deserializer<'de>>(json: D) -> Result<String, D::Error> {
    match String::deserialize(json)? {
        word if word.len() > crate::position::MAX_POSITION => {
            Err(D::Error::custom("a word is too long"))
        }
        word => Ok(word),
    }
}

/// `null` is data, too.
pub(crate) fn even_null<'de, D: Deserializer<'de>>(
    json: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(json).map(Some)
}

pub(crate) fn from_base64<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Bytes>, D::Error> {
    let Some(text) = Option::<String>::deserialize(json)? else { return Ok(None) };
    STANDARD.decode(text).map(|bytes| Some(bytes.into())).map_err(D::Error::custom)
}

pub(crate) fn to_base64<S: Serializer>(bytes: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(bytes.as_deref().unwrap_or_default()))
}

/// In JSON line breaks stand between values only, where they are as good as spaces.
fn in_one_line(json: &str) -> String {
    json.replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_message_keeps_counts_and_no_time_is_too_late() {
        let json = r#"{"at":"k.1","ts":18446744073709551615,"data":12,"event":"abcd"}"#;
        let message: Message = serde_json::from_str(json).unwrap();
        message.time();
        assert_eq!(Item::Message(message).size(), 6);
    }
}
