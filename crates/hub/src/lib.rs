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
//! let hub = Hub::new(Options::default().history_count(100));
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
//!     Item::End(at) => println!("the channel has ended at {at}"),
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
//! - Offsets of a channel rise with each entry, and no position is ever given to two. The
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
//! The clients that listen to a channel are its [`Presence`]: connections hold a [`Lease`] ([`Hub::join`]),
//! polling clients renew theirs ([`Hub::renew`]), and a [`Watch`] reports joins and leaves.
//!
//! The feature `fjall`, on by default, is the store on disk: `Hub::open` and `Options::data`.
//!
//! Several hubs share channels by a [`Backplane`](backplane::Backplane): see [`Hub::with_backplane`].
//!
//! The hub knows nothing of HTTP or WebSockets, and of JSON only which one readers can parse:
//! [`Json`]. Code that does keeps what it makes of an entry
//! with it, so that it is made once for all readers: see [`Entry::form`].
//!
//! # The sources
//!
//! Each folder imports only from those below it; `cargo xtask test format` checks that.
//!
//! | folder or file | |
//! |---|---|
//! | `hub` | the hub: all channels, and the operations on them |
//! | `publish` | publishing to a store or a backplane: the queue, the thread that writes, its health |
//! | `channels` | the channels in memory: found by name, loaded, swept, and let go of when memory is full |
//! | `presence` | the clients that listen to a channel, here and at other hubs |
//! | `backplane` | an engine that several hubs share: what a hub asks of it, and what it is told |
//! | `error`, `store`, `stats` | why a publication is refused; channels on disk; numbers |
//! | `accounts` | which publisher room is charged to |
//! | `log` | the log of one channel: entries, cursors, pages, forms. No lock, no clock, no waiting |
//! | `options`, `names` | bounds and the clock; names, positions and rules as users write them |

#![forbid(unsafe_code)]

mod accounts;
pub mod backplane;
mod channels;
mod error;
mod hub;
mod log;
mod names;
mod options;
mod presence;
mod publish;
mod stats;
pub mod store;

pub use accounts::{Capacity, Share};
pub use channels::{ChannelPage, Listing, Loaded, Outlook, Reader, Resting, SharedReader, Sweep};
pub use error::PublishError;
pub use hub::Hub;
pub use log::{
    BadJson, Budget, ENTRY_OVERHEAD, Entry, EntryForm, FORM_OVERHEAD, Gap, GapReason, Item, Json,
    Lag, Missing, Page, Payload, PayloadRef, Publication, Run, RunForm,
};
pub use names::{
    BadChannelName, BadEventName, BadIdempotencyKey, BadPattern, BadPolicy, BadPosition, BadStart,
    ChannelName, Epoch, EventName, HistoryRule, IdempotencyKey, Pattern, Policy, PolicyRule,
    Position, Source, Start,
};
pub use options::{Clock, Options};
pub use presence::{Lease, Member, Observer, Presence, PresenceChange, Unchanged, Watch};
pub use publish::{Publishing, Writing};
pub use stats::{ChannelFigures, Figures, Holdings, MAX_QUEUED_BYTES};

/// Not a part of the API: for the fuzz targets.
#[doc(hidden)]
#[cfg(feature = "fjall")]
pub mod internals {
    pub mod journal {
        pub use crate::store::journal::{End, read};
    }
}
