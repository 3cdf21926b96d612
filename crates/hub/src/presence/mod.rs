//! Presence: the clients that listen to a channel, by whatever transport.
//!
//! A connection holds a [`Lease`] and is present until it drops it. A polling client has no
//! connection to hold: each poll [renews](crate::Hub::renew) its stay for a time, and a client that does not poll
//! again in time has left. Those with an id are [`Member`]s, each once however many connections
//! they have; the others are only counted.
//!
//! ```
//! use sockeye_hub::{ChannelName, Hub};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::default();
//! let chat: ChannelName = "chat".parse()?;
//! let ann = hub.join(&chat, Some("ann"));
//! let _nameless = hub.join(&chat, None);
//!
//! let presence = hub.presence(&chat);
//! assert_eq!((presence.count, &*presence.members[0].id), (2, "ann"));
//! drop(ann);
//! assert_eq!(hub.presence(&chat).members.len(), 0);
//! # Ok(())
//! # }
//! ```

mod budget;
mod observer;
mod peers;
mod registry;
mod remote;
mod set;
mod watch;

use std::sync::Arc;

pub use self::observer::Observer;
pub(crate) use self::registry::PresenceRegistry;
pub use self::watch::{PresenceChange, Unchanged, Watch};
use crate::ChannelName;

/// The longest id of a member, in bytes.
pub(crate) const MAX_ID_LEN: usize = 255;

/// The clients that listen to a channel, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// How many there are: the members, and those without an id. Of the latter each connection
    /// counts, and clients that poll count once for each key they [poll under](crate::Hub::renew).
    pub count: u64,
    /// Those with an id, in the order of their ids.
    pub members: Vec<Member>,
    /// The id after which the [next page](crate::Hub::presence_page) begins, if there is one.
    pub next: Option<Arc<str>>,
}

/// A subscriber with an id. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: Arc<str>,
    /// Since when it has been present without a break, in milliseconds since the Unix epoch.
    pub since: u64,
}

/// The presence of one connection, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping the lease ends the presence"]
pub struct Lease(
    /// `None` when it goes on as something else.
    Option<Stay>,
);

#[derive(Debug)]
pub(crate) struct Stay {
    pub(crate) presence: Arc<PresenceRegistry>,
    pub(crate) channel: ChannelName,
    /// The id under which it was entered; `None` for a client that is only counted.
    pub(crate) id: Option<Arc<str>>,
}

impl Lease {
    pub(crate) fn new(
        presence: &Arc<PresenceRegistry>,
        channel: &ChannelName,
        id: Option<&str>,
    ) -> Self {
        let id = presence.join(channel, id);
        Self(Some(Stay { presence: Arc::clone(presence), channel: channel.clone(), id }))
    }

    /// A lease for what was present already.
    pub(crate) fn resumed(stay: Stay) -> Self {
        Self(Some(stay))
    }

    /// Gives up the lease, and not the presence.
    pub(crate) fn into_stay(mut self) -> Option<Stay> {
        self.0.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Stay { presence, channel, id }) = &self.0 {
            presence.leave(channel, id.as_deref());
        }
    }
}
