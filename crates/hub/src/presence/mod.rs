//! Presence: who listens to a channel, by whatever transport.
//!
//! A connection holds a [`Lease`] and is present until it drops it. One who polls has no
//! connection to hold: each poll [renews](Hub::renew) a stay of so long, and who does not come
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

mod ledger;
mod room;
mod rooms;
mod watch;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::rooms::Rooms;
pub use self::watch::{Change, Watch};
use crate::{ChannelName, Hub};

/// Who listens to a channel, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// How many there are: the members, and those without an id. Of the latter each connection
    /// counts, and those who poll count once for each key they [poll under](Hub::renew).
    pub count: u64,
    /// Those with an id, in the order of their ids.
    pub members: Vec<Member>,
    /// The id after which the [next page](Hub::presence_page) begins, if there is one.
    pub next: Option<Arc<str>>,
}

/// One who listens and has an id. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// By what name he goes.
    pub id: Arc<str>,
    /// Since when he has been there without a break, in milliseconds since the Unix epoch.
    pub since: u64,
}

/// The presence of one connection, until it is dropped.
#[derive(Debug)]
#[must_use = "who drops the lease has left"]
pub struct Lease {
    hub: Hub,
    channel: ChannelName,
    /// Under what id it was entered; `None` for one who is only counted.
    id: Option<Arc<str>>,
}

impl Hub {
    /// The longest id of a member, in bytes. Who has a longer one is only counted.
    pub const MAX_ID_LEN: usize = 255;

    /// Enters a connection into the channel's presence until the lease is dropped.
    ///
    /// It never fails: when there are as many members as the options allow
    /// ([`Options::max_members`](crate::Options::max_members),
    /// [`Options::max_presence_bytes`](crate::Options::max_presence_bytes)), it is only counted.
    pub fn join(&self, channel: &ChannelName, id: Option<&str>) -> Lease {
        let id = self.rooms().join(channel, id);
        Lease { hub: self.clone(), channel: channel.clone(), id }
    }

    /// Enters one who polls into the channel's presence for `ttl` from now, or lets him stay for
    /// so long from now.
    ///
    /// With an `id` he is the same member as the connections of that id. Without, he is counted
    /// under `key`, by which he is known again at the next poll: his address, say, under which all
    /// those count once who share it. When there are as many as the options allow, he is not
    /// counted.
    ///
    /// Who has not come again in time is gone for everybody who asks from then on; those who
    /// [`watch`](Self::watch) are told then, or by the next [`sweep`](Self::sweep).
    pub fn renew(&self, channel: &ChannelName, key: &str, id: Option<&str>, ttl: Duration) {
        self.rooms().renew(channel, key, id, ttl);
    }

    /// Who listens to the channel: all members, at a cost that grows with them.
    pub fn presence(&self, channel: &ChannelName) -> Presence {
        self.presence_page(channel, None, usize::MAX)
    }

    /// Who listens to the channel: `limit` members at most, the first whose ids come after
    /// `after`.
    ///
    /// It costs as much as the page is long, however many members there are. Page by page, every
    /// member is told once who was there all the while; those who come and go meanwhile may be
    /// told or not.
    pub fn presence_page(
        &self,
        channel: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Presence {
        self.rooms().page(channel, after, limit)
    }

    /// Tells who joins and leaves the channel from now on. To watch is not to be present.
    pub fn watch(&self, channel: &ChannelName) -> Watch {
        Watch::new(self.clone(), channel.clone())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.hub.rooms().leave(&self.channel, self.id.as_deref());
    }
}
