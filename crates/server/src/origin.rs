//! Which pages may use the server: the `Origin` and `Host` rules, the same for every transport.
//!
//! A browser lets any page send a request anywhere, so a server that has no tokens must look at
//! who asks. Two things are checked. `Origin`, so that no foreign page reads or writes. And, where
//! nothing but the loopback address protects the server, `Host`: a page may rebind its own name to
//! 127.0.0.1, and then its origin *is* the request's host, but that host is no loopback name.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request};

use crate::headers::single;
use crate::problem::{Code, Problem};

/// A web origin: scheme, host and port, compared exactly (RFC 6454 §4).
///
/// Written as a browser sends it: `https://example.com`, `http://localhost:5173`. A default port
/// may be written or left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scheme {
    Http,
    Https,
}

/// The text is not an origin: `scheme://host[:port]` with `http` or `https` and nothing after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin: write it as https://example.com or http://localhost:5173")]
pub struct BadOrigin(String);

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin(text.to_owned());
        let (scheme, authority) = text.split_once("://").ok_or_else(bad)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(bad()),
        };
        Self::new(scheme, authority).ok_or_else(bad)
    }
}

impl Origin {
    /// `None` when `authority` is not a host with, perhaps, a port.
    fn new(scheme: Scheme, authority: &str) -> Option<Self> {
        if authority.contains('@') {
            return None;
        }
        let authority: Authority = authority.parse().ok()?;
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str()[host.len()..].strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None => scheme.default_port(),
        };
        (!host.is_empty()).then_some(Self { scheme, host, port })
    }

    /// Whether the host can only be this machine: `localhost` and names under it (RFC 6761
    /// §6.3), `127.0.0.0/8`, `[::1]`.
    fn is_loopback(&self) -> bool {
        let host = self.host.as_str();
        if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return v6.parse().is_ok_and(|ip: Ipv6Addr| ip.is_loopback());
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        name == "localhost"
            || name.ends_with(".localhost")
            || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
    }
}

impl Scheme {
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Where a request comes from that may come, and where it thinks that it goes.
#[derive(Debug)]
pub(crate) struct Visit {
    /// The `Origin` it came with, as it came, to be named in the CORS headers of the answer.
    pub(crate) page: Option<HeaderValue>,
    /// Whether it came to a name of the server's that other machines know, over TLS.
    pub(crate) is_secure: bool,
}

/// The rule of one server: who may come.
#[derive(Clone, Debug)]
pub(crate) struct OriginRule {
    /// Origins allowed beside the server's own.
    pub(crate) allowed: Allowed,
    /// Whether any `Host` is the server's own, or loopback names only.
    pub(crate) any_host: bool,
    /// Whether its own pages come over TLS.
    pub(crate) secure: bool,
}

/// A list of origins that may change; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed(Arc<RwLock<Vec<Origin>>>);

impl Allowed {
    pub(crate) fn new(origins: Vec<Origin>) -> Self {
        Self(Arc::new(RwLock::new(origins)))
    }

    pub(crate) fn set(&self, origins: Vec<Origin>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = origins;
    }

    fn contains(&self, origin: &Origin) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(origin)
    }
}

impl OriginRule {
    /// Lets the request pass, or says why not.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<Visit, Problem> {
        let own = self.own_origin(request)?;
        let is_secure = self.secure && !own.is_loopback();
        let page = self.page(request, &own)?;
        Ok(Visit { page, is_secure })
    }

    /// The page that sent the request, if one did and may.
    fn page<B>(&self, request: &Request<B>, own: &Origin) -> Result<Option<HeaderValue>, Problem> {
        let Some(sent) = single(request.headers(), ORIGIN)? else {
            return if embeds(request.headers()) { Err(embedded()) } else { Ok(None) };
        };
        // `null` (a sandboxed frame, a file) does not parse, so it is nobody's own.
        let origin: Option<Origin> = sent.to_str().ok().and_then(|text| text.parse().ok());
        match origin {
            Some(origin) if origin == *own || self.allowed.contains(&origin) => {
                Ok(Some(sent.clone()))
            }
            Some(origin) => Err(Problem::new(
                Code::BadOrigin,
                format_args!(
                    "Pages of {origin} may not use this server: start it with --allow-origin {origin}."
                ),
            )),
            None => Err(Problem::new(
                Code::BadOrigin,
                "This page's origin is opaque or malformed, so it can not be allowed.",
            )),
        }
    }

    /// The origin the request itself was sent to.
    fn own_origin<B>(&self, request: &Request<B>) -> Result<Origin, Problem> {
        // An absolute request target overrules `Host` (RFC 9112 §3.2.2).
        let authority = match (request.uri().authority(), single(request.headers(), HOST)?) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host.to_str().map_err(|_| bad_host())?,
            (None, None) => return Err(bad_host()),
        };
        let scheme = if self.secure { Scheme::Https } else { Scheme::Http };
        let own = Origin::new(scheme, authority).ok_or_else(bad_host)?;
        if self.any_host || own.is_loopback() {
            return Ok(own);
        }
        Err(Problem::new(
            Code::BadOrigin,
            "This server answers to loopback names only (http://localhost, http://127.0.0.1): \
             start it with --auth-key or --open to give it another name.",
        ))
    }
}

/// Whether a browser says that a page of another origin has embedded this, as an image or a script,
/// where it sends no `Origin` (W3C Fetch Metadata). It would not show that page the answer
/// (`Cross-Origin-Resource-Policy`); but what the request does would be done. A link that somebody
/// follows is no such thing.
fn embeds(headers: &HeaderMap) -> bool {
    let is = |name, values: &[&str]| {
        headers.get(name).is_some_and(|value| values.iter().any(|known| value == known))
    };
    is("sec-fetch-site", &["cross-site", "same-site"]) && is("sec-fetch-mode", &["no-cors"])
}

fn embedded() -> Problem {
    let detail = "A page of another origin can not embed this: fetch it with CORS.";
    Problem::new(Code::BadOrigin, detail)
}

/// `400`: no `Host`, several, or none that is a host (RFC 9112 §3.2).
fn bad_host() -> Problem {
    Problem::new(Code::BadRequest, "Send one Host header that names this server.").and_close()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn origins_compare_by_scheme_host_and_port() {
        assert_eq!(origin("http://LocalHost"), origin("HTTP://localhost:80"));
        assert_eq!(origin("https://example.com:443").to_string(), "https://example.com");
        assert_ne!(origin("http://localhost:8080"), origin("http://localhost:8081"));
        assert_ne!(origin("http://localhost:443"), origin("https://localhost"));
        assert_ne!(origin("http://example.com"), origin("http://example.com.evil.net"));
    }

    #[test]
    fn what_is_no_origin_does_not_parse() {
        let bad = [
            "null",
            "",
            "*",
            "localhost",
            "http://",
            "http://:80",
            "file://",
            "ftp://example.com",
            "http://example.com/",
            "http://a@b",
            "http://example.com:",
            "http://example.com:99999",
            "http://example.com?x",
            "http://[::1",
            "http://two hosts",
        ];
        for text in bad {
            assert!(text.parse::<Origin>().is_err(), "{text:?} parsed");
        }
    }

    #[test]
    fn loopback_names_are_known_by_the_whole_name() {
        for host in ["localhost", "a.localhost", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(origin(&format!("http://{host}:8080")).is_loopback(), "{host}");
        }
        let others = [
            "localhost.evil.net",
            "notlocalhost",
            "127.0.0.1.evil.net",
            "128.0.0.1",
            "10.0.0.1",
            "[::2]",
            "0.0.0.0",
            "2130706433",
        ];
        for host in others {
            assert!(!origin(&format!("http://{host}:8080")).is_loopback(), "{host}");
        }
    }
}
