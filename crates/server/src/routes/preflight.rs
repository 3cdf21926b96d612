//! Preflights: a browser asks whether a page may send a request (WHATWG Fetch §3.3).

use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};

use crate::routes::channel;

/// Request headers that the server uses.
const KNOWN: [&str; 7] = [
    "authorization",
    "content-type",
    "idempotency-key",
    "if-none-match",
    "last-event-id",
    "prefer",
    "sockeye-event",
];
/// Request headers that no page can set (WHATWG Fetch §2.2.2), beside those that begin with `proxy-` or
/// `sec-`.
const FORBIDDEN: [&str; 22] = [
    "accept-charset",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// How many other headers a page may send. Libraries add two or three of their own.
const MAX_OTHERS: usize = 32;
/// How many seconds a browser may cache the response.
const REMEMBER: &str = "600";

/// Whether the request is a preflight.
pub(crate) fn is_one<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The response to a page that may use the server. The page may send any header it asks for: the server
/// ignores unknown ones.
pub(crate) fn answer(headers: &HeaderMap) -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, channel::METHODS.to_owned()),
        (ACCESS_CONTROL_ALLOW_HEADERS, may_send(headers)),
        (ACCESS_CONTROL_MAX_AGE, REMEMBER.to_owned()),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// The known headers, and those that the page asks for.
fn may_send(headers: &HeaderMap) -> String {
    let lines = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let asked = lines.flat_map(|line| line.to_str()).flat_map(|line| line.split(','));
    let names = asked.filter_map(|name| name.trim().parse::<HeaderName>().ok());
    let others = names.filter(|name| !KNOWN.contains(&name.as_str()) && !is_forbidden(name));
    let mut may_send = KNOWN.join(", ");
    for name in others.take(MAX_OTHERS) {
        may_send.push_str(", ");
        may_send.push_str(name.as_str());
    }
    may_send
}

fn is_forbidden(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("proxy-") || name.starts_with("sec-") || FORBIDDEN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_send_when_asked(asked: &str) -> String {
        let value = asked.parse().unwrap();
        may_send(&HeaderMap::from_iter([(ACCESS_CONTROL_REQUEST_HEADERS, value)]))
    }

    #[test]
    fn a_page_may_send_what_means_something_here() {
        assert_eq!(may_send(&HeaderMap::new()), KNOWN.join(", "));
        assert_eq!(may_send_when_asked("content-type,prefer"), KNOWN.join(", "));
    }

    #[test]
    fn a_page_may_send_any_header_but_forbidden_ones() {
        let asked =
            "HX-Request, hx-target,x-requested-with,cookie,sec-fetch-site,proxy-x,host,,a b";
        let others = may_send_when_asked(asked);
        assert_eq!(
            others,
            format!("{}, hx-request, hx-target, x-requested-with", KNOWN.join(", "))
        );
    }

    #[test]
    fn the_number_of_headers_a_page_may_send_is_limited() {
        let asked: Vec<String> = (0..1000).map(|number| format!("x-{number}")).collect();
        let named = may_send_when_asked(&asked.join(","));
        assert_eq!(named.split(',').count(), KNOWN.len() + MAX_OTHERS);
    }
}
