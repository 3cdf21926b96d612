//! The set of the open connections: to count them, to send to some or all of them, to close them in order.

#[cfg(feature = "upgrade")]
mod joining;
mod sending;

use std::{
    collections::HashMap,
    fmt,
    mem::needs_drop,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sockeye_proto::CloseFrame;
use tokio::{runtime::Handle, sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[cfg(feature = "upgrade")]
pub(crate) use self::joining::Joining;
pub use self::sending::Broadcast;
use crate::{
    ConnectionId, WebSocket, Writer,
    socket::{Companion, Member},
};

/// A set of open connections, with something of yours for each: a name, a room, a user. Clones are the
/// same set.
///
/// A [`Server`](crate::Server) keeps [one](crate::Server::connections) of all that it has accepted;
/// where another HTTP server does the accepting, [`Upgrade::join`](crate::Upgrade::join) puts them
/// into one, and [`insert_with`](Self::insert_with) does anywhere. A connection leaves the set by itself
/// when its transport ends, and the set does not keep it open.
///
/// ```no_run
/// use sockeye::{Connections, Upgrade, WebSocket};
///
/// struct Guest {
///     room: String,
/// }
///
/// /// What one says, all others in the room hear.
/// async fn chat(mut socket: WebSocket, everybody: Connections<Guest>) {
///     let id = socket.id();
///     while let Some(Ok(message)) = socket.recv().await {
///         let Some(room) = everybody.update(id, |guest| guest.room.clone()) else { return };
///         everybody.broadcast_if(message, |other, guest| other != id && guest.room == room).await;
///     }
/// }
///
/// fn enter(upgrade: Upgrade, room: String, everybody: &Connections<Guest>) -> http::Response<String> {
///     let set = everybody.clone();
///     upgrade.join(everybody, Guest { room }).on_upgrade(move |socket| chat(socket, set))
/// }
/// ```
///
/// What is kept for a connection must not hold one of its handles, which would keep it open: a
/// [`WeakWriter`](crate::WeakWriter) does not. The closures that look at it run while the set is locked:
/// they must not use the set.
pub struct Connections<T = ()> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    // Never held while a connection's own lock is asked for: a connection that ends holds its own and
    // asks for this one.
    members: Mutex<Members<T>>,
    /// Told whenever the set becomes empty.
    emptied: Notify,
    /// Cancelled once the set takes no more connections.
    closing: CancellationToken,
    /// Those of the set's connections that run here.
    handlers: TaskTracker,
    /// Cancelled when the handlers that are left are to end.
    cut: CancellationToken,
}

struct Members<T> {
    open: HashMap<ConnectionId, Entry<T>>,
    /// How many of them are over, as their applications were told.
    told: usize,
    /// What newcomers are closed with, once the set is closing.
    farewell: Option<CloseFrame>,
}

struct Entry<T> {
    member: Member,
    data: T,
}

impl Connections {
    /// Adds a connection. One that comes after [`shutdown`](Self::shutdown) has begun is closed.
    pub fn insert(&self, socket: &WebSocket) {
        self.insert_with(socket, ());
    }
}

impl<T: Send + 'static> Connections<T> {
    /// Adds a connection, with what is to be known of it. One that is here already stays, with what was
    /// known; one that comes after [`shutdown`](Self::shutdown) has begun is closed.
    pub fn insert_with(&self, socket: &WebSocket, data: T) {
        self.insert_and_keep(socket, data, Nothing);
    }

    /// The same, and keeps `companion` until that connection ends.
    pub(crate) fn insert_and_keep(
        &self,
        socket: &WebSocket,
        data: T,
        companion: impl Companion + 'static,
    ) {
        let (id, member) = (socket.id(), socket.member());
        let farewell = {
            let mut members = self.members();
            if members.open.contains_key(&id) {
                return;
            }
            members.open.insert(id, Entry { member: member.clone(), data });
            members.farewell.clone()
        };
        let place = Place { set: self.shared.clone(), id, told: false };
        member.until_end(Box::new((place, companion)));
        if let Some(farewell) = farewell {
            member.close(Some(farewell));
        }
    }
}

impl<T> Connections<T> {
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

    /// What is known of a connection, to be looked at or changed; `None` if it is not here (any more).
    pub fn update<R>(&self, id: ConnectionId, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.members().open.get_mut(&id).map(|entry| look(&mut entry.data))
    }

    /// Looks at each connection.
    pub fn for_each(&self, mut look: impl FnMut(ConnectionId, &T)) {
        self.members().open.iter().for_each(|(id, entry)| look(*id, &entry.data));
    }

    /// A writer for a connection whose application still holds it; `None` if there is none (any more).
    pub fn writer(&self, id: ConnectionId) -> Option<Writer> {
        let member = self.members().open.get(&id)?.member.clone();
        member.writer()
    }

    /// A writer for each connection whose application still holds it. Like any writer it keeps the
    /// connection open: drop it soon.
    pub fn writers(&self) -> impl Iterator<Item = Writer> + use<T> {
        self.snapshot().into_iter().filter_map(|member| member.writer())
    }

    /// Begins to close every connection, each after what was sent on it before. New ones may come.
    pub fn close_all(&self, frame: impl Into<Option<CloseFrame>>) {
        self.close_each(&frame.into());
    }

    /// Closes every connection, and every one that still comes; waits for all of them to end, and for the
    /// handlers of those that [joined](crate::Upgrade::join) by an upgrade. Cuts the connections and ends
    /// the handlers that are left after `within`; gives how many connections were cut. With no connection
    /// open and no handler running it returns at once.
    ///
    /// 1001 says that the server goes away, 1012 that it will be back (RFC 6455 §7.4.1). A handler that
    /// calls this waits for itself.
    pub async fn shutdown(&self, farewell: impl Into<CloseFrame>, within: Duration) -> usize {
        self.begin_shutdown(farewell.into());
        self.shared.handlers.close();
        let ended = async {
            self.emptied().await;
            self.shared.handlers.wait().await;
        };
        if timeout(within, ended).await.is_ok() {
            return 0;
        }
        self.shared.cut.cancel();
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
            if self.members().open.is_empty() {
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
        self.members().open.values().map(|entry| entry.member.clone()).collect()
    }

    fn members(&self) -> MutexGuard<'_, Members<T>> {
        self.shared.members()
    }
}

impl<T> Shared<T> {
    fn members(&self) -> MutexGuard<'_, Members<T>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Connections<T> {
    fn default() -> Self {
        let members = Members { open: HashMap::new(), told: 0, farewell: None };
        Self {
            shared: Arc::new(Shared {
                members: Mutex::new(members),
                emptied: Notify::new(),
                closing: CancellationToken::new(),
                handlers: TaskTracker::new(),
                cut: CancellationToken::new(),
            }),
        }
    }
}

impl<T> Clone for Connections<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> fmt::Debug for Connections<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A connection's place in the set, which it keeps until its end.
struct Place<T: Send + 'static> {
    set: Arc<Shared<T>>,
    id: ConnectionId,
    /// Whether the application was told the end.
    told: bool,
}

/// No companion.
struct Nothing;

impl Companion for Nothing {}

impl<T: Send + 'static> Companion for Place<T> {
    fn end_is_told(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.set.members().told += 1;
        }
    }
}

impl<T: Send + 'static> Drop for Place<T> {
    fn drop(&mut self) {
        let mut members = self.set.members();
        members.told -= usize::from(self.told);
        let left = members.open.remove(&self.id);
        if members.open.is_empty() {
            // The last one takes the memory with it that many have left.
            members.open = HashMap::new();
            self.set.emptied.notify_waiters();
        }
        drop(members);
        // The connection is locked here, and nobody knows what the data does when it is dropped.
        if needs_drop::<T>()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { drop(left) });
        }
    }
}
