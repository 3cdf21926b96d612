//! Presence, as the hub gives it.

use std::sync::Arc;
use std::time::Duration;

use crate::backplane::NodeId;
use crate::presence::MAX_ID_LEN;
use crate::{ChannelName, Hub, Lease, Observer, Presence, Watch};

impl Hub {
    /// The longest id of a member, in bytes. A client with a longer one is only counted.
    pub const MAX_ID_LEN: usize = MAX_ID_LEN;

    /// Enters a connection into the channel's presence until the lease is dropped.
    ///
    /// It never fails: when there are as many members as the options allow
    /// ([`Options::max_members`](crate::Options::max_members),
    /// [`Options::max_presence_bytes`](crate::Options::max_presence_bytes)), it is only counted.
    pub fn join(&self, channel: &ChannelName, id: Option<&str>) -> Lease {
        Lease::new(&self.0.registry.presence, channel, id)
    }

    /// Enters a polling client into the channel's presence for `ttl` from now, or extends its stay to
    /// that.
    ///
    /// With an `id` it is the same member as the connections of that id. Without, it is counted
    /// under `key`, by which it is recognised at the next poll: its address, for example, under which all
    /// clients that share it count once. When there are as many as the options allow, it is not
    /// counted.
    ///
    /// A client that has not renewed it in time is absent from then on; a
    /// [`watch`](Self::watch) is told then, or by the next [`sweep`](Self::sweep).
    pub fn renew(&self, channel: &ChannelName, key: &str, id: Option<&str>, ttl: Duration) {
        self.0.registry.presence.renew(channel, key, id, ttl);
    }

    /// The presence on the channel: all members, at a cost that grows with them. With a backplane those
    /// connected to this hub.
    pub fn presence(&self, channel: &ChannelName) -> Presence {
        self.presence_page(channel, None, usize::MAX)
    }

    /// The presence on the channel: `limit` members at most, the first whose ids come after
    /// `after`.
    ///
    /// It costs as much as the page is long, however many members there are. Page by page, every
    /// member that stays all the while is listed once; those that come and go meanwhile may be
    /// listed or not.
    ///
    /// With a backplane it knows of those connected to this hub; [`presence_of_all`](Self::presence_of_all)
    /// asks the others, too.
    pub fn presence_page(
        &self,
        channel: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Presence {
        self.0.registry.presence.page(channel, after, limit)
    }

    /// The same of all hubs that the backplane connects, each member once; without one it is
    /// [`presence_page`](Self::presence_page).
    ///
    /// All are asked at that moment, and one that does not answer within a second is left out. A page may
    /// have fewer than `limit` members and a [`next`](Presence::next) all the same. Members and polling
    /// clients that are at several hubs count once as long as each hub has at most 16,384 of them on the
    /// channel.
    pub async fn presence_of_all(
        &self,
        channel: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Presence {
        self.0.registry.presence.page_of_all(channel, after, limit).await
    }

    /// Tells the other hubs that this one has gone, with all that are present here: they need not find
    /// out. Nothing is told to them afterwards. For the end of a server; without a backplane it does nothing.
    pub async fn leave_cluster(&self) {
        self.0.registry.presence.leave_all();
        if let Some(backplane) = self.backplane() {
            // Without it they find out in some seconds.
            let _ = backplane.flush().await;
        }
    }

    /// Reports the members that join and leave the channel from now on. To watch is not to be present.
    pub fn watch(&self, channel: &ChannelName) -> Watch {
        Watch::new(&self.0.registry.presence, channel)
    }

    /// Has an observer told who comes to any channel at this hub and goes. To be called before clients come: of those
    /// that are there already it is told only some. There is one observer; whether it is this one.
    pub fn observe(&self, observer: Arc<dyn Observer>) -> bool {
        self.0.registry.presence.observer.set(observer).is_ok()
    }

    /// What the other hubs of the backplane know this one by, in this life of it. `None` without a backplane that connects
    /// hubs.
    pub fn node(&self) -> Option<NodeId> {
        self.0.registry.presence.node()
    }
}
