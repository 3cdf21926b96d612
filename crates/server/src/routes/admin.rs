//! The resources for operators: whether the server is alive and ready, its metrics, its channels, and its
//! connections, which they can end.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
#[cfg(feature = "prometheus")]
use http::header::VARY;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};
use sockeye_hub::{ChannelFigures, ChannelName};
use tokio::task::yield_now;

use crate::app::App;
use crate::http::origin::OriginRule;
use crate::http::problem::{Code, Problem};
use crate::http::query;
#[cfg(feature = "prometheus")]
use crate::metrics::Format;
use crate::metrics::connections::MAX_JSON;
use crate::net::forwarded::ForwardedOrigin;
use crate::routes::{cluster, revoke, tap};
use crate::transport::Transport;

/// The most connections in one response to `/connections`, and channels in one to `/channels`.
pub(crate) const MAX_SHOWN: usize = 1000;

/// A page for operators loads its own files, asks its own server, and cannot be framed.
pub(super) const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What is told of a path that is not there.
const PATHS: &str = match cfg!(feature = "prometheus") {
    true => {
        "This address has /healthz, /readyz, /metrics, /connections, /channels, /disconnect, /revoke, /tap and, in a \
         cluster, /cluster."
    }
    false => {
        "This address has /healthz, /readyz, /connections, /channels, /disconnect, /revoke, /tap and, in a cluster, /cluster. This \
         program is built without the feature `prometheus`, which has /metrics."
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
        .route("/connections", get(connections))
        .route("/connections/{id}", delete(disconnect))
        .route("/disconnect", post(disconnect_all))
        .route("/channels", get(channels));
    #[cfg(feature = "prometheus")]
    let routes = routes.route("/metrics", get(figures));
    routes
        .merge(cluster::router(admin.app.hub.clone()))
        .merge(tap::router(Arc::clone(&admin.app)))
        .merge(revoke::router(Arc::clone(&admin.app)))
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
    let after = query::number(request.uri(), "after")?.unwrap_or(0);
    let register = &admin.app.register;
    Ok(json(&register.json(&admin.app.hub, after as u64, limit(request.uri())?)))
}

/// Ends one connection.
async fn disconnect(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if id.parse().is_ok_and(|id| admin.app.register.disconnect(id)) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let detail = "No connection has this id: /connections lists those that are open.";
    Err(Problem::new(Code::NotFound, detail))
}

/// Ends all connections of a subject.
async fn disconnect_all(State(admin): State<Admin>, request: Request) -> Result<Response, Problem> {
    let subject = query::parameter(request.uri(), "subject")?.filter(|subject| !subject.is_empty());
    let Some(subject) = subject else {
        let detail = "Name the subject whose connections are to end: /disconnect?subject=ann.";
        return Err(Problem::new(Code::BadRequest, detail));
    };
    let count = admin.app.register.disconnect_all_of(&subject).await;
    Ok(json(&json!({"disconnected": count})))
}

/// The channels in the order of their names, with what the hub has of them, and their readers.
async fn channels(State(admin): State<Admin>, uri: Uri) -> Result<Response, Problem> {
    let text = |name| Ok(query::parameter(&uri, name)?.unwrap_or_default());
    let (prefix, after, limit) = (text("prefix")?, text("after")?, limit(&uri)?);
    let mut listing = admin.app.hub.begin_listing(&prefix, &after, limit);
    while listing.slice() {
        yield_now().await;
    }
    let page = listing.finish();
    let readers = admin.app.register.readers(&page.channels).await;
    let (mut shown, mut length) = (Vec::new(), 0);
    for (channel, readers) in page.channels.iter().zip(&readers) {
        if length >= MAX_JSON {
            break;
        }
        let figures = admin.app.hub.channel_figures(channel);
        let channel = channel_json(channel, figures, readers);
        length += channel.to_string().len();
        shown.push(channel);
        yield_now().await;
    }
    let has_more = page.has_more || shown.len() < page.channels.len();
    let next = page.channels[..shown.len()].last().filter(|_| has_more);
    let next = next.map(ChannelName::as_str);
    Ok(json(&json!({"count": page.count, "channels": shown, "next": next})))
}

/// A channel of which nothing is in memory has `null` for what is not known of it.
fn channel_json(
    channel: &ChannelName,
    figures: Option<ChannelFigures>,
    readers: &[u64; Transport::ALL.len()],
) -> Value {
    let by_transport = Transport::ALL.iter().zip(readers).filter(|(_, count)| **count > 0);
    let readers: Map<_, _> = by_transport
        .map(|(transport, count)| (transport.name().to_owned(), Value::from(*count)))
        .collect();
    json!({
        "channel": channel.as_str(),
        "at": figures.map(|figures| figures.at.to_string()),
        "messages": figures.map(|figures| figures.entries),
        "bytes": figures.map(|figures| figures.bytes),
        "last": figures.and_then(|figures| figures.last_ts),
        "ended": figures.map(|figures| figures.ended),
        "readers": readers,
    })
}

/// `?limit=` of a list.
fn limit(uri: &Uri) -> Result<usize, Problem> {
    Ok(query::number(uri, "limit")?.unwrap_or(MAX_SHOWN).clamp(1, MAX_SHOWN))
}

fn json(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
