//! Content negotiation: `Accept` and `Accept-Encoding` (RFC 9110 §12.5.1, §12.5.3).

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING};

/// The offer that the client prefers; of equal ones one that is named before one that a wildcard
/// covers, and then the earlier; `None` when it accepts none of them. Offers are full types such as
/// `application/json`.
pub(crate) fn preferred<'o>(headers: &HeaderMap, offers: &[&'o str]) -> Option<&'o str> {
    let lines: Vec<&str> = headers.get_all(ACCEPT).iter().flat_map(|line| line.to_str()).collect();
    if lines.is_empty() {
        return offers.first().copied();
    }
    let mut best = None;
    let mut best_liking = (0, 0);
    for offer in offers {
        let ranges = lines.iter().flat_map(|line| line.split(','));
        let liking = liking_of(offer, ranges);
        if liking.0 > 0 && liking > best_liking {
            (best, best_liking) = (Some(*offer), liking);
        }
    }
    best
}

/// The offered coding that the client prefers, the earlier of equal ones; `None`, which is no coding,
/// when it names none of them or prefers that.
pub(crate) fn coding<'o>(headers: &HeaderMap, offers: &[&'o str]) -> Option<&'o str> {
    let lines = || headers.get_all(ACCEPT_ENCODING).iter().flat_map(|line| line.to_str());
    let weight_of = |coding: &str| {
        lines().flat_map(|line| line.split(',')).find_map(|named| {
            let mut parts = named.split(';').map(str::trim);
            let is_it = parts.next()?.eq_ignore_ascii_case(coding);
            is_it.then(|| parts.find_map(weight).unwrap_or(1000))
        })
    };
    let liking = |coding| weight_of(coding).or_else(|| weight_of("*")).unwrap_or(0);
    let best = offers.iter().rev().max_by_key(|offer| liking(offer))?;
    (liking(best) > weight_of("identity").unwrap_or(0)).then_some(best)
}

/// The weight of the most specific range that covers `offer`, in thousandths, and how specific that is.
fn liking_of<'r>(offer: &str, ranges: impl Iterator<Item = &'r str>) -> (u16, u8) {
    let mut found = (0, 0);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let specificity = match parts.next() {
            Some("*/*") => 1,
            Some(kind) if is_wildcard_of(kind, offer) => 2,
            Some(exact) if exact.eq_ignore_ascii_case(offer) => 3,
            _ => continue,
        };
        if specificity > found.0 {
            found = (specificity, parts.find_map(weight).unwrap_or(1000));
        }
    }
    (found.1, found.0)
}

/// Whether `kind` is `application/*` where `offer` is `application/json`.
fn is_wildcard_of(kind: &str, offer: &str) -> bool {
    match (kind.strip_suffix("/*"), offer.split_once('/')) {
        (Some(kind), Some((main, _))) => kind.eq_ignore_ascii_case(main),
        _ => false,
    }
}

/// `q=0.5` in thousandths; what is not a number counts as 1.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let value: f32 = value.trim().parse().unwrap_or(1.0);
    Some((value.clamp(0.0, 1.0) * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json";
    const EVENTS: &str = "text/event-stream";

    fn choice(accept: &str) -> Option<&'static str> {
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
        preferred(&headers, &[JSON, EVENTS])
    }

    #[test]
    fn the_client_gets_what_it_likes_best() {
        assert_eq!(preferred(&HeaderMap::new(), &[JSON, EVENTS]), Some(JSON));
        assert_eq!(choice("*/*"), Some(JSON));
        assert_eq!(choice("text/html,application/xml;q=0.9,*/*;q=0.8"), Some(JSON));
        assert_eq!(choice("text/event-stream"), Some(EVENTS));
        assert_eq!(choice("Text/*"), Some(EVENTS));
        assert_eq!(choice("application/json;q=0.2, text/event-stream;q=0.9"), Some(EVENTS));
        assert_eq!(choice("*/*, application/json;q=0"), Some(EVENTS));
        assert_eq!(choice("*/*, text/event-stream"), Some(EVENTS));
        assert_eq!(choice("text/event-stream, application/json"), Some(JSON));
        assert_eq!(choice("image/png"), None);
        assert_eq!(choice(""), None);
        assert_eq!(choice("application/json; q=NaN"), None);
    }

    #[test]
    fn the_client_gets_a_coding_that_it_names_and_likes() {
        let offers = ["br", "gzip"];
        assert_eq!(coding(&HeaderMap::new(), &offers), None);
        for (accept, chosen) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip, deflate", Some("gzip")),
            ("GZIP", Some("gzip")),
            ("br;q=0.5, gzip", Some("gzip")),
            ("br;q=0, gzip;q=0.1", Some("gzip")),
            ("*", Some("br")),
            ("*, br;q=0", Some("gzip")),
            ("gzip;q=0.5, identity", None),
            ("identity", None),
            ("gzip;q=0", None),
            ("x-gzip, deflate", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, accept.parse().unwrap())]);
            assert_eq!(coding(&headers, &offers), chosen, "{accept:?}");
        }
    }
}
