//! Which pages may use the server: the `Origin` and `Host` rules, the same for every transport.
//!
//! A browser lets any page send a request anywhere, so a server without tokens has to check where a
//! request comes from. Two headers are checked. `Origin`, so that no foreign page reads or writes. And,
//! where nothing but the loopback address protects the server, `Host`: a page may rebind its own name
//! to 127.0.0.1, and then its origin *is* the request's host, but that host is not a loopback name.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Request, Version};
use sockeye::OriginPattern;
use sockeye::internals::{Origin, is_opaque};

use crate::http::headers::single;
use crate::http::problem::{Code, Problem};
use crate::log::Class;
use crate::net::forwarded::ForwardedOrigin;
use crate::option_names::OptionNames;

/// How many refused origins are logged: as many as a server with many pages has, without flooding the
/// log.
const MAX_TOLD: usize = 100;

/// What is known of the origin of an allowed request.
#[derive(Debug)]
pub(crate) struct AllowedRequest {
    /// The page that sent it, if one did.
    pub(crate) page: Option<Page>,
    /// Whether it came over TLS to a name of the server that is not loopback.
    pub(crate) is_secure: bool,
}

/// A page that may use the server.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its `Origin`, as it came, for the CORS headers of the response.
    pub(crate) origin: HeaderValue,
    /// Whether it may send the browser's credentials: its origin is allowed by name.
    pub(crate) may_send_credentials: bool,
}

/// The origin rules of one server.
#[derive(Clone, Debug)]
pub(crate) struct OriginRule {
    /// Origins allowed beside the server's own; `None` where none can be.
    pub(crate) allowed: Option<Allowed>,
    /// Whether any `Host` is the server's own, or loopback names only.
    pub(crate) any_host: bool,
    /// Whether the server's own pages come over TLS.
    pub(crate) secure: bool,
    /// The origin of its own pages, where that is not read from the request.
    pub(crate) public: Option<Origin>,
    pub(crate) names: OptionNames,
}

/// A list of origins that may change; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    patterns: Arc<RwLock<Vec<OriginPattern>>>,
    names: OptionNames,
    /// Refused origins that were logged.
    told: Arc<Mutex<WarnedOrigins>>,
}

impl Allowed {
    pub(crate) fn new(patterns: Vec<OriginPattern>, names: OptionNames) -> Self {
        let allowed = Self { patterns: Arc::default(), names, told: Arc::default() };
        allowed.set(patterns);
        allowed
    }

    pub(crate) fn set(&self, patterns: Vec<OriginPattern>) {
        if patterns.iter().any(OriginPattern::is_null) {
            tracing::warn!(
                "{} null lets every local file and every sandboxed frame use this server, \
                 whatever site it is in",
                self.name()
            );
        }
        *self.patterns.write().unwrap_or_else(PoisonError::into_inner) = patterns;
        self.told.lock().unwrap_or_else(PoisonError::into_inner).0.clear();
    }

    /// The option that sets them.
    fn name(&self) -> String {
        self.names.of("allow_origin")
    }

    /// The pattern that allows a page of this origin.
    fn pattern(&self, sent: &str) -> Option<OriginPattern> {
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        patterns.iter().find(|pattern| pattern.matches(sent)).cloned()
    }

    /// Logs how to allow pages of this origin: once for each origin. An origin that is only counted, because
    /// there were too many lines, is logged when it comes again.
    fn tell(&self, refused: &str) {
        if !tracing::enabled!(tracing::Level::WARN) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((line, more)) = told.line(refused, || Class::Origin.pass()) else { return };
        let more = (more > 0).then_some(more);
        match line {
            Line::Origin => tracing::warn!(
                more,
                "a page of {refused} was refused: to let such pages use this server, set \
                 {} {refused}",
                self.name()
            ),
            Line::TooMany => tracing::warn!(
                more,
                "pages of more than {MAX_TOLD} other origins were refused: no more are logged"
            ),
        }
    }
}

/// Refused origins that were logged, and one more when there were too many.
#[derive(Debug, Default)]
struct WarnedOrigins(HashSet<String>);

/// What is logged of a refused origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Origin,
    TooMany,
}

impl WarnedOrigins {
    /// The line for a refused origin, if there is to be one, with the number of lines left out before it, which
    /// `pass` says when there may be a line now.
    fn line(&mut self, refused: &str, pass: impl FnOnce() -> Option<u64>) -> Option<(Line, u64)> {
        if self.0.len() > MAX_TOLD || self.0.contains(refused) {
            return None;
        }
        let more = pass()?;
        self.0.insert(refused.to_owned());
        let line = if self.0.len() > MAX_TOLD { Line::TooMany } else { Line::Origin };
        Some((line, more))
    }
}

impl OriginRule {
    /// Allows the request, or says why not. `front` is where the client sent it to, as trusted proxies
    /// say.
    pub(crate) fn check<B>(
        &self,
        request: &Request<B>,
        front: &ForwardedOrigin,
    ) -> Result<AllowedRequest, Problem> {
        let own = self.own_origin(request, front)?;
        let is_secure = self.secure && own.as_ref().is_some_and(|own| !own.is_loopback());
        let page = self.page(request, own.as_ref())?;
        Ok(AllowedRequest { page, is_secure })
    }

    /// The page that sent the request, if there is one and it is allowed.
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
        let Some(allowed) = &self.allowed else {
            return Err(refused("Web pages may not use this address."));
        };
        match (allowed.pattern(text), origin) {
            (Some(pattern), _) => Ok(Some(page(!pattern.is_null()))),
            (None, Some(origin)) => {
                allowed.tell(&origin.to_string());
                Err(refused(format_args!(
                    "Pages of {origin} may not use this server: to allow them, set {} {origin}.",
                    allowed.name()
                )))
            }
            (None, None) if is_opaque(text) => {
                allowed.tell("null");
                Err(refused(format_args!(
                    "Files and sandboxed frames may not use this server: serve the page over HTTP, or \
                     let all of them in with {} null.",
                    allowed.name()
                )))
            }
            (None, None) => Err(refused("This Origin is malformed, so it cannot be allowed.")),
        }
    }

    /// The origin that the request was sent to. HTTP/1.0 may leave it out (RFC 9112 §3.2); no browser
    /// sends such a request, so there is no page to refuse.
    fn own_origin<B>(
        &self,
        request: &Request<B>,
        front: &ForwardedOrigin,
    ) -> Result<Option<Origin>, Problem> {
        // An absolute request target overrides `Host` (RFC 9112 §3.2.2).
        let authority = match (request.uri().authority(), single(request.headers(), HOST)?) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host.to_str().map_err(|_| bad_host())?,
            (None, None) if request.version() <= Version::HTTP_10 => return Ok(None),
            (None, None) => return Err(bad_host()),
        };
        let is_secure = front.is_secure.unwrap_or(self.secure);
        let scheme = if is_secure { "https" } else { "http" };
        let own = Origin::new(scheme, authority).ok_or_else(bad_host)?;
        // Whatever a proxy says: the host that it used itself has to be allowed.
        let is_public = self.public.as_ref().is_some_and(|public| public.is_same_host(&own));
        if self.any_host || own.is_loopback() || is_public {
            let named = front.host.as_ref().and_then(|host| Origin::new(scheme, host));
            return Ok(Some(self.public.clone().or(named).unwrap_or(own)));
        }
        let (key, open) = (self.names.of("auth_key"), self.names.of("open"));
        Err(refused(format_args!(
            "This server answers to loopback names only (http://localhost, http://127.0.0.1): set \
             {key} or {open} to give it another name."
        )))
    }
}

/// Whether a page of another origin has embedded this, as an image or a script, according to the
/// browser, which sends no `Origin` then (W3C Fetch Metadata). The browser would not show that page the
/// response (`Cross-Origin-Resource-Policy`), but the request would have its effect. A link that a
/// person follows is allowed.
fn embeds(headers: &HeaderMap) -> bool {
    let is = |name, values: &[&str]| {
        headers.get(name).is_some_and(|value| values.iter().any(|known| value == known))
    };
    is("sec-fetch-site", &["cross-site", "same-site"]) && is("sec-fetch-mode", &["no-cors"])
}

fn embedded() -> Problem {
    refused("A page of another origin cannot embed this: fetch it with CORS.")
}

fn refused(detail: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BadOrigin, detail)
}

/// `400`: no `Host`, several, or an invalid one (RFC 9112 §3.2).
fn bad_host() -> Problem {
    Problem::new(Code::BadRequest, "Send one Host header that names this server.").and_close()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_refused_origins_a_hundred_are_logged() {
        let (mut told, mut lines) = (WarnedOrigins::default(), Vec::new());
        for number in (0..300).chain(0..300) {
            lines.extend(told.line(&format!("https://{number}.example"), || Some(0)));
        }
        let (origins, rest) = lines.split_at(MAX_TOLD);
        assert!(origins.iter().all(|line| *line == (Line::Origin, 0)), "{lines:?}");
        assert_eq!(rest, [(Line::TooMany, 0)]);
    }

    #[test]
    fn an_origin_that_is_only_counted_is_logged_when_it_comes_again() {
        let mut told = WarnedOrigins::default();
        assert_eq!(told.line("https://a.example", || None), None);
        assert_eq!(told.line("https://a.example", || Some(1)), Some((Line::Origin, 1)));
        assert_eq!(told.line("https://a.example", || panic!("it is known")), None);
    }
}
