//! An open WebSocket on tokio: the handles that an application holds, and what is behind them.
//!
//! All handles of a connection share one [`Shared`]: the transport, the protocol's state machine and
//! the tasks that wait. Whoever polls a handle moves the bytes, in his own task: there is no task per
//! connection between the socket and the application. While nobody polls, the runtime's
//! [caretaker](caretaker) answers pings and closes, writes what was queued, and watches deadlines.

mod buffers;
mod caretaker;
mod handles;
mod io;
mod member;
mod shared;
mod state;

pub use self::handles::{Reader, WebSocket, Writer};
pub(crate) use self::{
    io::Io,
    member::{Member, Sent},
    shared::{Agreed, Shared},
};
