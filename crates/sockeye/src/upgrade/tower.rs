//! A tower service that opens a WebSocket for each request (feature `tower`).

use std::{
    convert::Infallible,
    fmt,
    future::{Future, Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::Upgrade;
use crate::socket::WebSocket;

/// A tower [`Service`] that answers requests for a WebSocket, and refuses others as
/// [`Upgrade::new`] does; for whatever routes to services and hands over connections: axum, tonic,
/// hyper.
///
/// Clones are cheap. The answer's body is a `String`; tower's `map_response` makes another of it.
///
/// ```no_run
/// use axum::{Router, routing::any_service};
/// use sockeye::{DeflateConfig, UpgradeService, WebSocket};
///
/// async fn echo(mut socket: WebSocket) {
///     while let Some(Ok(message)) = socket.recv().await {
///         if socket.send(message).await.is_err() {
///             return;
///         }
///     }
/// }
///
/// let chat = UpgradeService::new(echo)
///     .upgrade(|upgrade| upgrade.subprotocol_of(["chat.v1"]).deflate(DeflateConfig::default()));
/// let app: Router = Router::new().route("/chat", any_service(chat));
/// ```
pub struct UpgradeService<H> {
    handler: H,
    prepare: Arc<dyn Fn(Upgrade) -> Upgrade + Send + Sync>,
}

impl<H> UpgradeService<H> {
    /// Has `handler` run with each WebSocket that is opened, in a task of its own.
    pub fn new(handler: H) -> Self {
        Self { handler, prepare: Arc::new(|upgrade| upgrade) }
    }

    /// Sets what is done with each upgrade before it is accepted: its subprotocol, origins, limits,
    /// compression, headers. Default: nothing.
    pub fn upgrade(mut self, prepare: impl Fn(Upgrade) -> Upgrade + Send + Sync + 'static) -> Self {
        self.prepare = Arc::new(prepare);
        self
    }
}

impl<H, F, B> Service<Request<B>> for UpgradeService<H>
where
    H: FnOnce(WebSocket) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// Never fails: a refusal is an answer.
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        ready(Ok(match Upgrade::new(&mut request) {
            Ok(upgrade) => (self.prepare)(upgrade).on_upgrade(self.handler.clone()),
            Err(refusal) => refusal.into(),
        }))
    }
}

impl<H: Clone> Clone for UpgradeService<H> {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), prepare: self.prepare.clone() }
    }
}

impl<H> fmt::Debug for UpgradeService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeService").finish_non_exhaustive()
    }
}
