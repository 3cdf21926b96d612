//! `/cluster` of the address for operators: how the cluster is, as JSON, and for browsers a page that shows
//! it.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderMap;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};

use crate::http::accept;
use crate::http::problem::{Code, Problem};
use crate::routes::admin::PAGE_POLICY;
use sockeye_hub::Hub;

const JSON: &str = "application/json";
const HTML: &str = "text/html";

/// The page and its files.
const PAGE: &str = include_str!("../../operators/cluster.html");
const STYLE: &str = concat!(
    include_str!("../../operators/common.css"),
    include_str!("../../operators/cluster.css")
);
const SCRIPT: &str = include_str!("../../operators/cluster.js");

/// The routes.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(hub: Hub) -> Router<S> {
    Router::new()
        .route("/cluster", get(answer).with_state(hub))
        .route("/cluster.css", get(async || ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)))
        .route("/cluster.js", get(async || ([(CONTENT_TYPE, "text/javascript")], SCRIPT)))
}

async fn answer(State(hub): State<Hub>, request: Request) -> Result<Response, Problem> {
    let Some(engine) = hub.backplane() else {
        let detail = "This server is not part of a cluster.";
        return Err(Problem::new(Code::NotFound, detail));
    };
    let mut headers = HeaderMap::new();
    headers.insert(VARY, http::HeaderValue::from_static("Accept"));
    if accept::preferred(request.headers(), &[JSON, HTML]) == Some(HTML) {
        let kind =
            [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, PAGE_POLICY)];
        return Ok((headers, kind, PAGE).into_response());
    }
    match engine.report() {
        Some(report) => Ok((headers, [(CONTENT_TYPE, JSON)], report.await).into_response()),
        None => Err(Problem::new(Code::NotFound, "This cluster says nothing of itself.")),
    }
}
