//! The media type of a body by its `Content-Type` (RFC 9110 §8.3): JSON, text, or bytes.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// How a publication is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`, and every type that is written in JSON (RFC 6839 §3.1: `+json`).
    Json,
    /// A type whose bodies are text.
    Text,
    /// No type: text where the body is UTF-8.
    Unknown,
    /// Any other type.
    Bytes,
}

/// A charset that is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherCharset(pub(crate) String);

/// Types beyond `text/*` whose bodies are text. curl sends everything as a form, and real forms are not
/// posted to channels.
const TEXTUAL: [&str; 13] = [
    "application/ecmascript",
    "application/graphql",
    "application/javascript",
    "application/jsonl",
    "application/sql",
    "application/toml",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-www-form-urlencoded",
    "application/x-yaml",
    "application/xml",
    "application/xml-dtd",
    "application/yaml",
];

/// Structured syntaxes that are text (RFC 6839, RFC 9512).
const TEXTUAL_SUFFIXES: [&str; 2] = ["+xml", "+yaml"];

impl Media {
    /// The media type of the body by its headers.
    ///
    /// # Errors
    ///
    /// [`OtherCharset`] where the body is JSON or text in a charset other than UTF-8.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, OtherCharset> {
        let value = headers.get(CONTENT_TYPE).map_or(Some(""), |value| value.to_str().ok());
        // A type that is not ASCII is unknown.
        let Some(value) = value else { return Ok(Self::Bytes) };
        let (_, parameters) = value.split_once(';').unwrap_or((value, ""));
        let media = Self::of_essence(&essence(value));
        match charset(parameters) {
            Some(charset) if media != Self::Bytes && !is_utf8(&charset) => {
                Err(OtherCharset(charset))
            }
            _ => Ok(media),
        }
    }

    fn of_essence(essence: &str) -> Self {
        match essence {
            "" => Self::Unknown,
            "application/json" => Self::Json,
            json if json.starts_with("application/") && json.ends_with("+json") => Self::Json,
            text if text.starts_with("text/")
                || TEXTUAL.contains(&text)
                || TEXTUAL_SUFFIXES.iter().any(|suffix| text.ends_with(suffix)) =>
            {
                Self::Text
            }
            _ => Self::Bytes,
        }
    }
}

/// Whether the type of a body is this one, whatever its parameters.
pub(crate) fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| essence(value) == media_type)
}

/// A type without its parameters, in lower case.
fn essence(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// US-ASCII is a part of UTF-8.
fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}

/// The first `charset` among the parameters, whose values may be quoted and then hold anything
/// (RFC 9110 §5.6.6).
fn charset(mut parameters: &str) -> Option<String> {
    while !parameters.is_empty() {
        let (name, rest) = parameters.split_once('=')?;
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted),
            None => {
                let (value, rest) = rest.split_once(';').unwrap_or((rest, ""));
                (value.trim().to_owned(), rest)
            }
        };
        // A parameter without a value may precede the name.
        let name = name.rsplit(';').next().unwrap_or(name);
        if name.trim().eq_ignore_ascii_case("charset") {
            return Some(value);
        }
        parameters = rest;
    }
    None
}

/// The text before the closing quote, without its escapes, and what follows the quote.
fn quoted_string(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn media(content_type: &str) -> Result<Media, OtherCharset> {
        Media::of(&HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]))
    }

    #[test]
    fn a_type_says_what_the_body_is() {
        assert_eq!(Media::of(&HeaderMap::new()), Ok(Media::Unknown));
        for (content_type, expected) in [
            ("", Media::Unknown),
            ("application/json", Media::Json),
            ("Application/JSON; charset=\"UTF-8\"", Media::Json),
            ("application/cloudevents+json", Media::Json),
            ("application/vnd.api+json;ext=\"a;charset=x\"", Media::Json),
            ("text/plain", Media::Text),
            ("text/plain;charset=us-ascii", Media::Text),
            ("application/xml", Media::Text),
            ("application/soap+xml; charset=utf-8", Media::Text),
            ("image/svg+xml", Media::Text),
            ("application/x-www-form-urlencoded", Media::Text),
            ("application/yaml", Media::Text),
            ("application/octet-stream", Media::Bytes),
            ("application/octet-stream; charset=latin1", Media::Bytes),
            ("image/png", Media::Bytes),
            ("multipart/form-data; boundary=x", Media::Bytes),
            ("json", Media::Bytes),
        ] {
            assert_eq!(media(content_type), Ok(expected), "{content_type}");
        }
    }

    #[test]
    fn a_charset_other_than_utf_8_is_told() {
        for (content_type, charset) in [
            ("text/plain; charset=iso-8859-1", "iso-8859-1"),
            ("text/plain; Charset=\"UTF-16\"", "UTF-16"),
            ("application/json;charset=utf-16le", "utf-16le"),
            ("text/plain; format=flowed; a=\"b;\\\"c\"; charset=koi8-r; x", "koi8-r"),
            ("text/plain; flowed; charset=koi8-r", "koi8-r"),
        ] {
            assert_eq!(
                media(content_type),
                Err(OtherCharset(charset.to_owned())),
                "{content_type}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_header_has_an_answer(value in "[ -~]{0,60}|text/plain;[ -~]{0,40}") {
            let _ = media(&value);
        }
    }
}
