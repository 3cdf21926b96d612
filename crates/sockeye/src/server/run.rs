//! The life of a running server: accept until told to stop, then stop in order.

use std::{fmt::Display, future::Future, pin::pin, sync::Arc, time::Duration};

use sockeye_proto::CloseFrame;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Incoming, Listener, PeerAddr, Server, Settings,
    handshake::{Spoken, receive, secure},
    listener::accept,
};
use crate::{Connections, socket::Io};

/// The tasks of connections. They go on if nobody waits for them any more.
#[derive(Default)]
struct Handlers(JoinSet<()>);

impl Drop for Handlers {
    fn drop(&mut self) {
        self.0.detach_all();
    }
}

pub(super) async fn run_until<S, H, F, E>(server: Server, shutdown: S, handler: Arc<H>)
where
    S: Future,
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let Server { listeners, settings, shutdown_close, shutdown_timeout } = server;
    let connections = settings.connections.clone();
    let mut handlers = Handlers::default();
    let mut shutdown = pin!(shutdown);
    {
        let mut serving = pin!(serve(listeners, Arc::new(settings), handler, &mut handlers.0));
        tokio::select! {
            biased;
            _ = &mut shutdown => {}
            () = &mut serving => {}
        }
        // The listeners are closed here.
    }
    stop(&connections, &mut handlers.0, shutdown_close, shutdown_timeout).await;
}

/// Accepts connections for ever.
async fn serve<H, F, E>(
    listeners: Vec<Listener>,
    settings: Arc<Settings>,
    handler: Arc<H>,
    handlers: &mut JoinSet<()>,
) where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let handshakes = Arc::new(Semaphore::new(settings.max_handshakes));
    for turn in (0..listeners.len()).cycle() {
        let next = async {
            let permit = handshakes.clone().acquire_owned().await;
            (permit, accept(&listeners, turn).await)
        };
        let (permit, (io, peer)) = tokio::select! {
            next = next => next,
            // Tasks that have ended are let go of.
            Some(_) = handlers.join_next() => continue,
        };
        // Boxed, so that the task shrinks to its handler when the handshake is done.
        let incoming = Box::pin(open(io, peer, settings.clone(), handler.clone(), permit));
        let handler = handler.clone();
        handlers.spawn(async move {
            if let Some(incoming) = incoming.await
                && let Err(error) = handler(incoming).await
            {
                tracing::debug!("a handler ended: {error}");
            }
        });
    }
}

/// Sees an accepted connection to its request. `None` if that was refused, or never came; or if this
/// was a connection of HTTP/2, and all that came on it is over.
#[cfg_attr(
    not(all(feature = "http2", feature = "tls")),
    expect(unused_variables, clippy::needless_pass_by_value, reason = "HTTP/2 calls handlers")
)]
async fn open<H, F, E>(
    io: Io,
    peer: PeerAddr,
    settings: Arc<Settings>,
    handler: Arc<H>,
    handshake: Result<OwnedSemaphorePermit, AcquireError>,
) -> Option<Incoming>
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let deadline = Instant::now() + settings.handshake_timeout;
    match secure(io, peer, &settings, deadline).await? {
        Spoken::Http1(io) => receive(io, peer, settings, deadline).await,
        #[cfg(all(feature = "http2", feature = "tls"))]
        Spoken::Http2(io) => {
            drop(handshake);
            Box::pin(super::http2::serve(io, peer, settings, handler, deadline)).await;
            None
        }
    }
}

/// Closes all connections and waits for them and their handlers; ends what is left after `within`.
async fn stop(
    connections: &Connections,
    handlers: &mut JoinSet<()>,
    farewell: CloseFrame,
    within: Duration,
) {
    connections.begin_shutdown(farewell);
    let ended = async {
        while handlers.join_next().await.is_some() {}
        connections.emptied().await;
    };
    if timeout(within, ended).await.is_err() {
        tracing::info!("cutting {} connections and {} handlers", connections.len(), handlers.len());
        handlers.abort_all();
        connections.cut();
    }
}
