//! An open WebSocket on tokio: the handles that an application holds, and what is behind them.
//!
//! All handles of a connection share one [`Shared`]: the transport, the protocol's state machine and
//! the tasks that wait. The task that polls a handle moves the bytes: there is no task per
//! connection between the transport and the application. While no task polls, the runtime's
//! [background driver](core::background) answers pings and closes, writes what is queued, and watches
//! deadlines.

// First, so that the reference begins with their own methods.
mod reader;
mod weak_writer;
mod websocket;
mod writer;

mod at_once;
mod connection_ref;
pub(crate) mod core;
mod handle;
mod identity;
#[cfg(feature = "json")]
mod json;
mod message_reader;
mod message_writer;
#[cfg(test)]
mod tests;
mod upgraded;

pub(crate) use self::{
    connection_ref::{ConnectionRef, Sent},
    core::{
        attachment::Attachment,
        handlers::{Refusing, defer_refusal, note_peer_left, poll_handler},
        peer_addr::KeptPeer,
        shared::{Agreed, Shared},
        transport::ByteStream,
    },
};
pub use self::{
    core::{connection_id::ConnectionId, delivery::Delivery, peer_addr::PeerAddr},
    message_reader::MessageReader,
    message_writer::MessageWriter,
    reader::Reader,
    upgraded::Role,
    weak_writer::WeakWriter,
    websocket::WebSocket,
    writer::Writer,
};
