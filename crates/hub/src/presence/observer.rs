//! Being told of all channels who comes and goes, as it happens.

use std::fmt::Debug;

use super::Member;
use crate::ChannelName;
use crate::backplane::NodeId;

/// Is told of every channel who comes to this hub and goes: see [`Hub::observe`](crate::Hub::observe).
///
/// It is called while the channel's presence is locked, so that what it is told of one channel comes in order. It must
/// neither use the hub nor wait. Times are in milliseconds since the Unix epoch, by the hub's
/// [clock](crate::Options::clock).
pub trait Observer: Debug + Send + Sync {
    /// The first client listens to the channel, with an id or without.
    fn occupied(&self, channel: &ChannelName, at: u64);

    /// The last client is gone from the channel.
    fn vacated(&self, channel: &ChannelName, at: u64);

    /// A member has come to the channel, by its first connection or poll at this hub.
    fn joined(&self, channel: &ChannelName, member: &Member, at: u64);

    /// A member is gone from the channel: its last connection at this hub is, and it does not poll any more.
    fn left(&self, channel: &ChannelName, member: &Member, at: u64);

    /// Another hub of the backplane is there, for the first time or again.
    fn node_found(&self, node: NodeId);

    /// Another hub of the backplane has left or is silent: its members count as gone.
    fn node_lost(&self, node: NodeId);
}
