//! What an operator asks the server, on an address of its own: whether it lives, whether it takes
//! clients, what it counts, and who is connected.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sockeye::internals::{Acceptor, Incomings, Pending, PendingConnections, share_of_reserve};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::crowd::{Crowd, Seat};
use crate::forwarded::Front;
use crate::impatient::Impatient;
use crate::listener::{Connection, Listener};
use crate::metrics::Format;
use crate::opening::first_request;
use crate::options::ServerOptions;
use crate::origin::OriginRule;
use crate::problem::{Code, Problem};
use crate::query;
use crate::router::App;

/// Connections that `/connections` shows at once, at most.
pub(crate) const MAX_SHOWN: usize = 1000;

/// What the kernel takes of an answer that its client does not read, in bytes; it may take twice that.
pub(crate) const SEND_BUFFER: usize = 32 << 10;

/// How long a client may take nothing of its answer.
pub(crate) const MAX_WRITE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
struct Admin {
    app: Arc<App>,
    origins: Arc<OriginRule>,
}

/// The resources. Web pages of no origin may read them, and where the address is a loopback one,
/// none that has found a name for it.
pub(crate) fn router(app: Arc<App>, any_host: bool) -> Router {
    let origins = OriginRule { allowed: None, any_host, secure: false };
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
///
/// There are few connections, and each ends soon if its client does not read: whoever reaches the
/// address cannot have it hold much.
pub(crate) async fn serve(
    listener: Listener,
    router: Router,
    options: ServerOptions,
) -> io::Result<()> {
    let operators = Arc::new(Operators::new(router, &options));
    let pending = PendingConnections::default();
    let places = Crowd::new(Some(share_of_reserve()), None);
    let mut acceptor = Acceptor::new(pending.clone());
    if let Err(error) = listener.limit_send_buffers(SEND_BUFFER) {
        tracing::debug!(%error, "the system's buffers stay as they are");
    }
    let incomings = listener.incomings(false);
    loop {
        let connection = acceptor.accept(&incomings).await?;
        let Ok(place) = places.admit(None, || pending.evict_oldest()) else {
            incomings.refuse(connection);
            continue;
        };
        let (operators, pending) = (Arc::clone(&operators), pending.register());
        match connection {
            Connection::Tcp(stream, _) => tokio::spawn(operators.answer(stream, pending, place)),
            #[cfg(unix)]
            Connection::Unix(stream) => tokio::spawn(operators.answer(stream, pending, place)),
        };
    }
}

/// What answers operators.
struct Operators {
    http: http1::Builder,
    router: TowerToHyperService<Router>,
    head_timeout: Duration,
    write_timeout: Duration,
}

impl Operators {
    fn new(router: Router, options: &ServerOptions) -> Self {
        let mut http = crate::http1::builder(options.head_timeout);
        http.keep_alive(false);
        Self {
            http,
            router: TowerToHyperService::new(router),
            head_timeout: options.head_timeout,
            write_timeout: options.write_timeout.min(MAX_WRITE_TIMEOUT),
        }
    }

    async fn answer<S>(self: Arc<Self>, stream: S, pending: Pending, place: Seat)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut io = Impatient::new(stream, self.write_timeout);
        if first_request(&mut io, &pending, self.head_timeout).await.is_err() {
            return;
        }
        drop(pending);
        if let Err(error) = self.http.serve_connection(TokioIo::new(io), self.router.clone()).await
        {
            tracing::debug!(%error, "connection to the admin address broke");
        }
        drop(place);
    }
}

async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let mut response = match admin.origins.check(&request, &Front::default()) {
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

async fn figures(State(admin): State<Admin>, request: Request) -> Response {
    let format = Format::of(request.headers());
    let text = admin.app.metrics.text(&admin.app, format);
    ([(CONTENT_TYPE, format.content_type()), (VARY, "Accept")], text).into_response()
}

async fn connections(State(admin): State<Admin>, request: Request) -> Result<Response, Problem> {
    let limit = query::number(request.uri(), "limit")?.unwrap_or(MAX_SHOWN).clamp(1, MAX_SHOWN);
    let after = query::number(request.uri(), "after")?.unwrap_or(0);
    let json = admin.app.visits.json(&admin.app.hub, after as u64, limit).to_string();
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    /// By a clock that leaps.
    #[tokio::test(start_paused = true)]
    async fn an_operator_that_takes_nothing_is_cut_off_in_ten_seconds() {
        let router = Router::new().route("/", get(async || "x".repeat(100_000)));
        let (pending, places) = (PendingConnections::default(), Crowd::new(Some(1), None));
        let operators = |options: &ServerOptions| Arc::new(Operators::new(router.clone(), options));
        let short = ServerOptions { write_timeout: Duration::from_secs(3), ..Default::default() };
        for (options, limit) in [(ServerOptions::default(), 10), (short, 3)] {
            let (mut client, server) = duplex(1024);
            client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            let place = places.admit(None, || false).unwrap();
            let begun = Instant::now();
            operators(&options).answer(server, pending.register(), place).await;
            assert_eq!(begun.elapsed(), Duration::from_secs(limit));
            assert_eq!((places.len(), pending.len()), (0, 0));
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer.len(), 1024);
        }
    }
}
