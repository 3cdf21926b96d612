//! The half of a WebSocket that receives.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use sockeye_proto::{Closed, Message};

use super::{
    core::shared::Shared, core::state::SocketState, handle::Handle, message_reader::MessageReader,
    writer::Writer,
};
use crate::Error;

/// The half of a [`WebSocket`](super::WebSocket) that receives.
#[derive(Debug)]
pub struct Reader {
    pub(super) handle: Handle,
}

impl Reader {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// The next message; as [`WebSocket::recv`](super::WebSocket::recv).
    pub fn recv(&mut self) -> impl Future<Output = Option<Result<Message, Error>>> {
        // Not `async`: each level would hold the same state once more.
        let mut waiting = ReceiveWait::new(&self.handle.shared);
        poll_fn(move |cx| waiting.poll(cx, SocketState::poll_message))
    }

    /// The next message as a stream; as [`WebSocket::recv_stream`](super::WebSocket::recv_stream).
    pub async fn recv_stream(&mut self) -> Option<Result<MessageReader<'_>, Error>> {
        let mut waiting = ReceiveWait::new(&self.handle.shared);
        let first = poll_fn(|cx| waiting.poll(cx, SocketState::poll_first_part)).await?;
        drop(waiting);
        let shared = &self.handle.shared;
        Some(first.map(|(number, first)| MessageReader::new(shared.clone(), number, first)))
    }

    /// Waits for the end, and returns how the connection ended; as [`WebSocket::ended`](super::WebSocket::ended).
    pub async fn ended(&self) -> Closed {
        self.handle.ended().await
    }

    /// A writer of the same connection.
    pub fn writer(&self) -> Writer {
        Writer::new(self.handle.clone())
    }

    /// Ends the connection at once, without a Close; as [`WebSocket::abort`](super::WebSocket::abort).
    pub fn abort(&self) {
        self.handle.shared.abort();
    }

    /// Whether nothing can be sent any more; as [`WebSocket::is_closed`](super::WebSocket::is_closed).
    pub fn is_closed(&self) -> bool {
        self.handle.shared.is_ending()
    }

    /// From now on [`recv`](Self::recv) gives `None` when the client's Close has arrived, which is not
    /// answered yet: what is still to be sent to the client reaches it (RFC 6455 §5.5.1). It is answered
    /// by [`close`](crate::Writer::close), when the reader is dropped, or after a second.
    ///
    /// Without this it is answered as soon as the application asks for more than what came before it.
    /// On a client's end it changes nothing.
    pub fn hold_close(&self) {
        self.handle.shared.hold_close();
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.handle.shared.closed()
    }
}

/// A wait for a message. If it is dropped, the background driver reads in its place.
pub(super) struct ReceiveWait<'a> {
    shared: &'a Arc<Shared>,
    pending: bool,
}

impl<'a> ReceiveWait<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>) -> Self {
        Self { shared, pending: false }
    }

    pub(super) fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut SocketState, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let result = self.shared.poll_receive(cx, poll);
        self.pending = result.is_pending();
        result
    }
}

impl Drop for ReceiveWait<'_> {
    fn drop(&mut self) {
        if self.pending {
            self.shared.stop_waiting();
        }
    }
}

impl Stream for Reader {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.handle.shared.poll_receive(cx, SocketState::poll_message)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.handle.shared.drop_reader();
    }
}
