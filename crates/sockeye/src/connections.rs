//! The set of the open connections: to count them, to send to all of them, to close them in order.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sockeye_proto::{CloseFrame, Message, Prepared};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    WebSocket, Writer,
    places::Places,
    socket::{Companion, Member, Sent},
};

/// After how many connections a broadcast lets other tasks run.
const AT_ONCE: usize = 64;

/// A set of open connections. Clones are the same set.
///
/// A [`Server`](crate::Server) keeps [one](crate::Server::connections) of all that it has accepted;
/// where another HTTP server does the accepting, [`insert`](Self::insert) them. A connection leaves
/// the set by itself when its transport ends, and the set does not keep it open.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// use sockeye::{Incoming, Server};
///
/// let server = Server::bind("127.0.0.1:9001").await?;
/// let everybody = server.connections();
/// server
///     .run(move |incoming: Incoming| {
///         let everybody = everybody.clone();
///         async move {
///             let mut socket = incoming.accept().await?;
///             while let Some(message) = socket.recv().await {
///                 everybody.broadcast(message?).await;
///             }
///             Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
///         }
///     })
///     .await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Connections {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    // Never held while a connection's own lock is asked for: a connection that ends holds its own and
    // asks for this one.
    members: Mutex<Members>,
    /// Told whenever the set becomes empty.
    emptied: Notify,
    /// Cancelled once the set takes no more connections.
    closing: CancellationToken,
}

#[derive(Default)]
struct Members {
    open: Places<Member>,
    /// How many of them are over, as their applications were told.
    told: usize,
    /// What newcomers are closed with, once the set is closing.
    farewell: Option<CloseFrame>,
}

/// Where a broadcast went.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Broadcast {
    /// How many connections the message was sent on, or queued.
    pub sent: usize,
    /// Those that it was not sent on because too much is queued there already (64 KiB): their peers
    /// are slow to read. Close them, send to them later, or let them miss it.
    pub slow: Vec<Writer>,
}

impl Connections {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections are open, or on their way to be closed. One whose application was told its
    /// end (`recv` gave `None`) is not counted, though its transport may still be ended.
    pub fn len(&self) -> usize {
        let members = self.members();
        members.open.len() - members.told
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a connection. One that comes after [`shutdown`](Self::shutdown) has begun is closed.
    pub fn insert(&self, socket: &WebSocket) {
        self.insert_with(socket, Nothing);
    }

    /// Adds a connection, and keeps `companion` until that connection ends.
    pub(crate) fn insert_with(&self, socket: &WebSocket, companion: impl Companion + 'static) {
        let member = socket.member();
        let (number, farewell) = {
            let mut members = self.members();
            (members.open.insert(member.clone()), members.farewell.clone())
        };
        let place = Place { set: self.shared.clone(), number, told: false };
        member.until_end(Box::new((place, companion)));
        if let Some(farewell) = farewell {
            member.close(Some(farewell));
        }
    }

    /// A writer for each connection whose application still holds it. Like any writer it keeps the
    /// connection open: drop it soon.
    pub fn writers(&self) -> impl Iterator<Item = Writer> {
        self.snapshot().into_iter().filter_map(|member| member.writer())
    }

    /// Sends a message on every connection. It is encoded once for all of them, and compressed once.
    ///
    /// Never waits for a slow peer: see [`Broadcast::slow`]. Dropped before it is ready, it has sent
    /// to some of the connections.
    pub async fn broadcast(&self, message: impl Into<Message>) -> Broadcast {
        self.broadcast_prepared(&Prepared::new(message)).await
    }

    /// As [`broadcast`](Self::broadcast), with a message prepared before.
    pub async fn broadcast_prepared(&self, message: &Prepared) -> Broadcast {
        let mut broadcast = Broadcast::default();
        for (number, member) in self.snapshot().into_iter().enumerate() {
            if number % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            match member.try_send(message) {
                Sent::Yes => broadcast.sent += 1,
                Sent::TooSlow => broadcast.slow.extend(member.writer()),
                Sent::Closed => {}
            }
        }
        broadcast
    }

    /// Begins to close every connection, each after what was sent on it before. New ones may come.
    pub fn close_all(&self, frame: impl Into<Option<CloseFrame>>) {
        self.close_each(&frame.into());
    }

    /// Closes every connection, and every one that still comes; waits for all of them to end, and cuts
    /// those that are left after `within`. Gives how many were cut. With no connection open it returns
    /// at once.
    ///
    /// 1001 says that the server goes away, 1012 that it will be back (RFC 6455 §7.4.1).
    pub async fn shutdown(&self, farewell: impl Into<CloseFrame>, within: Duration) -> usize {
        self.begin_shutdown(farewell.into());
        if timeout(within, self.emptied()).await.is_ok() {
            return 0;
        }
        self.cut()
    }

    pub(crate) fn begin_shutdown(&self, farewell: CloseFrame) {
        self.members().farewell = Some(farewell.clone());
        self.shared.closing.cancel();
        self.close_each(&Some(farewell));
    }

    /// Ends the transport of every connection without a word. Gives how many there were.
    pub(crate) fn cut(&self) -> usize {
        let left = self.snapshot();
        left.iter().for_each(Member::cut);
        left.len()
    }

    /// Ready when every transport has ended.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.shared.emptied.notified();
            if self.members().open.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Cancelled once the set takes no more connections.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.shared.closing
    }

    fn close_each(&self, frame: &Option<CloseFrame>) {
        for member in self.snapshot() {
            member.close(frame.clone());
        }
    }

    fn snapshot(&self) -> Vec<Member> {
        self.members().open.iter().cloned().collect()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.shared.members()
    }
}

impl Shared {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A connection's place in the set, which it keeps until its end.
struct Place {
    set: Arc<Shared>,
    number: u32,
    /// Whether the application was told the end.
    told: bool,
}

/// No companion.
struct Nothing;

impl Companion for Nothing {}

impl Companion for Place {
    fn end_is_told(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.set.members().told += 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut members = self.set.members();
        members.told -= usize::from(self.told);
        members.open.remove(self.number);
        if members.open.len() == 0 {
            self.set.emptied.notify_waiters();
        }
    }
}
