//! The check of `Origin`: a browser lets any page open a WebSocket to any server, with the user's cookies,
//! and names the page's origin in this header only (RFC 6455 §10.2).

use http::{
    StatusCode,
    header::{HOST, ORIGIN},
};
use sockeye_proto::handshake::{Refusal, RequestHead};
use url::Url;

pub use self::pattern::{BadOrigin, Origin, OriginPattern, is_opaque};
use super::text;

mod pattern;

/// Which origins a server accepts. Programs other than browsers send none, and are not concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// Pages that came from the same host and port as the request goes to. The default.
    #[default]
    SameHost,
    /// Pages of the same host, and of these origins, such as `https://app.example.org` or
    /// `https://*.example.org`.
    Listed(Vec<OriginPattern>),
    /// Pages of any origin. Dangerous where cookies, or the network that the server is in, decide what a
    /// client may do: every page that a user visits can then act for the user.
    Any,
}

impl Origins {
    /// Refuses a page that may not connect with 403. A request without `Origin` is not a page's.
    pub(crate) fn check(&self, page: Option<&Page>) -> Result<(), Refusal> {
        let Some(page) = page else { return Ok(()) };
        let allowed = match self {
            Self::Any => true,
            Self::SameHost => page.same_host,
            Self::Listed(origins) => {
                let is_listed = |sent: &str| origins.iter().any(|listed| listed.matches(sent));
                page.same_host || page.origin.as_deref().is_some_and(is_listed)
            }
        };
        if allowed {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, "pages of this origin may not connect here"))
    }
}

/// The page that a request comes from: there is one if the request has an `Origin`.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// `None` if the header occurs twice or is not text: it then matches no allowed origin.
    origin: Option<Box<str>>,
    same_host: bool,
}

impl Page {
    #[cfg(any(test, feature = "upgrade", all(feature = "http2", feature = "tls")))]
    pub(crate) fn of<B>(request: &http::Request<B>) -> Option<Self> {
        let values =
            |name| request.headers().get_all(name).into_iter().map(|value| value.as_bytes());
        let authority = request.uri().authority().map(|authority| authority.as_str());
        Self::new(values(ORIGIN), authority, values(HOST))
    }

    pub(crate) fn of_head(head: &RequestHead) -> Option<Self> {
        Self::new(head.values(&ORIGIN), head.authority(), head.values(&HOST))
    }

    /// With the values of `Origin` and of `Host`, and the authority that the request goes to.
    fn new<'a>(
        mut origins: impl Iterator<Item = &'a [u8]>,
        authority: Option<&str>,
        mut hosts: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let first = origins.next()?;
        let origin = text(first).filter(|_| origins.next().is_none()).map(Box::from);
        // An absolute target overrules `Host` (RFC 9112 §3.2.2), and HTTP/2 has nothing else.
        let host = authority.or_else(|| hosts.next().and_then(text));
        let same_host = match (&origin, host) {
            (Some(origin), Some(host)) => is_same_host(origin, host),
            _ => false,
        };
        Some(Self { origin, same_host })
    }
}

/// Whether the origin's host and port are those that the request goes to. The schemes cannot be
/// compared: a proxy in front may have taken the TLS off.
fn is_same_host(origin: &str, host: &str) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    let url::Origin::Tuple(scheme, ..) = url.origin() else { return false };
    Url::parse(&format!("{scheme}://{host}")).is_ok_and(|own| own.origin() == url.origin())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn allows(origins: &Origins, origin: &str, host: &str) -> bool {
        let request = Request::builder().header(ORIGIN, origin).header(HOST, host);
        is_allowed(origins, &request.body(()).unwrap())
    }

    fn is_allowed(origins: &Origins, request: &Request<()>) -> bool {
        origins.check(Page::of(request).as_ref()).is_ok()
    }

    /// Rule: WS2.
    #[test]
    fn only_pages_of_the_same_host_and_port_may_connect_by_default() {
        let same_host = Origins::default();
        assert!(allows(&same_host, "http://example.org", "example.org"));
        assert!(allows(&same_host, "https://example.org", "example.org:443"));
        assert!(allows(&same_host, "http://Example.org:8080", "example.org:8080"));
        for foreign in ["http://evil.org", "http://example.org:81", "http://example.org.evil.org"] {
            assert!(!allows(&same_host, foreign, "example.org"), "{foreign}");
        }
        for odd in ["null", "", "file://", "example.org", "http://", "data:,x"] {
            assert!(!allows(&same_host, odd, "example.org"), "{odd}");
        }
    }

    /// Rule: H7.
    #[test]
    fn over_http_2_the_authority_is_the_host() {
        for (origin, allowed) in [("https://example.org:8080", true), ("https://evil.org", false)] {
            let request = Request::connect("https://example.org:8080/chat")
                .version(http::Version::HTTP_2)
                .header(HOST, "evil.org")
                .header(ORIGIN, origin)
                .body(())
                .unwrap();
            let page = Page::of(&request);
            assert_eq!(Origins::SameHost.check(page.as_ref()).is_ok(), allowed, "{origin}");
        }
    }

    /// Rule: WS2.
    #[test]
    fn listed_origins_and_no_others_may_connect() {
        let listed = Origins::Listed(vec!["https://app.example.org".parse().unwrap()]);
        assert!(allows(&listed, "https://app.example.org", "api.example.org"));
        assert!(allows(&listed, "https://api.example.org", "api.example.org"));
        for foreign in ["http://app.example.org", "https://app.example.org:444", "null"] {
            assert!(!allows(&listed, foreign, "api.example.org"), "{foreign}");
        }
        let patterns = ["https://*.example.org", "tauri://localhost", "null"];
        let listed = Origins::Listed(patterns.map(|text| text.parse().unwrap()).to_vec());
        for allowed in ["https://app.example.org", "tauri://localhost", "null"] {
            assert!(allows(&listed, allowed, "api.example.net"), "{allowed}");
        }
        assert!(!allows(&listed, "https://example.org", "api.example.net"));
    }

    /// Rule: WS1.
    #[test]
    fn a_request_without_an_origin_is_no_page() {
        let request = Request::builder().header(HOST, "example.org").body(()).unwrap();
        assert!(is_allowed(&Origins::default(), &request));
    }

    /// Rule: WS2.
    #[test]
    fn two_origins_are_not_an_origin() {
        let own = "http://example.org";
        let request = Request::builder().header(ORIGIN, own).header(ORIGIN, own);
        let request = request.header(HOST, "example.org").body(()).unwrap();
        assert!(!is_allowed(&Origins::SameHost, &request));
        assert!(!is_allowed(&Origins::Listed(vec![own.parse().unwrap()]), &request));
    }

    /// Rule: WS2.
    #[test]
    fn the_host_of_an_absolute_target_counts_and_not_the_host_header() {
        let request = Request::builder().uri("http://example.org/").header(HOST, "evil.org");
        let request = request.header(ORIGIN, "http://evil.org").body(()).unwrap();
        assert!(!is_allowed(&Origins::default(), &request));
        let request = Request::builder().uri("http://example.org/");
        let request = request.header(ORIGIN, "http://example.org").body(()).unwrap();
        assert!(is_allowed(&Origins::default(), &request));
    }
}
