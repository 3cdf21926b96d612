//! An open WebSocket on tokio: the handles that an application holds, and what is behind them.
//!
//! All handles of a connection share one [`Shared`]: the transport, the protocol's state machine and
//! the tasks that wait. Whoever polls a handle moves the bytes, in his own task: there is no task per
//! connection between the socket and the application. While nobody polls, the runtime's
//! [caretaker](caretaker) answers pings and closes, writes what was queued, and watches deadlines.

// First, so that the reference begins with their own methods.
mod reader;
mod weak_writer;
mod websocket;
mod writer;

mod arrival;
mod buffers;
mod caretaker;
mod handle;
mod handled;
mod identity;
mod input;
mod io;
#[cfg(feature = "json")]
mod json;
mod member;
mod message_reader;
mod message_writer;
mod outgoing;
mod pings;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod upgraded;
mod wheel;

pub(crate) use self::{
    handled::{leave_request, note_peer_left, poll_handler},
    io::Io,
    member::{Companion, Member, Sent},
    shared::{Agreed, Shared},
};
pub use self::{
    identity::ConnectionId, message_reader::MessageReader, message_writer::MessageWriter,
    reader::Reader, upgraded::Role, weak_writer::WeakWriter, websocket::WebSocket, writer::Writer,
};
