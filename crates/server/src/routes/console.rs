//! The console at `/` and its files; the browser client at `/sockeye.js`, as a module, and
//! `/sockeye.classic.js`, as a script. They are part of the program, compressed (`build/console.rs`).

use axum::extract::{NestedPath, Request};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LOCATION, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::conn::answer::Answer;
use crate::http::accept;
use crate::http::conditional::Known;
use crate::http::problem::Problem;
use crate::http::query;

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The page loads its own files, connects to its own server, cannot be framed, and runs no script from
/// a message.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Revalidated each time: another version of the program may serve this address tomorrow.
const ALWAYS_ASK: &str = "no-cache";
/// A URL with a version (`?v=`) never changes (RFC 8246).
const NEVER_ASK: &str = "public, max-age=31536000, immutable";

/// One file, plain and compressed.
#[derive(Debug)]
pub(crate) struct File {
    /// The path of its URL.
    pub(crate) path: &'static str,
    hash: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

/// A file prepared by `build/console.rs`.
macro_rules! file {
    ($name:literal, $hash:literal) => {
        File {
            path: concat!("/", $name),
            hash: $hash,
            plain: include_bytes!(concat!(env!("OUT_DIR"), "/", $name)),
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
            brotli: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".br")),
        }
    };
}
use file;

/// The page itself. Its URLs of files and channels are relative.
const INDEX: &str = "/index.html";

const METHODS: &str = "GET, HEAD";

/// The page at `/`. Nested under another path, such as `/live`, relative URLs would lose the last
/// segment: there the page is at `/live/index.html`.
pub(crate) fn front(request: &Request) -> Result<Answer, Problem> {
    if !is_read(request) {
        return Err(Problem::method_not_allowed(METHODS));
    }
    let Some(nested) = request.extensions().get::<NestedPath>() else {
        let index = FILES.iter().find(|file| file.path == INDEX);
        return index.ok_or_else(Problem::not_found)?.answer(request);
    };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = nested.as_str().trim_end_matches('/');
    Ok(Redirect::temporary(&format!("{path}{INDEX}{query}")).into())
}

fn is_read(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

impl File {
    /// Answers a request for the file: `GET` and `HEAD` alone.
    pub(crate) fn answer(&self, request: &Request) -> Result<Answer, Problem> {
        match is_read(request) {
            true => Ok(self.response(request.uri(), request.headers()).into()),
            false => Err(Problem::method_not_allowed(METHODS)),
        }
    }

    /// The file in the coding that the client prefers, or `304` if the client has it already.
    fn response(&self, uri: &Uri, headers: &HeaderMap) -> Response {
        let coding = accept::coding(headers, &["br", "gzip"]);
        let content = match coding {
            Some("br") => self.brotli,
            Some(_) => self.gzip,
            None => self.plain,
        };
        // Each coding is a representation with an entity tag of its own (RFC 9110 §8.8.3.3).
        let etag = match coding {
            Some(coding) => format!("\"{}-{coding}\"", self.hash),
            None => format!("\"{}\"", self.hash),
        };
        let is_versioned =
            query::parameter(uri, "v").is_ok_and(|version| version.as_deref() == Some(VERSION));
        let mut answer = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| {
            answer.extend(HeaderValue::from_str(value).map(|value| (name, value)).ok());
        };
        set(CACHE_CONTROL, if is_versioned { NEVER_ASK } else { ALWAYS_ASK });
        set(CONTENT_LOCATION, &format!("{}?v={VERSION}", &self.path[1..]));
        set(ETAG, &etag);
        set(VARY, ACCEPT_ENCODING.as_str());
        if Known::by(headers).includes(&etag) {
            return (StatusCode::NOT_MODIFIED, answer).into_response();
        }
        set(CONTENT_TYPE, self.content_type());
        set(CONTENT_SECURITY_POLICY, POLICY);
        if let Some(coding) = coding {
            set(CONTENT_ENCODING, coding);
        }
        (answer, content).into_response()
    }

    fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        }
    }
}
