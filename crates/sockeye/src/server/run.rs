//! The life of a running server: accept until told to stop, then stop in order.

use std::{
    fmt::Display,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use sockeye_proto::CloseFrame;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{
    Incoming, Listener, PeerAddr, Server, Settings,
    handshake::{Spoken, receive, secure},
    listener::accept,
    tasks::Tasks,
};
use crate::{
    Connections,
    socket::{Io, poll_handler},
};

pub(super) async fn run_until<S, H, F, E>(server: Server, shutdown: S, handler: Arc<H>)
where
    S: Future,
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let Server { listeners, settings, shutdown_close, shutdown_timeout } = server;
    let connections = settings.connections.clone();
    let mut tasks = Tasks::default();
    let mut shutdown = pin!(shutdown);
    {
        let mut serving = pin!(serve(listeners, Arc::new(settings), handler, &mut tasks));
        tokio::select! {
            biased;
            _ = &mut shutdown => {}
            () = &mut serving => {}
        }
        // The listeners are closed here.
    }
    stop(&connections, &tasks, shutdown_close, shutdown_timeout).await;
}

/// Accepts connections for ever.
async fn serve<H, F, E>(
    listeners: Vec<Listener>,
    settings: Arc<Settings>,
    handler: Arc<H>,
    tasks: &mut Tasks,
) where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let handshakes = Arc::new(Semaphore::new(settings.max_handshakes));
    for turn in (0..listeners.len()).cycle() {
        let permit = handshakes.clone().acquire_owned().await;
        let (io, peer) = accept(&listeners, turn).await;
        // Boxed, so that the task shrinks to its handler when the handshake is done.
        let opening = Box::pin(open(io, peer, settings.clone(), handler.clone(), permit));
        tasks.spawn(async move {
            // No `if let`: it would keep room for what it was given, and for what is awaited.
            let Some(handling) = opening.await else { return };
            let mut work = pin!(Some(handling));
            let refusing = poll_fn(|cx| poll_handler(work.as_mut(), cx, &peer, text)).await;
            // It was boxed when the handler failed.
            let Some(refusing) = refusing else { return };
            refusing.await;
        });
    }
}

/// What a handler has returned.
pub(super) fn text<E: Display>(result: Result<(), E>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}

/// Sees an accepted connection to its request; gives what handles that. `None` if it was refused, or
/// never came; or if this was a connection of HTTP/2, and all that came on it is over.
#[cfg_attr(
    not(all(feature = "http2", feature = "tls")),
    expect(unused_variables, reason = "HTTP/2 gives it back early")
)]
async fn open<H, F, E>(
    io: Io,
    peer: PeerAddr,
    settings: Arc<Settings>,
    handler: Arc<H>,
    handshake: Result<OwnedSemaphorePermit, AcquireError>,
) -> Option<F>
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let deadline = Instant::now() + settings.handshake_timeout;
    match secure(io, peer, &settings, deadline).await? {
        Spoken::Http1(io) => Some(handler(receive(io, peer, settings, deadline).await?)),
        #[cfg(all(feature = "http2", feature = "tls"))]
        Spoken::Http2(io) => {
            drop(handshake);
            Box::pin(super::http2::serve(io, peer, settings, handler, deadline)).await;
            None
        }
    }
}

/// Closes all connections and waits for them and their handlers; ends what is left after `within`.
async fn stop(connections: &Connections, tasks: &Tasks, farewell: CloseFrame, within: Duration) {
    connections.begin_shutdown(farewell);
    let ended = async {
        tasks.ended().await;
        connections.emptied().await;
    };
    if timeout(within, ended).await.is_err() {
        tracing::info!("cutting {} connections and {} handlers", connections.len(), tasks.len());
        tasks.abort_all();
        connections.cut();
    }
}
