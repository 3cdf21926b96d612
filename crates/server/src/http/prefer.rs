//! Preferences of the client: `Prefer` (RFC 7240).

use http::{HeaderMap, HeaderName};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// `wait`: how many seconds the client would wait for a response. The first one counts, and what is not
/// a number is ignored (RFC 7240 §2).
pub(crate) fn wait(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all(PREFER).iter().flat_map(|line| line.to_str());
    let preferences = lines.flat_map(|line| line.split(','));
    let value = preferences.filter_map(wait_in).next()?;
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than fit are a very long wait.
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

/// The value of `wait=25` or `wait="25"; parameter=x`.
fn wait_in(preference: &str) -> Option<&str> {
    let preference = preference.split(';').next()?;
    let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
    let is_wait = name.trim().eq_ignore_ascii_case("wait");
    is_wait.then(|| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_found_among_other_preferences() {
        let cases = [
            ("wait=25", Some(25)),
            ("Wait = 25", Some(25)),
            ("wait=\"25\"", Some(25)),
            ("respond-async, wait=100;x=y, wait=7", Some(100)),
            ("wait=99999999999999999999", Some(u64::MAX)),
            ("respond-async", None),
            ("wait", None),
            ("wait=", None),
            ("wait=soon", None),
            ("wait=-1", None),
            ("wait=+1", None),
            ("waiting=1", None),
        ];
        for (line, expected) in cases {
            let headers = HeaderMap::from_iter([(PREFER, line.parse().unwrap())]);
            assert_eq!(wait(&headers), expected, "{line}");
        }
        assert_eq!(wait(&HeaderMap::new()), None);
    }
}
