//! The log of a channel and what is read from it. No lock, no clock and no waiting in this folder.
//!
//! - `channel_log`: what a channel keeps; where readers begin, and what they are told
//! - `dropped`: what it keeps no more
//! - `head`: where a log stands, for a store
//! - `page`: what a reader is given: entries and gaps
//! - `run`: entries that follow each other, shared by all readers that take the same
//! - `entry`: what is published, and what a log makes of it
//! - `forms`: the cache of wire forms
//! - `json`: which JSON is accepted

mod channel_log;
mod dropped;
mod entry;
mod forms;
mod head;
mod json;
mod page;
mod run;
#[cfg(test)]
mod sparse_tests;

pub(crate) use self::channel_log::{Cursor, Log, channel_time, is_ahead};
pub(crate) use self::dropped::Dropped;
pub(crate) use self::entry::Content;
pub use self::entry::{ENTRY_OVERHEAD, Entry, Payload, PayloadRef, Publication};
pub use self::forms::{EntryForm, FORM_OVERHEAD, RunForm};
pub(crate) use self::forms::{EntryForms, FormCache, Forms};
pub use self::head::Head;
pub use self::json::{BadJson, Json};
pub use self::page::{Budget, Gap, GapReason, Item, Lag, Missing, Page};
pub use self::run::Run;
