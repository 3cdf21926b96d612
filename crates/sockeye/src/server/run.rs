//! The life of a running server: accept until told to stop, then stop in order.

use std::{
    fmt::Display,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use sockeye_proto::CloseFrame;
use tokio::time::{Instant, sleep, timeout, timeout_at};

#[cfg(all(feature = "http2", feature = "tls"))]
use super::handshake::Certificates;
use super::{
    Incoming, Listener, PeerAddr, Server, Settings,
    handshake::{Spoken, begin, receive, secure},
    listener::{Accepted, Accepting},
    tasks::Tasks,
};
use crate::{
    Connections,
    net::{Acceptor, Handshakes, Incomings, Pending, PendingConnections},
    socket::{Io, poll_handler},
};

/// How long to wait when a listener is broken.
const PAUSE: Duration = Duration::from_millis(50);

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
    let handshakes = Arc::new(Handshakes::new(settings.max_handshakes));
    let pending = PendingConnections::default();
    let mut acceptor = Acceptor::new(pending.clone());
    let (is_secure, warned) = (settings.is_secure(), Mutex::default());
    for first in (0..listeners.len()).cycle() {
        let accepting = Accepting { listeners: &listeners, first, is_secure, warned: &warned };
        let accepted = match acceptor.accept(&accepting).await {
            Ok(accepted) => accepted,
            // A listener is broken. The others go on, and it may come back.
            Err(error) => {
                accepting.cannot_accept(&error);
                sleep(PAUSE).await;
                continue;
            }
        };
        let peer = accepted.peer();
        let opening = Opening { settings: settings.clone(), handshakes: handshakes.clone() };
        // Boxed, so that the task shrinks to its handler when the handshake is done.
        let opening = Box::pin(open(accepted, opening, handler.clone(), pending.register()));
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
///
/// A silent connection holds nothing, and has no place among the handshakes. It ends when its
/// descriptor is needed.
async fn open<H, F, E>(
    accepted: Accepted,
    opening: Opening,
    handler: Arc<H>,
    pending: Pending,
) -> Option<F>
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let settings = &opening.settings;
    let (deadline, peer) = (Instant::now() + settings.handshake_timeout, accepted.peer());
    let speaks = async {
        tokio::select! {
            // A client that is too slow, or comes too late, is told so.
            _ = timeout_at(deadline, accepted.speaks()) => {}
            () = settings.connections.closing().cancelled() => {}
        }
    };
    pending.or_evicted(speaks).await?;
    pending.begin();
    // Boxed, so that a silent connection has no room for it.
    let opened = Box::pin(opening.see_to(accepted.into_io(), peer, &pending, deadline)).await?;
    if !pending.settle() {
        return None;
    }
    drop(pending);
    match opened {
        Opened::Http1(incoming) => Some(handler(incoming)),
        #[cfg(all(feature = "http2", feature = "tls"))]
        Opened::Http2(io, certificates, deadline) => {
            let (settings, peer) = (opening.settings, (peer, certificates));
            Box::pin(super::http2::serve(io, peer, settings, handler, deadline)).await;
            None
        }
    }
}

/// What a connection becomes.
enum Opened {
    Http1(Incoming),
    #[cfg(all(feature = "http2", feature = "tls"))]
    Http2(Io, Certificates, Instant),
}

/// What sees a connection to its request.
struct Opening {
    settings: Arc<Settings>,
    handshakes: Arc<Handshakes>,
}

impl Opening {
    /// In a place among the handshakes as soon as there is something to work on. The time that it
    /// waits for the place is not the client's.
    async fn see_to(
        &self,
        io: Io,
        peer: PeerAddr,
        pending: &Pending,
        deadline: Instant,
    ) -> Option<Opened> {
        let settings = &self.settings;
        // Each step is boxed, so that none has room for those after it.
        let begun = Box::pin(begin(io, peer, settings, deadline));
        let begun = pending.or_evicted(begun).await??;
        let asked = Instant::now();
        let place = timeout(settings.handshake_timeout, self.handshakes.place());
        let place = pending.safe(place).await.ok()?;
        let deadline = deadline + asked.elapsed();
        let opens = async {
            let opened = match secure(begun, peer, settings, deadline).await? {
                Spoken::Http1(io, certificates) => {
                    let peer = (peer, certificates);
                    Opened::Http1(receive(io, peer, settings.clone(), deadline).await.ok()?)
                }
                #[cfg(all(feature = "http2", feature = "tls"))]
                Spoken::Http2(io, certificates) => Opened::Http2(io, certificates, deadline),
            };
            Some(opened)
        };
        pending.or_evicted(place.run(Box::pin(async { Ok(opens.await) }))).await?.ok()?
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
