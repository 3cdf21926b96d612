//! A publication as JSON: `{"ch":…,"data":…,"event":…,"key":…}`, in a command of `sockeye.v1`, a line or
//! a list.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sockeye_hub::{ChannelName, EventName, Json, PayloadRef};

use crate::http::problem::{Code, Problem};

/// The deepest nesting: an object around `data`.
pub(crate) const MAX_DEPTH: usize = Json::MAX_DEPTH + 1;

/// Base64 as browsers write it; the `=` at the end may be left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The most bytes of JSON that a publication with a payload of that many takes: a byte of it may be written
/// as six (`\u0007`), and other members surround it.
pub(crate) fn max_json(max_message: usize) -> usize {
    const MEMBERS: usize = 4096;
    max_message.saturating_mul(6).saturating_add(MEMBERS)
}

/// A payload to publish: JSON as it came, byte for byte.
#[derive(Debug)]
pub(crate) enum Payload<'a> {
    Bytes(Vec<u8>),
    Json(Json<'a>),
    Text(Cow<'a, str>),
}

/// A publication that is written well. Whether it can be taken is another question.
#[derive(Debug)]
pub(crate) struct WrittenPublication<'a> {
    pub(crate) channel: Option<ChannelName>,
    pub(crate) payload: Payload<'a>,
    pub(crate) event: Option<EventName>,
    pub(crate) key: Option<Cow<'a, str>>,
}

/// The members that one may have; others are ignored, duplicates are refused.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Members<'a> {
    #[serde(borrow)]
    ch: Option<&'a RawValue>,
    #[serde(deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
    b64: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    key: Option<&'a RawValue>,
}

/// Only in `data` does `null` count as a value.
pub(crate) fn even_null<'de, D: Deserializer<'de>>(
    json: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(json).map(Some)
}

impl<'a> WrittenPublication<'a> {
    /// Reads one object.
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, Problem> {
        let text = str::from_utf8(json).map_err(bad_json)?;
        Json::parse_within(text, MAX_DEPTH).map_err(bad_json)?;
        // Serde would take an array for an object whose members have no names.
        if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            return Err(bad_request("A message is an object: `{\"data\":…}`."));
        }
        let members: Members<'_> = serde_json::from_str(text).map_err(bad_request)?;
        Ok(Self {
            channel: named("ch", members.ch, Code::BadChannel)?,
            payload: Payload::of(members.data, members.b64)?,
            event: named("event", members.event, Code::BadEvent)?,
            key: string("key", members.key)?,
        })
    }
}

impl<'a> Payload<'a> {
    /// `data`, of which a string is text, or `b64`.
    pub(crate) fn of(
        data: Option<&'a RawValue>,
        b64: Option<&'a RawValue>,
    ) -> Result<Self, Problem> {
        match (data, string("b64", b64)?) {
            (Some(json), None) if json.get().starts_with('"') => {
                Ok(Self::Text(string("data", Some(json))?.unwrap_or_default()))
            }
            (Some(json), None) => Json::parse(json.get()).map(Self::Json).map_err(bad_json),
            (None, Some(base64)) => BASE64
                .decode(base64.as_bytes())
                .map(Self::Bytes)
                .map_err(|wrong| bad_request(format_args!("`b64` is not base64: {wrong}"))),
            _ => Err(bad_request("Give either `data` or `b64`.")),
        }
    }

    /// The payload, borrowed.
    pub(crate) fn as_ref(&self) -> PayloadRef<'_> {
        match self {
            Self::Bytes(bytes) => PayloadRef::Bytes(bytes),
            Self::Json(json) => PayloadRef::Json(*json),
            Self::Text(text) => PayloadRef::Text(text),
        }
    }
}

/// A string without its quotes and escapes.
#[derive(Deserialize)]
struct Unquoted<'a>(#[serde(borrow)] Cow<'a, str>);

/// The member of that name, which is a string.
pub(crate) fn string<'a>(
    name: &str,
    json: Option<&'a RawValue>,
) -> Result<Option<Cow<'a, str>>, Problem> {
    let unquoted = |json: &'a RawValue| serde_json::from_str::<Unquoted<'a>>(json.get());
    json.map(unquoted)
        .transpose()
        .map(|text| text.map(|Unquoted(text)| text))
        .map_err(|_| bad_request(format_args!("`{name}` is a string of Unicode characters.")))
}

/// The member of that name, a string that is parsed as a name.
pub(crate) fn named<T>(
    name: &str,
    json: Option<&RawValue>,
    code: Code,
) -> Result<Option<T>, Problem>
where
    T: FromStr<Err: Display>,
{
    let text = string(name, json)?;
    text.map(|text| text.parse().map_err(|wrong| Problem::new(code, wrong))).transpose()
}

fn bad_json(wrong: impl Display) -> Problem {
    Problem::new(Code::BadJson, format_args!("That is not acceptable JSON: {wrong}."))
}

fn bad_request(detail: impl Display) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_publication_or_a_problem(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[\\[\\]{}:,\"a-z0-9\\\\. ]{0,80}".prop_map(String::into_bytes),
                "\\{\"(data|b64|ch|event|key)\":[\"0-9a-z\\[\\]{}]{0,20}\\}".prop_map(String::into_bytes),
            ],
        ) {
            if let Err(problem) = WrittenPublication::parse(&bytes) {
                prop_assert!(!problem.detail().is_empty());
            }
        }

        #[test]
        fn json_is_kept_byte_for_byte(data in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,9})?", text in "\\PC*") {
            let line = format!("{{\"data\": {data} ,\"ch\":\"a.b\",\"x\":1}}");
            let written = WrittenPublication::parse(line.as_bytes()).unwrap();
            prop_assert!(matches!(written.payload, Payload::Json(json) if json.as_str() == data));
            let line = serde_json::json!({"data": text, "key": text}).to_string();
            let written = WrittenPublication::parse(line.as_bytes()).unwrap();
            prop_assert!(matches!(&written.payload, Payload::Text(read) if *read == text));
            prop_assert_eq!(written.key.as_deref(), Some(&*text));
        }
    }
}
