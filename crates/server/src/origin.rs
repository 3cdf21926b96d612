//! Which pages may use the server: the `Origin` and `Host` rules, the same for every transport.
//!
//! A browser lets any page send a request anywhere, so a server that has no tokens must look at
//! who asks. Two things are checked. `Origin`, so that no foreign page reads or writes. And, where
//! nothing but the loopback address protects the server, `Host`: a page may rebind its own name to
//! 127.0.0.1, and then its origin *is* the request's host, but that host is no loopback name.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Request, Version};
use sockeye::OriginPattern;
use sockeye::internals::{Origin, is_opaque};

use crate::forwarded::Front;
use crate::headers::single;
use crate::problem::{Code, Problem};

/// The origins that the operator is told of: as many as a server of many pages has, and no log is flooded with.
const MAX_TOLD: usize = 100;

/// Where a request comes from that may come, and where it thinks that it goes.
#[derive(Debug)]
pub(crate) struct Visit {
    /// The page that sent it, if one did.
    pub(crate) page: Option<Page>,
    /// Whether it came to a name of the server's that other machines know, over TLS.
    pub(crate) is_secure: bool,
}

/// A page that may use the server.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its `Origin`, as it came, to be named in the CORS headers of the answer.
    pub(crate) origin: HeaderValue,
    /// Whether it may send the browser's credentials along: it is of an origin that was allowed by name.
    pub(crate) may_send_credentials: bool,
}

/// The rule of one server: who may come.
#[derive(Clone, Debug)]
pub(crate) struct OriginRule {
    /// Origins allowed beside the server's own; `None` where none can be.
    pub(crate) allowed: Option<Allowed>,
    /// Whether any `Host` is the server's own, or loopback names only.
    pub(crate) any_host: bool,
    /// Whether its own pages come over TLS.
    pub(crate) secure: bool,
}

/// A list of origins that may change; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    patterns: Arc<RwLock<Vec<OriginPattern>>>,
    /// Those that were refused, and that the operator was told of.
    told: Arc<Mutex<HashSet<String>>>,
}

impl Allowed {
    pub(crate) fn new(patterns: Vec<OriginPattern>) -> Self {
        let allowed = Self { patterns: Arc::default(), told: Arc::default() };
        allowed.set(patterns);
        allowed
    }

    pub(crate) fn set(&self, patterns: Vec<OriginPattern>) {
        if patterns.iter().any(OriginPattern::is_null) {
            tracing::warn!(
                "--allow-origin null lets every local file and every sandboxed frame use this server, \
                 whatever site it is in"
            );
        }
        *self.patterns.write().unwrap_or_else(PoisonError::into_inner) = patterns;
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The pattern that allows a page of this origin.
    fn pattern(&self, sent: &str) -> Option<OriginPattern> {
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        patterns.iter().find(|pattern| pattern.matches(sent)).cloned()
    }

    /// Tells the operator what to do if pages of this origin should be allowed: once of each origin.
    fn tell(&self, refused: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() > MAX_TOLD || told.contains(refused) {
            return;
        }
        told.insert(refused.to_owned());
        if told.len() > MAX_TOLD {
            tracing::warn!(
                "pages of more than {MAX_TOLD} other origins were refused: no more are named"
            );
        } else {
            tracing::warn!(
                "a page of {refused} was refused: to let such pages use this server, start it with \
                 --allow-origin {refused}"
            );
        }
    }
}

impl OriginRule {
    /// Lets the request pass, or says why not. `front` is what trusted proxies say of where it was sent
    /// to.
    pub(crate) fn check<B>(&self, request: &Request<B>, front: &Front) -> Result<Visit, Problem> {
        let own = self.own_origin(request, front)?;
        let is_secure = self.secure && own.as_ref().is_some_and(|own| !own.is_loopback());
        let page = self.page(request, own.as_ref())?;
        Ok(Visit { page, is_secure })
    }

    /// The page that sent the request, if one did and may.
    fn page<B>(&self, request: &Request<B>, own: Option<&Origin>) -> Result<Option<Page>, Problem> {
        let Some(sent) = single(request.headers(), ORIGIN)? else {
            return if embeds(request.headers()) { Err(embedded()) } else { Ok(None) };
        };
        let text = sent.to_str().unwrap_or_default();
        let page = |may_send_credentials| Page { origin: sent.clone(), may_send_credentials };
        let origin: Option<Origin> = text.parse().ok();
        if origin.is_some() && origin.as_ref() == own {
            return Ok(Some(page(false)));
        }
        let Some(allowed) = &self.allowed else { return Err(refused("Pages may not come here.")) };
        match (allowed.pattern(text), origin) {
            (Some(pattern), _) => Ok(Some(page(!pattern.is_null()))),
            (None, Some(origin)) => {
                allowed.tell(&origin.to_string());
                Err(refused(format_args!(
                    "Pages of {origin} may not use this server: start it with `--allow-origin {origin}`."
                )))
            }
            (None, None) if is_opaque(text) => {
                allowed.tell("null");
                Err(refused(
                    "Files and sandboxed frames may not use this server: serve the page over HTTP, or \
                     let all of them in with `--allow-origin null`.",
                ))
            }
            (None, None) => Err(refused("This Origin is malformed, so it cannot be allowed.")),
        }
    }

    /// The origin the request itself was sent to. One of HTTP/1.0 need not say it (RFC 9112 §3.2); no
    /// browser sends such a request, so there is no page to be kept out.
    fn own_origin<B>(
        &self,
        request: &Request<B>,
        front: &Front,
    ) -> Result<Option<Origin>, Problem> {
        // An absolute request target overrules `Host` (RFC 9112 §3.2.2).
        let authority = match (request.uri().authority(), single(request.headers(), HOST)?) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host.to_str().map_err(|_| bad_host())?,
            (None, None) if request.version() <= Version::HTTP_10 => return Ok(None),
            (None, None) => return Err(bad_host()),
        };
        let is_secure = front.is_secure.unwrap_or(self.secure);
        let scheme = if is_secure { "https" } else { "http" };
        let own = Origin::new(scheme, authority).ok_or_else(bad_host)?;
        // Whatever a proxy says: the name that it used itself has to be one of ours.
        if self.any_host || own.is_loopback() {
            let named = front.host.as_ref().and_then(|host| Origin::new(scheme, host));
            return Ok(Some(named.unwrap_or(own)));
        }
        Err(refused(
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
    refused("A page of another origin can not embed this: fetch it with CORS.")
}

fn refused(detail: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BadOrigin, detail)
}

/// `400`: no `Host`, several, or none that is a host (RFC 9112 §3.2).
fn bad_host() -> Problem {
    Problem::new(Code::BadRequest, "Send one Host header that names this server.").and_close()
}
