//! What the tests of all crates share: the frames and handshakes of `sockeye-wire`, and conditions that
//! are waited for.
//!
//! - [`frame`], [`handshake`], [`http2`]: byte for byte, right and wrong.
//! - [`assert_documented`] (`docs`): a page of the documentation says a number of the code.
//! - [`eventually`] (`wait`): waits for a condition that nothing announces.
//! - `pass` and `others_run` (`clock`, the feature of this name): time passes on tokio's clock, and other
//!   tasks run.

#![forbid(unsafe_code)]

#[cfg(feature = "clock")]
mod clock;
mod docs;
mod wait;

#[cfg(feature = "clock")]
pub use clock::{others_run, pass};
pub use docs::assert_documented;
pub use sockeye_wire::{Frame, Role, frame, handshake, http2};
#[cfg(feature = "tokio")]
pub use wait::eventually_async;
pub use wait::{Outcome, PATIENCE, eventually};
