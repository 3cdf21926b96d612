//! The middleware of every request and response: limits, origin rules, CORS (WHATWG Fetch §3.2), the
//! caller, and security headers.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderName, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;

use crate::app::App;
use crate::conn::answer::Answer;
use crate::http::headers;
use crate::http::problem::Problem;
use crate::http::upgrade;
use crate::limits::Requester;
use crate::limits::client_addresses::ClientAddress;
use crate::limits::peer::Peer;
use crate::log::{Class, limited, shown};
use crate::routes::preflight;

/// Response headers that pages of allowed origins may read.
const MAY_READ: &str =
    "ETag, Allow, Preference-Applied, Retry-After, Sockeye-Position, WWW-Authenticate";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
/// A year: a client that has used TLS to a name that is not loopback never goes without.
const ALWAYS_TLS: &str = "max-age=31536000";

/// The middleware around all routes: `next` answers what it lets through.
pub(crate) async fn guard<F>(
    app: Arc<App>,
    request: Box<Request>,
    next: impl FnOnce(Box<Request>) -> F + Send,
) -> Answer
where
    F: Future<Output = Answer> + Send,
{
    app.keep_tasks();
    // The path without the query, which may contain secrets.
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_handshake = upgrade::is_handshake(&request);
    let requester = app.limits.requester(&request);
    let address =
        requester.as_ref().map_or_else(|_| Peer::of(&request).address(), Requester::address);
    let shares_connection = request.version() == Version::HTTP_2;
    let answered = match requester {
        Ok(requester) => Box::pin(check_and_run(&app, requester, request, next)).await,
        Err(problem) => Err(problem),
    };
    let answered = answered.unwrap_or_else(Answer::from);
    answered.map(move |mut response| {
        app.metrics.answered(response.status());
        log(&method, &path, address, response.status(), app.drain.has_begun());
        let has_opened = match method {
            Method::CONNECT => response.status().is_success(),
            _ => response.status() == StatusCode::SWITCHING_PROTOCOLS,
        };
        if !has_opened {
            harden(&mut response);
            if is_handshake && !shares_connection {
                // What follows on this connection was meant as frames, and must not be parsed as a
                // request.
                set(&mut response, CONNECTION, "close");
            }
        }
        response
    })
}

/// A log line for a request, at a level by its status: WARN for failures of the server, INFO for
/// refusals. What the server does not support (501, 505) is the client's fault, and a server that
/// drains (503) has not failed.
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

/// Runs the request if limits and origin rules allow it. A page that is allowed may read every
/// response, 401 included.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
pub(super) fn check_and_run<F>(
    app: &App,
    requester: Requester,
    request: Box<Request>,
    next: impl FnOnce(Box<Request>) -> F + Send,
) -> impl Future<Output = Result<Answer, Problem>>
where
    F: Future<Output = Answer> + Send,
{
    async move {
        let allowed = app.origins.check(&request, &requester.front)?;
        let peer = app.limits.with_permit(requester);
        let checked = app.limits.check_request(&peer);
        let answered = match checked.and_then(|()| headers::check(request.headers())) {
            Err(problem) => Err(problem),
            // Preflights carry no token.
            Ok(()) if preflight::is_one(&request) => {
                Ok(preflight::answer(request.headers()).into())
            }
            Ok(()) => identify(app, peer, request, next).await,
        };
        let answered = answered.unwrap_or_else(Answer::from);
        if allowed.page.is_none() && !allowed.is_secure {
            return Ok(answered);
        }
        Ok(answered.map(move |mut response| {
            if let Some(page) = allowed.page {
                let headers = response.headers_mut();
                headers.insert(TIMING_ALLOW_ORIGIN, page.origin.clone());
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page.origin);
                if page.may_send_credentials {
                    set(&mut response, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
                }
                set(&mut response, ACCESS_CONTROL_EXPOSE_HEADERS, MAY_READ);
                set(&mut response, RESOURCE_POLICY, "cross-origin");
            }
            if allowed.is_secure {
                set(&mut response, STRICT_TRANSPORT_SECURITY, ALWAYS_TLS);
            }
            response
        }))
    }
}

/// Identifies the caller, which the route then asks for its rights.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
fn identify<F>(
    app: &App,
    peer: Peer,
    mut request: Box<Request>,
    next: impl FnOnce(Box<Request>) -> F,
) -> impl Future<Output = Result<Answer, Problem>>
where
    F: Future<Output = Answer>,
{
    async move {
        if let Some(address) = peer.address().filter(|_| app.authority.is_asking()) {
            request.extensions_mut().insert(ClientAddress(address));
        }
        let identified = app.authority.identify(request, peer.network()).await;
        let (caller, mut request) =
            identified.map_err(|problem| app.limits.refused(problem, &peer))?;
        if caller.is_known() {
            peer.trust();
        }
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(peer);
        Ok(next(request).await)
    }
}

/// Live data is never cached, types are never sniffed, and `Referer` leaks nothing.
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

/// The response to `HEAD`: the length says what `GET` would bring (RFC 9110 §9.3.2).
pub(crate) fn without_body(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    if let Some(length @ 1..) = body.size_hint().exact() {
        head.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(head, Body::empty())
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}
