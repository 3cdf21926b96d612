//! A connection as a set of connections knows it: by a reference that does not keep it open.

use std::sync::{Arc, Weak};

use sockeye_proto::{CloseFrame, Prepared};

use super::{shared::Shared, websocket::WebSocket, writer::Writer};

/// A connection that somebody else holds. Once it is gone, all that is asked of it does nothing.
#[derive(Clone)]
pub(crate) struct Member {
    shared: Weak<Shared>,
}

/// What goes with a connection until its transport ends, and is dropped then. Neither that nor what it is
/// told may take the lock of a connection.
pub(crate) trait Companion: Send {
    /// The application is being told the end.
    fn end_is_told(&mut self) {}
}

impl<A: Companion, B: Companion> Companion for (A, B) {
    fn end_is_told(&mut self) {
        self.0.end_is_told();
        self.1.end_is_told();
    }
}

impl Companion for Box<dyn Companion> {
    fn end_is_told(&mut self) {
        (**self).end_is_told();
    }
}

/// What became of a message.
pub(crate) enum Sent {
    /// It is written or queued.
    Yes,
    /// Too much is queued already.
    TooSlow,
    /// The connection is closing or closed.
    Closed,
}

impl WebSocket {
    pub(crate) fn member(&self) -> Member {
        Member { shared: Arc::downgrade(self.shared()) }
    }
}

impl Member {
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

    /// Ends the transport as soon as the runtime comes to it, without a word.
    pub(crate) fn cut(&self) {
        if let Some(shared) = self.shared.upgrade() {
            let mut state = shared.state();
            let now = state.now();
            state.connection.abort(now);
            drop(state);
            shared.call_caretaker();
        }
    }

    /// Keeps `companion` until the transport ends, then drops it.
    pub(crate) fn until_end(&self, companion: Box<dyn Companion>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.state().until_end(companion);
        }
    }
}
