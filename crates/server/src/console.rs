//! The console at `/`, a page and the files it names; and the browser client at `/sockeye.js`, as a module, and
//! `/sockeye.classic.js`, as a script. Built into the program, compressed (`build.rs`).

use axum::extract::NestedPath;
use axum::extract::rejection::NestedPathRejection;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LOCATION, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use crate::known::Known;
use crate::problem::Problem;
use crate::{accept, query};

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The page loads its own files, talks to its own server, is framed by nobody, and runs no
/// script that a message brings along.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Asked for anew each time: another version of the program may answer at this address tomorrow.
const ALWAYS_ASK: &str = "no-cache";
/// What a URL with its version (`?v=`) names never changes (RFC 8246).
const NEVER_ASK: &str = "public, max-age=31536000, immutable";

/// One file, and what it is compressed.
pub(crate) struct File {
    /// Where it is served.
    pub(crate) path: &'static str,
    hash: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

/// A file that `build.rs` has prepared.
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

/// The page itself. It names its files, and the channels, relative to where it is.
const INDEX: &str = "/index.html";

/// The route of the console's address, `/`.
pub(crate) fn front<S: Clone + Send + Sync + 'static>() -> MethodRouter<S> {
    get(page).fallback(async || Problem::method_not_allowed("GET, HEAD"))
}

/// The page at `/`. Under another path, such as `/live`, names relative to that would miss the path's
/// last segment: there the page is at `/live/index.html`.
async fn page(
    nested: Result<NestedPath, NestedPathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let index = FILES.iter().find(|file| file.path == INDEX);
    match (nested, index) {
        (Err(_), Some(index)) => index.answer(&uri, &headers),
        (Err(_), None) => Problem::not_found().into_response(),
        (Ok(nested), _) => {
            let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            let path = nested.as_str().trim_end_matches('/');
            Redirect::temporary(&format!("{path}{INDEX}{query}")).into_response()
        }
    }
}

impl File {
    /// The route that serves the file, and nothing but serves it.
    pub(crate) fn route<S: Clone + Send + Sync + 'static>(&'static self) -> MethodRouter<S> {
        get(async |uri: Uri, headers: HeaderMap| self.answer(&uri, &headers))
            .fallback(async || Problem::method_not_allowed("GET, HEAD"))
    }

    /// The file in the coding that the client likes best, or `304` if it has that already.
    fn answer(&self, uri: &Uri, headers: &HeaderMap) -> Response {
        let coding = accept::coding(headers, &["br", "gzip"]);
        let content = match coding {
            Some("br") => self.brotli,
            Some(_) => self.gzip,
            None => self.plain,
        };
        // Each coding is a representation of its own (RFC 9110 §8.8.3.3).
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
