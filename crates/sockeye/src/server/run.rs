//! The life of a running server: accept until told to stop, then stop in order.

use std::{
    fmt::Display,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use sockeye_proto::CloseFrame;
use tokio::time::{Instant, sleep, timeout, timeout_at};

#[cfg(feature = "tls")]
use super::handshake::secure;
use super::{
    Incoming, Listener, PeerAddr, Server, Settings,
    accepting::Accepting,
    handshake::{Begun, Certificates, Negotiated, begin, first_bytes, receive},
    tasks::Tasks,
};
use crate::{
    Connections,
    net::{Accepted, Acceptor, Handshakes, Incomings, Pending},
    socket::{ByteStream, KeptPeer, Refusing, poll_handler},
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
    let mut acceptor = Acceptor::new(settings.pending.clone());
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
        let opening =
            ConnectionOpener { settings: settings.clone(), handshakes: handshakes.clone() };
        // Boxed, so that the task shrinks to its handler when the handshake is done.
        let pending = settings.pending.register();
        let opening = Box::pin(open(accepted, opening, handler.clone(), pending));
        tasks.spawn(async move {
            // No `if let`: it would keep room for what it was given, and for what is awaited.
            let Some((handling, peer)) = opening.await else { return };
            Handling::Running(pin!(Some(handling)), peer).await;
        });
    }
}

/// A handler at work; one that fails before it has answered leaves a refusal to be sent. One future for both, so
/// that a task has no room for the second while the first runs.
enum Handling<'a, F> {
    Running(Pin<&'a mut Option<F>>, KeptPeer),
    Refusing(Refusing),
}

impl<F, E> Future for Handling<'_, F>
where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut *self {
                Self::Running(work, peer) => {
                    match ready!(poll_handler(work.as_mut(), cx, peer, text)) {
                        Some(refusing) => *self = Self::Refusing(refusing),
                        None => return Poll::Ready(()),
                    }
                }
                Self::Refusing(refusing) => return refusing.as_mut().poll(cx),
            }
        }
    }
}

/// What a handler has returned.
pub(super) fn text<E: Display>(result: Result<(), E>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}

/// Sees an accepted connection to its request; gives what handles that, and where it comes from. `None` if it was
/// refused, or never came; or if this was a connection of HTTP/2, and all that came on it is over.
///
/// A silent connection holds nothing, and has no permit for a handshake. It ends when its
/// descriptor is needed.
async fn open<H, F, E>(
    accepted: Accepted,
    opening: ConnectionOpener,
    handler: Arc<H>,
    pending: Pending,
) -> Option<(F, KeptPeer)>
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let settings = &opening.settings;
    let (deadline, peer) = (Instant::now() + settings.handshake_timeout, accepted.peer());
    let mut io = accepted.into_io();
    let input = {
        // Pinned here, so that there is room for it once only.
        let arrives = pin!(async {
            tokio::select! {
                biased;
                // A client that is too slow, or comes too late, is told so.
                arrived = timeout_at(deadline, first_bytes(&mut io)) => {
                    arrived.unwrap_or_default()
                }
                () = settings.connections.closing().cancelled() => BytesMut::new(),
            }
        });
        pending.or_evicted(arrives).await?
    };
    pending.begin();
    // Boxed, so that a silent connection has no room for it.
    let opened = Box::pin(opening.open((io, input), peer, &pending, deadline)).await?;
    match opened {
        OpenedConnection::Http1(incoming) => {
            pending.settle().then(|| (handler(incoming), peer.into()))
        }
        #[cfg(all(feature = "http2", feature = "tls"))]
        OpenedConnection::Http2(io, certificates, deadline) => {
            let (settings, peer) = (opening.settings, (peer, certificates));
            let serving = super::http2::serve(io, peer, settings, handler, (deadline, pending));
            Box::pin(serving).await;
            None
        }
    }
}

/// What a connection becomes.
enum OpenedConnection {
    Http1(Incoming),
    #[cfg(all(feature = "http2", feature = "tls"))]
    Http2(ByteStream, Certificates, Instant),
}

/// What sees a connection to its request.
struct ConnectionOpener {
    settings: Arc<Settings>,
    handshakes: Arc<Handshakes>,
}

impl ConnectionOpener {
    /// With a permit for the handshake as soon as there is something to work on. The time that it
    /// waits for the permit is not the client's.
    async fn open(
        &self,
        (io, input): (ByteStream, BytesMut),
        peer: PeerAddr,
        pending: &Pending,
        deadline: Instant,
    ) -> Option<OpenedConnection> {
        let settings = &self.settings;
        // Each step is boxed, so that none has room for those after it.
        let begun = match settings.is_secure() {
            true => {
                let beginning = Box::pin(begin(io, input, peer, settings, deadline));
                pending.or_evicted(beginning).await??
            }
            false => Begun::Plain(io, input),
        };
        let (permit, deadline) = match self.handshakes.try_acquire() {
            Some(permit) => {
                if settings.is_secure() {
                    // Its first message is whole: for the next one it has as long as for that.
                    pending.safe(std::future::ready(())).await;
                }
                (permit, deadline)
            }
            None => {
                let asked = Instant::now();
                let permit = timeout(settings.handshake_timeout, self.handshakes.acquire());
                (pending.safe(Box::pin(permit)).await.ok()?, deadline + asked.elapsed())
            }
        };
        let opens = Box::pin(async { Ok(self.negotiate(begun, peer, pending, deadline).await) });
        pending.or_evicted(pin!(permit.run(opens))).await?.ok()?
    }

    /// Completes what comes before the request, and reads that.
    async fn negotiate(
        &self,
        begun: Begun,
        peer: PeerAddr,
        pending: &Pending,
        deadline: Instant,
    ) -> Option<OpenedConnection> {
        let negotiated = match begun {
            Begun::Plain(io, input) => Negotiated::Http1((io, input), Certificates::default()),
            #[cfg(feature = "tls")]
            Begun::Tls(handshake) => {
                Box::pin(secure(handshake, peer, &self.settings, deadline)).await?
            }
        };
        match negotiated {
            Negotiated::Http1(begun, certificates) => {
                let (peer, settings) = ((peer, certificates), self.settings.clone());
                let received = Box::pin(receive(begun, peer, settings, deadline, pending));
                received.await.ok().map(OpenedConnection::Http1)
            }
            #[cfg(all(feature = "http2", feature = "tls"))]
            Negotiated::Http2(io, certificates) => {
                Some(OpenedConnection::Http2(io, certificates, deadline))
            }
        }
    }
}

/// Closes all connections and waits for them and their handlers; ends what is left after `within`.
async fn stop(connections: &Connections, tasks: &Tasks, close_frame: CloseFrame, within: Duration) {
    connections.begin_shutdown(close_frame);
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
