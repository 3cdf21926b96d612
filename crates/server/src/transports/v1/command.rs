//! Commands of clients: one as JSON in each text frame.

use std::borrow::Cow;
use std::fmt::Display;

use serde::Deserialize;
use serde_json::value::RawValue;
use sockeye_hub::{ChannelName, EventName, Json, Start};

use crate::http::problem::{Code, Problem};
use crate::http::query;
use crate::tap::event::Data;
use crate::transports::publication::{MAX_DEPTH, Payload, even_null, named, string};

/// The longest `id`, in bytes of JSON: it is repeated in the answer.
const MAX_ID: usize = 64;

/// A well-formed command: whether it can be carried out is another question.
#[derive(Debug)]
pub struct Command<'a> {
    pub(super) id: Option<Id<'a>>,
    pub(super) op: Op<'a>,
}

/// The operation of a command.
#[derive(Debug)]
pub(super) enum Op<'a> {
    Authenticate {
        token: Cow<'a, str>,
    },
    /// An operation on a channel, which on `/c/{channel}` need not be named.
    Channel(Option<ChannelName>, ChannelOp<'a>),
    Ping,
}

/// An operation on a channel.
#[derive(Debug)]
pub(super) enum ChannelOp<'a> {
    Publish {
        payload: Payload<'a>,
        event: Option<EventName>,
        key: Option<Cow<'a, str>>,
    },
    Close,
    Read {
        start: Option<Start>,
        limit: usize,
    },
    Subscribe {
        start: Start,
        presence: bool,
    },
    Unsubscribe,
    /// `after` is the id of a member.
    Who {
        after: Option<Cow<'a, str>>,
        limit: usize,
    },
}

/// A command's `id`, as it came: a string or a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Id<'a>(pub(super) &'a str);

/// A frame that is not a command, with its `id` as far as there is one.
#[derive(Debug)]
pub struct Mistake<'a> {
    pub(super) id: Option<Id<'a>>,
    pub(super) problem: Problem,
}

/// The members that a command may have; others are ignored, duplicates are refused. Each is parsed by
/// itself, so that an invalid one does not hide the `id`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Members<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    op: Option<&'a RawValue>,
    ch: Option<&'a RawValue>,
    after: Option<&'a RawValue>,
    limit: Option<&'a RawValue>,
    presence: Option<&'a RawValue>,
    #[serde(deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
    b64: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    key: Option<&'a RawValue>,
    token: Option<&'a RawValue>,
}

impl<'a> Command<'a> {
    /// Whether it publishes a message.
    pub(super) fn is_publication(&self) -> bool {
        matches!(self.op, Op::Channel(_, ChannelOp::Publish { .. }))
    }

    /// Parses a text frame.
    ///
    /// # Errors
    ///
    /// [`Mistake`] when it is not JSON, not a command, or has an invalid member.
    pub fn parse(frame: &'a str) -> Result<Self, Mistake<'a>> {
        if let Err(wrong) = Json::parse_within(frame, MAX_DEPTH) {
            // A frame that is JSON and only exceeds a limit still has its `id`.
            let id = Members::parse(frame).ok().and_then(|members| members.id().ok().flatten());
            return Err(Mistake { id, problem: bad_json(wrong) });
        }
        let members = Members::parse(frame).map_err(|problem| Mistake { id: None, problem })?;
        let id = members.id().map_err(|problem| Mistake { id: None, problem })?;
        members.command(id).map_err(|problem| Mistake { id, problem })
    }
}

impl<'a> Members<'a> {
    fn parse(frame: &'a str) -> Result<Self, Problem> {
        // Serde would take an array for an object whose members have no names.
        if !frame.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            return Err(bad_json("expected `{`"));
        }
        serde_json::from_str(frame).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => bad_request(error),
            _ => bad_json(error),
        })
    }

    fn id(&self) -> Result<Option<Id<'a>>, Problem> {
        let Some(json) = self.id.map(RawValue::get) else { return Ok(None) };
        let is_scalar =
            json.starts_with(['"', '-']) || json.starts_with(|c: char| c.is_ascii_digit());
        if !is_scalar || json.len() > MAX_ID {
            return Err(bad_request(format_args!(
                "`id` is a number or a string, of at most {MAX_ID} bytes."
            )));
        }
        Json::parse(json).map_err(bad_json)?;
        Ok(Some(Id(json)))
    }

    fn command(&self, id: Option<Id<'a>>) -> Result<Command<'a>, Problem> {
        let Some(op) = string("op", self.op)? else { return Err(bad_request("Say which `op`.")) };
        let channel_op = match &*op {
            "auth" => return self.authenticate(id),
            "ping" => return Ok(Command { id, op: Op::Ping }),
            "pub" => ChannelOp::Publish {
                payload: Payload::of(self.data, self.b64)?,
                event: named("event", self.event, Code::BadEvent)?,
                key: string("key", self.key)?,
            },
            "close" => ChannelOp::Close,
            "read" => ChannelOp::Read { start: self.after()?, limit: self.limit()? },
            "sub" => ChannelOp::Subscribe {
                start: self.after()?.unwrap_or(Start::Now),
                presence: self.presence()?,
            },
            "unsub" => ChannelOp::Unsubscribe,
            "who" => ChannelOp::Who { after: string("after", self.after)?, limit: self.limit()? },
            _ => return Err(bad_request("Unknown `op`.")),
        };
        let channel = named("ch", self.ch, Code::BadChannel)?;
        Ok(Command { id, op: Op::Channel(channel, channel_op) })
    }

    fn authenticate(&self, id: Option<Id<'a>>) -> Result<Command<'a>, Problem> {
        let token = string("token", self.token)?.ok_or_else(|| bad_request("Give the `token`."))?;
        Ok(Command { id, op: Op::Authenticate { token } })
    }

    fn after(&self) -> Result<Option<Start>, Problem> {
        query::position_of(string("after", self.after)?.as_deref())
    }

    fn presence(&self) -> Result<bool, Problem> {
        match self.presence.map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(bad_request("`presence` is true or false.")),
        }
    }

    fn limit(&self) -> Result<usize, Problem> {
        query::limit_of(self.limit.map(RawValue::get))
    }
}

/// What taps show of a frame: no token, and nothing of what is not a command, since one may be anywhere in it.
pub(super) fn shown(frame: &str) -> Data<'_> {
    match (Command::parse(frame), Members::parse(frame)) {
        (Ok(_), Ok(Members { token: Some(token), .. })) => {
            without(frame, token.get()).unwrap_or(Data::Hidden(frame.len()))
        }
        (Ok(_), Ok(_)) => Data::Json(frame),
        _ => Data::Hidden(frame.len()),
    }
}

/// The frame without the token, which is a piece of it; `None` if there is the same elsewhere in it, too. The piece is
/// left out at its place: the same bytes elsewhere need not be a value, such as `","`.
fn without<'a>(frame: &'a str, token: &'a str) -> Option<Data<'a>> {
    let at = token.as_ptr().addr().checked_sub(frame.as_ptr().addr())?;
    let (before, after) = (frame.get(..at)?, frame.get(at + token.len()..)?);
    let is_text = token.starts_with('"');
    let is_once = !before.contains(token) && !after.contains(token);
    (is_text && is_once).then_some(Data::Secret { size: frame.len(), before, after })
}

fn bad_json(wrong: impl Display) -> Problem {
    Problem::new(Code::BadJson, format_args!("The frame is not acceptable JSON: {wrong}."))
}

fn bad_request(detail: impl Display) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// JSON of every kind, written with spaces here and there.
    fn json_text() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|bool| bool.to_string()),
            "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,9})?([eE][-+]?[0-9]{1,3})?",
            any::<String>().prop_map(|text| json!(text).to_string()),
        ];
        scalar.prop_recursive(6, 40, 5, |value| {
            let members = prop::collection::vec(("[a-z]{0,3}", value.clone()), 0..5);
            prop_oneof![
                prop::collection::vec(value, 0..5)
                    .prop_map(|list| format!("[{}]", list.join(" ,"))),
                members.prop_map(|members| {
                    let pair = |(name, value): &(String, String)| format!("\"{name}\" :\n{value}");
                    let pairs: Vec<_> = members.iter().map(pair).collect();
                    format!("{{{}}}", pairs.join(","))
                }),
            ]
        })
    }

    #[test]
    fn a_token_is_left_out_at_its_place_and_nothing_else_is() {
        for (token, shown_id) in [("\"ey.J\"", Some(11)), ("1", None), ("\",\"", None)] {
            let frame =
                format!("{{\"op\":\"ping\",\"token\":{token},\"id\":11,\"a\":\"x\",\"b\":\"y\"}}");
            let line = crate::tap::event::received("command", shown(&frame), 1000);
            let line: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(line["in"]["data"]["id"].as_u64(), shown_id, "{line}");
            assert_eq!(line["in"]["size"], frame.len());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_command_or_a_mistake_that_can_be_told(text in "\\PC*|[\\[\\]{}:,\"a-z0-9\\\\. ]{0,80}") {
            if let Err(mistake) = Command::parse(&text) {
                let told: Value = serde_json::from_str(&mistake.frame()).unwrap();
                prop_assert!(told["err"]["code"].is_string());
            }
        }

        #[test]
        fn json_is_published_byte_for_byte(data in json_text()) {
            let frame = format!("{{\"data\": {data} ,\"op\":\"pub\",\"id\":5}}");
            let command = Command::parse(&frame).unwrap();
            let Op::Channel(None, ChannelOp::Publish { payload, .. }) = &command.op else {
                panic!("{command:?}")
            };
            match payload {
                Payload::Json(json) => prop_assert_eq!(json.as_str(), data),
                Payload::Text(text) => prop_assert_eq!(json!(text), serde_json::from_str::<Value>(&data).unwrap()),
                Payload::Bytes(_) => panic!("{command:?}"),
            }
        }

        #[test]
        fn no_tap_shows_a_token(token in "[a-z]{12,20}", other in json_text(), wrong in any::<bool>()) {
            let op = if wrong { "authenticate" } else { "auth" };
            let frame = format!("{{\"token\":\"{token}\",\"op\":\"{op}\",\"other\":{other}}}");
            for max in [10, 1000] {
                let line = crate::tap::event::received("command", shown(&frame), max);
                prop_assert!(!line.contains(&token), "{line}");
                prop_assert!(Json::parse_within(&line, Json::MAX_DEPTH + 2).is_ok(), "{line}");
            }
        }

        /// Clients choose what is in the place of a token.
        #[test]
        fn whatever_a_token_is_a_tap_shows_json(token in json_text(), other in json_text(), op in "ping|auth|unsub") {
            let frame = format!("{{\"op\":\"{op}\",\"ch\":\"c\",\"token\":{token},\"id\":11,\"other\":{other}}}");
            let line = crate::tap::event::received("command", shown(&frame), 1000);
            prop_assert!(Json::parse_within(&line, Json::MAX_DEPTH + 2).is_ok(), "{line}");
        }

        #[test]
        fn a_wrong_member_does_not_hide_the_id(
            member in prop::sample::select(vec!["ch", "after", "limit", "b64", "event", "op", "presence"]),
            value in json_text(),
            id in prop_oneof!["-?[1-9][0-9]{0,9}", "\"[a-z]{0,20}\""],
        ) {
            let frame = format!("{{\"{member}\":{value},\"id\":{id}}}");
            let mistake = Command::parse(&frame).expect_err("at least the op is missing, or wrong");
            prop_assert_eq!(mistake.id.map(|Id(id)| id), Some(&*id));
        }
    }
}
