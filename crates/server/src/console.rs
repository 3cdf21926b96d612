//! The console at `/`, a page and the files it names; and the browser client at `/sockeye.js`. Built
//! into the program.

use axum::extract::NestedPath;
use axum::extract::rejection::NestedPathRejection;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderName, Uri};

use crate::problem::Problem;

/// The page loads its own files, talks to its own server, is framed by nobody, and runs no
/// script that a message brings along.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Asked for anew each time: another version of the program may answer at this address tomorrow.
const ALWAYS_ASK: &str = "no-cache";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One file of the console.
pub(crate) struct File {
    /// Where it is served.
    pub(crate) path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

macro_rules! file {
    ($path:literal, $content_type:expr, $name:literal) => {
        File {
            path: $path,
            content_type: $content_type,
            content: include_str!(concat!("../console/", $name)),
        }
    };
}

/// The client that any page may import.
const CLIENT: File = File {
    path: "/sockeye.js",
    content_type: JS,
    content: include_str!("../../../clients/js/sockeye.js"),
};

/// The page itself. It names its files, and the channels, relative to where it is.
const INDEX: File = file!("/index.html", HTML, "index.html");

/// All of them.
pub(crate) const FILES: &[File] = &[
    CLIENT,
    INDEX,
    file!("/chart.js", JS, "chart.js"),
    file!("/chat.css", CSS, "chat.css"),
    file!("/chat.js", JS, "chat.js"),
    file!("/compare.css", CSS, "compare.css"),
    file!("/compare.js", JS, "compare.js"),
    file!("/connection.js", JS, "connection.js"),
    file!("/console.css", CSS, "console.css"),
    file!("/console.js", JS, "console.js"),
    file!("/en.js", JS, "en.js"),
    file!("/favicon.svg", SVG, "favicon.svg"),
    file!("/inspector.css", CSS, "inspector.css"),
    file!("/inspector.js", JS, "inspector.js"),
    file!("/lanes.js", JS, "lanes.js"),
    file!("/log.js", JS, "log.js"),
    file!("/memory.js", JS, "memory.js"),
    file!("/message.js", JS, "message.js"),
    file!("/outbox.js", JS, "outbox.js"),
    file!("/place.js", JS, "place.js"),
    file!("/publisher.js", JS, "publisher.js"),
    file!("/tally.js", JS, "tally.js"),
    file!("/words.js", JS, "words.js"),
    file!("/zh.js", JS, "zh.js"),
];

/// The route of the console's address, `/`.
pub(crate) fn front<S: Clone + Send + Sync + 'static>() -> MethodRouter<S> {
    get(page).fallback(async || Problem::method_not_allowed("GET, HEAD"))
}

/// The page at `/`. Under another path, such as `/live`, names relative to that would miss the path's
/// last segment: there the page is at `/live/index.html`.
async fn page(nested: Result<NestedPath, NestedPathRejection>, uri: Uri) -> Response {
    let Ok(nested) = nested else { return INDEX.answer() };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = nested.as_str().trim_end_matches('/');
    Redirect::temporary(&format!("{path}{}{query}", INDEX.path)).into_response()
}

impl File {
    /// The route that serves the file, and nothing but serves it.
    pub(crate) fn route<S: Clone + Send + Sync + 'static>(&'static self) -> MethodRouter<S> {
        get(async || self.answer()).fallback(async || Problem::method_not_allowed("GET, HEAD"))
    }

    fn answer(&self) -> Response {
        let headers: [(HeaderName, &str); 3] = [
            (CONTENT_TYPE, self.content_type),
            (CACHE_CONTROL, ALWAYS_ASK),
            (CONTENT_SECURITY_POLICY, POLICY),
        ];
        (headers, self.content).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_console_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/console");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| format!("/{}", file.unwrap().file_name().into_string().unwrap()))
            .chain([CLIENT.path.to_owned()])
            .collect();
        there.sort();
        let mut served: Vec<&str> = FILES.iter().map(|file| file.path).collect();
        served.sort_unstable();
        assert_eq!(served, there);
    }
}
