//! Channels: an ordered log per channel, read by cursors.

mod channel;
mod entry;
mod figures;
mod forms;
mod hub;
mod log;
mod name;
mod options;
mod page;
mod position;
mod reader;
mod shards;
mod start;

pub use entry::{ENTRY_OVERHEAD, Entry, Payload, PayloadRef, Publication};
pub use figures::Figures;
pub use hub::{Hub, PublishError};
pub use name::{BadChannelName, BadEventName, ChannelName, EventName};
pub use options::{Clock, Options};
pub use page::{Budget, Gap, Item, Page, Why};
pub use position::{BadPosition, Epoch, Position};
pub use reader::Reader;
pub use start::{BadStart, Start};
