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
    socket::{Attachment, ConnectionRef},
};

/// A set of open connections, with a value of the application for each: a name, a room, a user. Clones are the
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
/// struct Member {
///     room: String,
/// }
///
/// /// Forwards each message to all others in the room.
/// async fn chat(mut socket: WebSocket, members: Connections<Member>) {
///     let id = socket.id();
///     while let Some(Ok(message)) = socket.recv().await {
///         let Some(room) = members.update(id, |member| member.room.clone()) else { return };
///         members.broadcast_if(message, |other, member| other != id && member.room == room).await;
///     }
/// }
///
/// fn enter(upgrade: Upgrade, room: String, members: &Connections<Member>) -> http::Response<String> {
///     let set = members.clone();
///     upgrade.join(members, Member { room }).on_upgrade(move |socket| chat(socket, set))
/// }
/// ```
///
/// What is kept for a connection must not hold one of its handles, which would keep it open: a
/// [`WeakWriter`](crate::WeakWriter) does not. The closures that look at it run while the set is locked:
/// they must not use the set.
pub struct Connections<T = ()> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
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
    /// The Close for connections that join while the set is closing.
    close_frame: Option<CloseFrame>,
}

struct Entry<T> {
    member: ConnectionRef,
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
        companion: impl Attachment + 'static,
    ) {
        let (id, member) = (socket.id(), socket.member());
        let close_frame = {
            let mut members = self.members();
            if members.open.contains_key(&id) {
                return;
            }
            members.open.insert(id, Entry { member: member.clone(), data });
            members.close_frame.clone()
        };
        let membership = Membership { set: self.inner.clone(), id, told: false };
        member.until_end(Box::new((membership, companion)));
        if let Some(close_frame) = close_frame {
            member.close(Some(close_frame));
        }
    }
}

impl<T> Connections<T> {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections are open, or being closed. One whose application was told its
    /// end (`recv` gave `None`) is not counted, though its transport may still be ended.
    pub fn len(&self) -> usize {
        let members = self.members();
        members.open.len() - members.told
    }

    /// Whether the set is empty.
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

    /// A writer for a connection of which the application still holds a handle; `None` otherwise.
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
    pub async fn shutdown(&self, close_frame: impl Into<CloseFrame>, within: Duration) -> usize {
        self.begin_shutdown(close_frame.into());
        self.inner.handlers.close();
        let ended = async {
            self.emptied().await;
            self.inner.handlers.wait().await;
        };
        if timeout(within, ended).await.is_ok() {
            return 0;
        }
        self.inner.cut.cancel();
        self.cut()
    }

    pub(crate) fn begin_shutdown(&self, close_frame: CloseFrame) {
        self.members().close_frame = Some(close_frame.clone());
        self.inner.closing.cancel();
        self.close_each(&Some(close_frame));
    }

    /// Ends the transport of every connection without a word. Gives how many there were.
    pub(crate) fn cut(&self) -> usize {
        let left = self.snapshot();
        left.iter().for_each(ConnectionRef::cut);
        left.len()
    }

    /// Ready when every transport has ended.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.inner.emptied.notified();
            if self.members().open.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Cancelled once the set takes no more connections.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.inner.closing
    }

    fn close_each(&self, frame: &Option<CloseFrame>) {
        for member in self.snapshot() {
            member.close(frame.clone());
        }
    }

    fn snapshot(&self) -> Vec<ConnectionRef> {
        self.members().open.values().map(|entry| entry.member.clone()).collect()
    }

    fn members(&self) -> MutexGuard<'_, Members<T>> {
        self.inner.members()
    }
}

impl<T> Inner<T> {
    fn members(&self) -> MutexGuard<'_, Members<T>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Connections<T> {
    fn default() -> Self {
        let members = Members { open: HashMap::new(), told: 0, close_frame: None };
        Self {
            inner: Arc::new(Inner {
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
        Self { inner: self.inner.clone() }
    }
}

impl<T> fmt::Debug for Connections<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A connection's membership in the set, which it keeps until its end.
struct Membership<T: Send + 'static> {
    set: Arc<Inner<T>>,
    id: ConnectionId,
    /// Whether the application was told the end.
    told: bool,
}

/// No companion.
struct Nothing;

impl Attachment for Nothing {}

impl<T: Send + 'static> Attachment for Membership<T> {
    fn end_reported(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.set.members().told += 1;
        }
    }
}

impl<T: Send + 'static> Drop for Membership<T> {
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
        // The connection is locked here, and the destructor of the data may do anything.
        if needs_drop::<T>()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { drop(left) });
        }
    }
}
