//! What users write and read as text: names, positions, rules.
//!
//! - `channel`: names of channels
//! - `event`: names of events
//! - `history`: how much of a channel is kept
//! - `idempotency`: keys that make a repeated publication known
//! - `pattern`: which channels are meant
//! - `policy`: what becomes of a reader that the log no longer reaches back to
//! - `position`: where in a channel's log something is
//! - `source`: where publications come from whose order is kept
//! - `start`: where a reader begins

mod channel;
mod event;
mod history;
mod idempotency;
mod pattern;
mod policy;
mod position;
mod source;
mod start;

pub use self::channel::{BadChannelName, ChannelName};
pub use self::event::{BadEventName, EventName};
pub use self::history::HistoryRule;
pub(crate) use self::history::{History, millis};
pub use self::idempotency::{BadIdempotencyKey, IdempotencyKey};
pub use self::pattern::{BadPattern, Pattern};
pub use self::policy::{BadPolicy, Policy, PolicyRule};
pub use self::position::{BadPosition, Epoch, Position};
pub use self::source::Source;
pub use self::start::{BadStart, Start};
