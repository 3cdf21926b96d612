//! The life of a running server: accept until told to stop, then stop in order.

use std::{fmt::Display, future::Future, pin::pin, sync::Arc, time::Duration};

use sockeye_proto::CloseFrame;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Incoming, Listener, PeerAddr, Server, Settings,
    handshake::{Spoken, receive, secure},
    listener::accept,
};
use crate::Connections;

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
    E: Display + Send,
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
    E: Display + Send,
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
        let (handler, settings) = (handler.clone(), settings.clone());
        handlers.spawn(async move {
            let deadline = Instant::now() + settings.handshake_timeout;
            // Boxed, so that the task shrinks to its handler when the handshake is done.
            let spoken = Box::pin(secure(io, peer, &settings, deadline)).await;
            match spoken {
                None => {}
                Some(Spoken::Http1(io)) => {
                    let incoming = Box::pin(receive(io, peer, settings, deadline)).await;
                    drop(permit);
                    if let Some(incoming) = incoming {
                        handle(&*handler, incoming, peer).await;
                    }
                }
                #[cfg(all(feature = "http2", feature = "tls"))]
                Some(Spoken::Http2(io)) => {
                    drop(permit);
                    Box::pin(super::http2::serve(io, peer, settings, handler, deadline)).await;
                }
            }
        });
    }
}

/// Hands a client over to the application.
pub(super) async fn handle<H, F, E>(handler: &H, incoming: Incoming, peer: PeerAddr)
where
    H: Fn(Incoming) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    if let Err(error) = handler(incoming).await {
        tracing::debug!(%peer, "{error}");
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
