//! Sending to many connections of a set, or to one.

use sockeye_proto::{Failure, Message, Prepared};

use super::Connections;
use crate::{
    ConnectionId, Error, TrySendError, Writer,
    socket::{ConnectionRef, Sent},
};

/// After how many connections a broadcast lets other tasks run.
const AT_ONCE: usize = 64;

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

/// None of these waits for a slow peer: see [`Broadcast::slow`]. Dropped before it is ready, a broadcast has
/// gone to some of the connections.
impl<T> Connections<T> {
    /// Sends a message on every connection. It is encoded once for all of them, and compressed once.
    pub async fn broadcast(&self, message: impl Into<Message>) -> Broadcast {
        self.broadcast_prepared(&Prepared::new(message)).await
    }

    /// As [`broadcast`](Self::broadcast), with a message prepared before.
    pub async fn broadcast_prepared(&self, message: &Prepared) -> Broadcast {
        send(self.snapshot(), message).await
    }

    /// Sends a message on every connection but this one: on those of all others.
    pub async fn broadcast_except(
        &self,
        except: ConnectionId,
        message: impl Into<Message>,
    ) -> Broadcast {
        self.broadcast_if(message, |id, _| id != except).await
    }

    /// Sends a message on each connection for which `wants` is true. That is asked while the set is
    /// locked, before anything is sent.
    pub async fn broadcast_if(
        &self,
        message: impl Into<Message>,
        mut wants: impl FnMut(ConnectionId, &T) -> bool,
    ) -> Broadcast {
        let chosen = {
            let members = self.members();
            let chosen = members.open.iter().filter(|(id, entry)| wants(**id, &entry.data));
            chosen.map(|(_, entry)| entry.member.clone()).collect()
        };
        send(chosen, &Prepared::new(message)).await
    }

    /// Sends a message on one connection, at once; as [`Writer::try_send`].
    ///
    /// # Errors
    ///
    /// Those of [`Writer::try_send`]; [`TrySendError::Closed`] too when the connection is not here (any
    /// more).
    pub fn send_to(
        &self,
        id: ConnectionId,
        message: impl Into<Message>,
    ) -> Result<(), TrySendError> {
        match self.writer(id) {
            Some(writer) => writer.try_send(message),
            None => Err(TrySendError::Closed(message.into(), Error::Failed(Failure::Lost))),
        }
    }
}

async fn send(members: Vec<ConnectionRef>, message: &Prepared) -> Broadcast {
    let mut broadcast = Broadcast::default();
    for (number, member) in members.into_iter().enumerate() {
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
