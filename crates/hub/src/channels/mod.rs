//! The channels of a hub: logs behind locks, found by name, within the hub's bounds.
//!
//! - `channel`: one channel, and the readers that wait for it to grow
//! - `follow`: what a backplane tells goes into the channels
//! - `load`: reading channels from a backplane
//! - `keys`: the idempotency keys that a channel remembers
//! - `reader`: a cursor in a channel's log, and a way to wait there
//! - `resting`: a reader in whose place something else reads
//! - `shared_reader`: one cursor for many readers at the same place
//! - `listing`: the channels there are, in pages
//! - `map`: the channels by name
//! - `name_hash`: where in it a name is
//! - `registry`: everything the hub and the thread that writes share
//! - `pressure`: which account makes room when the hub is full
//! - `sweep`: dropping what is too old, a slice at a time

mod channel;
mod follow;
mod keys;
mod listing;
mod load;
mod map;
mod name_hash;
mod pressure;
mod reader;
mod registry;
mod resting;
mod shared_reader;
mod sweep;

pub(crate) use self::channel::{Channel, ChannelState, Extent, KEYS_AT_ONCE};
pub(crate) use self::follow::Follower;
pub(crate) use self::keys::Keys;
pub use self::listing::{ChannelPage, Listing};
pub(crate) use self::load::Load;
pub use self::load::Loaded;
pub(crate) use self::map::{ChannelMap, Walk};
pub(crate) use self::name_hash::NameHasher;
pub use self::reader::Reader;
pub(crate) use self::registry::{Backing, Registry};
pub use self::resting::Resting;
pub use self::shared_reader::{Outlook, SharedReader};
pub use self::sweep::Sweep;
