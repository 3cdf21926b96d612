//! What an operator asks the server, on an address of its own: whether it lives, whether it takes
//! clients, what it counts, and who is connected.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::listener::{Connection, Listener};
use crate::metrics;
use crate::origin::OriginRule;
use crate::problem::{Code, Problem};
use crate::query;
use crate::router::App;

/// Connections that `/connections` shows when `limit` does not say.
const SHOWN: usize = 1000;

#[derive(Clone, Debug)]
struct Admin {
    app: Arc<App>,
    origins: Arc<OriginRule>,
}

/// The resources. Web pages of no origin may read them, and where the address is a loopback one,
/// none that has found a name for it.
pub(crate) fn router(app: Arc<App>, any_host: bool) -> Router {
    let origins = OriginRule { allowed: Vec::new(), any_host, secure: false };
    let admin = Admin { app, origins: Arc::new(origins) };
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .route("/metrics", get(figures))
        .route("/connections", get(connections))
        .fallback(async || {
            let detail = "Here are /healthz, /readyz, /metrics and /connections.";
            Problem::new(Code::NotFound, detail)
        })
        .layer(from_fn_with_state(admin.clone(), guard))
        .with_state(admin)
}

/// Serves for ever, one request on each connection. These do not count as guests, so that who
/// watches a drain does not hold it up.
pub(crate) async fn serve(
    listener: Listener,
    mut http: http1::Builder,
    router: Router,
) -> io::Result<()> {
    http.keep_alive(false);
    let router = TowerToHyperService::new(router);
    loop {
        match listener.accept().await? {
            Connection::Tcp(stream, _) => spawn(&http, stream, &router),
            #[cfg(unix)]
            Connection::Unix(stream) => spawn(&http, stream, &router),
        }
    }
}

fn spawn(
    http: &http1::Builder,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: &TowerToHyperService<Router>,
) {
    let connection = http.serve_connection(TokioIo::new(io), router.clone());
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the admin address broke");
        }
    });
}

async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let mut response = match admin.origins.check(&request) {
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
        (false, Err(why)) => not_ready(&format_args!("publishing fails: {why}")),
        (false, Ok(())) => "ready\n".into_response(),
    }
}

async fn figures(State(admin): State<Admin>) -> Response {
    let text = admin.app.metrics.text(&admin.app);
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn connections(State(admin): State<Admin>, request: Request) -> Result<Response, Problem> {
    let limit = query::number(request.uri(), "limit")?.unwrap_or(SHOWN);
    let json = admin.app.visits.json(&admin.app.hub, limit).to_string();
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}
