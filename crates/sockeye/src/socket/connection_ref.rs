//! A member of a set of connections: a reference that does not keep the connection open.

use std::sync::{Arc, Weak};

use sockeye_proto::{CloseFrame, Prepared};

use super::{
    core::{attachment::Attachment, shared::Shared},
    websocket::WebSocket,
    writer::Writer,
};
use crate::clock;

/// A weak reference to a connection. Once that is gone, every call does nothing.
#[derive(Clone)]
pub(crate) struct ConnectionRef {
    shared: Weak<Shared>,
}

/// The outcome of sending a message.
pub(crate) enum Sent {
    /// The message is written or queued.
    Yes,
    /// Too much is queued already.
    TooSlow,
    /// The connection is closing or closed.
    Closed,
}

impl WebSocket {
    pub(crate) fn member(&self) -> ConnectionRef {
        ConnectionRef { shared: Arc::downgrade(self.shared()) }
    }
}

impl ConnectionRef {
    /// A writer, if the application still holds a handle of the connection.
    pub(crate) fn writer(&self) -> Option<Writer> {
        Writer::of_held(self.shared.upgrade()?)
    }

    /// Sends a message unless too much is queued.
    pub(crate) fn try_send(&self, message: &Prepared) -> Sent {
        let Some(shared) = self.shared.upgrade() else { return Sent::Closed };
        let mut state = shared.state();
        if !state.has_room() {
            return Sent::TooSlow;
        }
        if state.connection.send_prepared(message).is_err() {
            return Sent::Closed;
        }
        shared.write_or_defer(&mut state);
        Sent::Yes
    }

    /// Starts the closing handshake.
    pub(crate) fn close(&self, frame: Option<CloseFrame>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.close(frame);
        }
    }

    /// Ends the transport in the background, without a Close.
    pub(crate) fn cut(&self) {
        if let Some(shared) = self.shared.upgrade() {
            let mut state = shared.state();
            let now = clock::elapsed();
            state.connection.abort(now);
            drop(state);
            shared.wake_background();
        }
    }

    /// Keeps `attachment` until the transport ends, then drops it.
    pub(crate) fn until_end(&self, attachment: Box<dyn Attachment>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.state().until_end(attachment);
        }
    }
}
