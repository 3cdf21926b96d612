//! Channels: an ordered log per channel, read by cursors.
//!
//! A [`Hub`] holds channels by name. Publishing appends an [`Entry`] to a channel's log and gives
//! its [`Position`]; a [`Reader`] is a cursor in that log, not a queue. So a position means the
//! same to every reader, a slow reader costs no more than a fast one, and a reader that comes back
//! resumes where it was:
//!
//! ```
//! use sockeye_hub::{ChannelName, Hub, Item, Options, Publication, Start};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new(Options { history_count: 100, ..Options::default() });
//! let chat: ChannelName = "chat".parse()?;
//!
//! // Take the position before you render the page, subscribe after it, miss nothing.
//! let rendered = hub.position(&chat);
//! hub.publish(&chat, Publication::text("hello")).await?;
//!
//! let mut reader = hub.subscribe(&chat, Start::After(rendered));
//! match reader.next().await {
//!     Item::Entry(entry) => assert_eq!(&entry.payload.as_bytes()[..], b"hello"),
//!     Item::Gap(gap) => println!("missed what was after {}: {}", gap.after, gap.why),
//! }
//!
//! // `after` as people write it: a position, `earliest`, `now`, `-50`, `10m`.
//! let page = hub.read(&chat, "-50".parse()?, 100);
//! assert_eq!(page.entries.len(), 1);
//! assert_eq!(page.at, reader.position());
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - Offsets of a channel rise by one with each entry, and no position is ever given to two. The
//!   [`Epoch`] is new with each hub: what was in memory is lost, and readers that come back are told.
//! - A reader gets every entry once and in order, or a [`Gap`] in its place: `expired` (trimmed
//!   while it was away), `slow` (trimmed while it was connected), `reset` (another epoch, a
//!   position that is not there yet, or a history that was [forgotten](Hub::forget)). How it goes
//!   on after one is its channel's [`Policy`].
//! - A publisher never waits for a reader, and what it repeats with an [`IdempotencyKey`] is
//!   published once.
//! - Memory is bounded by [`Options`]; what peers merely ask about leaves nothing behind.
//! - Room is fair: each publication is charged to an [account](Publication::account), and when there
//!   is no more room, the account that holds most makes some for those that hold less.
//!
//! Who listens to a channel is its [`Presence`]: connections hold a [`Lease`] ([`Hub::join`]),
//! polling clients renew theirs ([`Hub::renew`]), and a [`Watch`] reports joins and leaves.
//!
//! The hub knows nothing of HTTP or WebSockets, and of JSON only which one readers can parse:
//! [`Json`]. Those who do keep what they make of an entry
//! with it, so that it is made once for all readers: see [`Entry::form`].

mod accounts;
mod channel;
mod draft;
mod entry;
mod figures;
mod forms;
mod health;
mod hub;
mod json;
mod keys;
mod log;
mod name;
mod options;
mod page;
mod pattern;
mod policy;
mod position;
mod presence;
mod pressure;
mod publishing;
mod reader;
mod run;
mod shards;
mod shared;
mod slots;
mod stakes;
mod start;
pub mod store;
mod sweep;
mod writer;

pub use accounts::Room;
pub use entry::{ENTRY_OVERHEAD, Entry, Payload, PayloadRef, Publication};
pub use figures::{Figures, Holdings};
pub use forms::FORM_OVERHEAD;
pub use hub::{Hub, PublishError};
pub use json::{BadJson, Json};
pub use keys::{BadIdempotencyKey, IdempotencyKey};
pub use name::{BadChannelName, BadEventName, ChannelName, EventName};
pub use options::{Clock, Options};
pub use page::{Budget, Gap, Item, Lag, Page, Why};
pub use pattern::{BadPattern, Pattern};
pub use policy::{BadPolicy, Policy, PolicyRule};
pub use position::{BadPosition, Epoch, Position};
pub use presence::{Change, Lease, Member, Presence, Watch};
pub use pressure::Share;
pub use publishing::{Publishing, Writing};
pub use reader::Reader;
pub use run::Run;
pub use start::{BadStart, Start};
pub use sweep::Sweep;

/// Parts that are no interface, for the fuzz targets.
#[doc(hidden)]
pub mod internals {
    pub mod journal {
        pub use crate::store::journal::{End, read};
    }
}
