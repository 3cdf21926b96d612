//! The resources for operators: whether the server is alive and ready, its metrics, and its
//! connections.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
#[cfg(feature = "prometheus")]
use http::header::VARY;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use crate::app::App;
use crate::http::origin::OriginRule;
use crate::http::problem::{Code, Problem};
use crate::http::query;
#[cfg(feature = "prometheus")]
use crate::metrics::Format;
use crate::net::forwarded::ForwardedOrigin;
use crate::routes::cluster;

/// The most connections in one response to `/connections`.
pub(crate) const MAX_SHOWN: usize = 1000;

/// What is told of a path that is not there.
const PATHS: &str = match cfg!(feature = "prometheus") {
    true => {
        "This address has /healthz, /readyz, /metrics, /connections and, in a cluster, /cluster."
    }
    false => {
        "This address has /healthz, /readyz, /connections and, in a cluster, /cluster. This program is built without the feature \
         `prometheus`, which has /metrics."
    }
};

#[derive(Clone, Debug)]
struct Admin {
    app: Arc<App>,
    origins: Arc<OriginRule>,
}

/// The routes. Web pages of no origin may read them; at a loopback address the `Host` has to be a
/// loopback name, against DNS rebinding.
pub(crate) fn router(app: Arc<App>, any_host: bool) -> Router {
    let origins =
        OriginRule { allowed: None, any_host, secure: false, public: None, names: app.names };
    let admin = Admin { app, origins: Arc::new(origins) };
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .route("/connections", get(connections));
    #[cfg(feature = "prometheus")]
    let routes = routes.route("/metrics", get(figures));
    routes
        .merge(cluster::router(admin.app.hub.clone()))
        .fallback(async || Problem::new(Code::NotFound, PATHS))
        .layer(from_fn_with_state(admin.clone(), guard))
        .with_state(admin)
}

async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let mut response = match admin.origins.check(&request, &ForwardedOrigin::default()) {
        Ok(_) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
    response
}

/// Whether new clients should be sent here.
async fn readiness(State(admin): State<Admin>) -> Response {
    let not_ready = |why: &dyn std::fmt::Display| {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
    };
    match (admin.app.drain.has_begun(), admin.app.hub.health()) {
        (true, _) => not_ready(&"stopping"),
        (false, Err(why)) => match admin.app.hub.backplane().and_then(|engine| engine.trouble()) {
            Some(trouble) => not_ready(&format_args!("{why}: {trouble}")),
            None => not_ready(&format_args!("publishing fails: {why}")),
        },
        (false, Ok(())) => "ready\n".into_response(),
    }
}

#[cfg(feature = "prometheus")]
async fn figures(State(admin): State<Admin>, request: Request) -> Response {
    let format = Format::of(request.headers());
    let text = admin.app.metrics.text(&admin.app.levels(), format);
    ([(CONTENT_TYPE, format.content_type()), (VARY, "Accept")], text).into_response()
}

async fn connections(State(admin): State<Admin>, request: Request) -> Result<Response, Problem> {
    let limit = query::number(request.uri(), "limit")?.unwrap_or(MAX_SHOWN).clamp(1, MAX_SHOWN);
    let after = query::number(request.uri(), "after")?.unwrap_or(0);
    let json = admin.app.register.json(&admin.app.hub, after as u64, limit).to_string();
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}
