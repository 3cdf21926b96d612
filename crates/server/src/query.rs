//! What may stand behind the `?` of a channel's URL.

use std::fmt::Display;
use std::str::FromStr;

use http::Uri;
use sockeye_hub::Start;
use url::form_urlencoded;

use crate::problem::{Code, Problem};

/// Messages in one poll when `limit` does not say.
const DEFAULT_LIMIT: usize = 100;
/// Messages in one poll at most.
const MAX_LIMIT: usize = 1000;

/// `?after=`: where reading starts.
pub(crate) fn after(uri: &Uri) -> Result<Option<Start>, Problem> {
    parameter(uri, "after")?
        .map(|text| {
            text.parse().map_err(|_| {
                Problem::new(
                    Code::BadPosition,
                    "`after` takes a position such as k3f9.1187, `earliest`, `now`, `-50` (the \
                     last fifty) or `10m` (the last ten minutes).",
                )
            })
        })
        .transpose()
}

/// `?limit=`: messages in one answer, 1 to 1000.
pub(crate) fn limit(uri: &Uri) -> Result<usize, Problem> {
    let Some(text) = parameter(uri, "limit")? else { return Ok(DEFAULT_LIMIT) };
    parsed(&text)
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| bad_request(format_args!("`limit` is a number from 1 to {MAX_LIMIT}.")))
}

/// The parameter's value, decoded. One that is given twice is refused: nobody can say which one
/// is meant.
pub(crate) fn parameter(uri: &Uri, name: &str) -> Result<Option<String>, Problem> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut values = pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(bad_request(format_args!("Give `{name}` once."))),
    }
}

/// A number in digits only; `+5`, which `parse` takes, is none.
fn parsed<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn bad_request(detail: impl Display) -> Problem {
    Problem::new(Code::BadRequest, detail)
}
