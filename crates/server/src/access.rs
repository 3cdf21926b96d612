//! What every request passes and every answer gets, whatever the resource: the origin rules,
//! CORS (WHATWG Fetch §3.2), and the headers that keep a browser from guessing.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    CACHE_CONTROL, CONNECTION, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode, Version};

use crate::limits::Asker;
use crate::log::{Class, limited, shown};
use crate::peer::Peer;
use crate::problem::Problem;
use crate::router::App;
use crate::{headers, preflight, promise, websocket};

/// Response headers that pages of allowed origins may read.
const MAY_READ: &str = "ETag, Allow, Preference-Applied, Retry-After, WWW-Authenticate";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
/// A year: whoever has come by TLS to a name that is not loopback never comes without.
const ALWAYS_TLS: &str = "max-age=31536000";

/// The middleware round all resources.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    // The path without the query, which may hold what nobody should read in a log.
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_handshake = websocket::is_handshake(&request);
    let asker = app.limits.who_asks(&request);
    let address = asker.as_ref().map_or_else(|_| Peer::of(&request).address(), Asker::address);
    let shares_connection = request.version() == Version::HTTP_2;
    let answered = match asker {
        Ok(asker) => admit(&app, asker, request, next).await,
        Err(problem) => Err(problem),
    };
    let answered = answered.unwrap_or_else(Problem::into_response);
    promise::then(answered, move |mut response| {
        app.metrics.answered(response.status());
        log(&method, &path, address, response.status(), app.drain.has_begun());
        let has_opened = match method {
            Method::CONNECT => response.status().is_success(),
            _ => response.status() == StatusCode::SWITCHING_PROTOCOLS,
        };
        if !has_opened {
            harden(&mut response);
            if is_handshake && !shares_connection {
                // What follows on this connection was meant to be frames, and is not to be read as
                // a request.
                set(&mut response, CONNECTION, "close");
            }
        }
        response
    })
}

/// A line for a request, louder for those that an operator looks for: what the server failed at, and who
/// was kept out. That a client asked for what the server does not do (501, 505) is the client's fault,
/// and that a server which stops takes no more (503) is nobody's.
fn log(
    method: &Method,
    path: &str,
    address: Option<IpAddr>,
    status: StatusCode,
    is_draining: bool,
) {
    let address = address.map(tracing::field::display);
    let (method, path, code) = (shown(method.as_str()), shown(path), status.as_u16());
    let (method, path) = (&*method, &*path);
    match code {
        500 | 503 | 507 if code != 503 || !is_draining => {
            limited!(WARN, Class::Failed, method, path, address, status = code, "request failed");
        }
        401 | 403 | 429 => {
            limited!(INFO, Class::Refused, method, path, address, status = code, "request refused");
        }
        status => tracing::debug!(method, path, address, status, "request"),
    }
}

/// Lets the request through to its resource, if the origin rules do. A page that they let through
/// may read every answer, that it has no good token among them.
async fn admit(app: &App, asker: Asker, request: Request, next: Next) -> Result<Response, Problem> {
    let visit = app.origins.check(&request, &asker.front)?;
    let peer = app.limits.seat(asker);
    let answered = match app.limits.admit(&peer).and_then(|()| headers::check(request.headers())) {
        Err(problem) => Err(problem),
        // A browser asks without the page's token.
        Ok(()) if preflight::is_one(&request) => Ok(preflight::answer(request.headers())),
        Ok(()) => identify(app, peer, request, next).await,
    };
    let answered = answered.unwrap_or_else(Problem::into_response);
    if visit.page.is_none() && !visit.is_secure {
        return Ok(answered);
    }
    Ok(promise::then(answered, move |mut response| {
        if let Some(page) = visit.page {
            let headers = response.headers_mut();
            headers.insert(TIMING_ALLOW_ORIGIN, page.origin.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page.origin);
            if page.may_send_credentials {
                set(&mut response, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
            }
            set(&mut response, ACCESS_CONTROL_EXPOSE_HEADERS, MAY_READ);
            set(&mut response, RESOURCE_POLICY, "cross-origin");
        }
        if visit.is_secure {
            set(&mut response, STRICT_TRANSPORT_SECURITY, ALWAYS_TLS);
        }
        response
    }))
}

/// Sees who makes the request, and lets the resource ask him what he may do.
async fn identify(
    app: &App,
    peer: Peer,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = app.authority.admit(&request, &peer);
    let caller = caller.map_err(|problem| app.limits.refused(problem, &peer))?;
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(peer);
    Ok(next.run(request).await)
}

/// Live data is never cached, types are never guessed, and nothing leaks by way of `Referer`.
fn harden(response: &mut Response) {
    response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    if !response.headers().contains_key(CACHE_CONTROL) {
        set(response, CACHE_CONTROL, "no-store");
    }
    set(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(response, REFERRER_POLICY, "no-referrer");
    if !response.headers().contains_key(RESOURCE_POLICY) {
        set(response, RESOURCE_POLICY, "same-origin");
    }
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}
