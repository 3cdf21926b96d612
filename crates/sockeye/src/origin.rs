//! Which pages may connect: a browser lets any page open a WebSocket to any server, with the user's
//! cookies, and only tells in `Origin` whose page it is (RFC 6455 §10.2).

use http::{
    Request, StatusCode,
    header::{HOST, ORIGIN},
};
use sockeye_proto::handshake::Refusal;
use url::{Origin, Url};

/// Which origins a server accepts. Programs other than browsers send none, and are not concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// Pages that came from the same host and port as the request goes to. The default.
    #[default]
    SameHost,
    /// Pages of the same host, and of these origins, such as `https://app.example.org`.
    Listed(Vec<String>),
    /// Pages of anybody. Dangerous where cookies, or the network that the server is in, decide what a
    /// client may do: every page that a user visits can then act for him.
    Any,
}

impl Origins {
    /// Refuses a request of a page that may not connect with 403.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
        let allowed = match self {
            Self::Any => true,
            Self::SameHost => is_same_host(request),
            Self::Listed(origins) => {
                origins.iter().any(|listed| origin == listed.as_str()) || is_same_host(request)
            }
        };
        if allowed {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, "pages of this origin may not connect here"))
    }
}

/// Whether the origin's host and port are those of the `Host` header. The schemes cannot be compared:
/// a proxy in front may have taken the TLS off.
fn is_same_host<B>(request: &Request<B>) -> bool {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(ORIGIN), text(HOST)) else { return false };
    let Ok(url) = Url::parse(origin) else { return false };
    let Origin::Tuple(scheme, ..) = url.origin() else { return false };
    Url::parse(&format!("{scheme}://{host}")).is_ok_and(|own| own.origin() == url.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(origins: &Origins, origin: &str, host: &str) -> bool {
        let request = Request::builder().header(ORIGIN, origin).header(HOST, host);
        origins.check(&request.body(()).unwrap()).is_ok()
    }

    #[test]
    fn ws2_only_pages_of_the_same_host_and_port_may_connect_by_default() {
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

    #[test]
    fn listed_origins_must_match_to_the_letter() {
        let listed = Origins::Listed(vec!["https://app.example.org".to_owned()]);
        assert!(allows(&listed, "https://app.example.org", "api.example.org"));
        assert!(allows(&listed, "https://api.example.org", "api.example.org"));
        for foreign in ["http://app.example.org", "https://app.example.org:444", "null"] {
            assert!(!allows(&listed, foreign, "api.example.org"), "{foreign}");
        }
    }
}
