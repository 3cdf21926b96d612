//! Frames of `sockeye.v1`.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Change, Member, Members, Position,
    failure::{Failure, Problem, nonsense},
    message::{End, Gap, Item, Message, even_null, from_base64},
};

/// What a frame of the server may have.
#[derive(Debug, Default, Deserialize)]
pub struct Frame<'f> {
    /// The command that it answers.
    pub id: Option<u64>,
    /// The channel that it is of.
    #[serde(borrow)]
    pub ch: Option<Cow<'f, str>>,
    /// The first frame of a connection.
    pub hello: Option<Hello>,
    /// Messages are missing.
    pub gap: Option<Gap>,
    /// The server is about to stop.
    pub bye: Option<Bye>,
    /// A command was refused, or a subscription has ended.
    pub err: Option<Refusal>,
    /// A command was done.
    pub ok: Option<Done>,
    /// The position of a message, or of the end.
    pub at: Option<Position>,
    ts: Option<u64>,
    #[serde(default, deserialize_with = "even_null")]
    data: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "from_base64")]
    b64: Option<Bytes>,
    event: Option<String>,
    /// Whether the channel has ended.
    #[serde(default)]
    pub end: bool,
    join: Option<Member>,
    leave: Option<Member>,
    presence: Option<Members>,
}

/// What a server says first.
#[derive(Debug, Deserialize)]
pub struct Hello {
    /// After how many seconds of silence the server pings.
    pub ping: Option<u64>,
    /// The most bytes that a message may have.
    pub max_message: Option<usize>,
    /// Where the channel is, on a connection that is subscribed from the start.
    pub at: Option<Position>,
}

/// What a server says last.
#[derive(Debug, Deserialize)]
pub struct Bye {
    /// After how many milliseconds the client may come back.
    pub retry_ms: u64,
}

/// Why a command was refused.
#[derive(Debug, Deserialize)]
pub struct Refusal {
    /// The stable word for it.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
    /// Whether the same command may be taken another time.
    #[serde(default)]
    pub retry: bool,
}

/// What a command has come to.
#[derive(Debug, Default, Deserialize)]
pub struct Done {
    /// The position of the publication, or where the channel is.
    pub at: Option<Position>,
    /// How many messages up to there follow.
    #[serde(default)]
    pub missed: u64,
}

/// A command.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Command<'c> {
    pub(crate) id: u64,
    pub(crate) op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ch: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<&'c str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) presence: bool,
}

impl<'f> Frame<'f> {
    /// Reads a frame, which is a text.
    ///
    /// # Errors
    ///
    /// When it is not one of `sockeye.v1`.
    pub fn read(text: Option<&'f str>) -> Result<Self, Failure> {
        let text = text.ok_or_else(|| Failure::broken("sockeye.v1 has no binary frames"))?;
        serde_json::from_str(text).map_err(nonsense)
    }

    /// The message, gap, end or change of members, if it is one.
    ///
    /// # Errors
    ///
    /// When a part of it is missing.
    pub fn into_item(self) -> Result<Option<Item>, Failure> {
        Ok(match self {
            Self { gap: Some(gap), .. } => Some(Item::Gap(gap)),
            Self { join: Some(member), .. } => Some(Item::Join(Change::of(member))),
            Self { leave: Some(member), .. } => Some(Item::Leave(Change::of(member))),
            Self { presence: Some(members), .. } => Some(Item::Members(members)),
            Self { at: Some(at), end: true, .. } => Some(Item::End(End::new(at))),
            Self { at: Some(at), ts: Some(ts), data, b64, event, .. } => {
                let channel = Arc::default();
                Some(Item::Message(Message { channel, at, ts, data, b64, event }))
            }
            Self { at: Some(_), .. } => return Err(nonsense("a message without a time")),
            _ => None,
        })
    }
}

impl Bye {
    /// What it is to end a connection.
    pub fn failure(&self) -> Failure {
        let problem = Problem::new("the server has ended the connection");
        // At once may mean nothing else than as soon as possible.
        Failure::later(problem, Duration::from_millis(self.retry_ms.max(1)))
    }
}

impl From<Refusal> for Problem {
    fn from(Refusal { code, message, retry }: Refusal) -> Self {
        Self::coded(code, &message, retry)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal.retry {
            true => Self::later(refusal.into(), Duration::ZERO),
            false => Self::Refused(refusal.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_messages_gaps_ends_or_answers() {
        let item = |text: &str| Frame::read(Some(text)).unwrap().into_item();
        let message = r#"{"ch":"chat","at":"k.7","ts":1,"data":{"a":[1.0]},"event":"e","new":1}"#;
        assert!(matches!(item(message), Ok(Some(Item::Message(_)))));
        let null = r#"{"ch":"chat","at":"k.7","ts":1,"data":null}"#;
        assert!(matches!(item(null), Ok(Some(Item::Message(message))) if message.data.is_some()));
        let gap = r#"{"ch":"chat","gap":{"after":"k.1","next":"k.6","why":"slow"}}"#;
        assert!(matches!(item(gap), Ok(Some(Item::Gap(_)))));
        let end = r#"{"ch":"chat","at":"k.8","end":true}"#;
        assert!(matches!(item(end), Ok(Some(Item::End(_)))));
        assert!(matches!(item(r#"{"id":1,"ok":{"at":"k.7","missed":2}}"#), Ok(None)));
        let join = item(r#"{"ch":"chat","join":{"id":"ann","since":1}}"#);
        assert!(matches!(join, Ok(Some(Item::Join(change))) if change.member.id == "ann"));
        let leave = item(r#"{"ch":"chat","leave":{"id":"ann","since":1}}"#);
        assert!(matches!(leave, Ok(Some(Item::Leave(_)))));
        let members = r#"{"ch":"chat","presence":{"count":2,"members":[{"id":"a","since":1}]}}"#;
        assert!(matches!(item(members), Ok(Some(Item::Members(members))) if members.count == 2));
        assert!(item(r#"{"ch":"chat","at":"k.7"}"#).is_err());
        for wrong in ["", "[]", "7", r#"{"at":"nowhere"}"#, r#"{"at":"k.1","ts":1,"b64":"#] {
            assert!(Frame::read(Some(wrong)).is_err(), "{wrong}");
        }
        assert!(Frame::read(None).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_frame_or_an_error(
            text in "(\\{|\\}|\\[|\\]|,|:|\"|\"at\":|\"k.1\"|\"gap\":|\"end\":true|\"b64\":|\"ts\":1|null|\\\\|u|ä){0,30}",
        ) {
            if let Ok(frame) = Frame::read(Some(&text)) {
                let _ = frame.into_item();
            }
        }
    }
}
