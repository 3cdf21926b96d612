//! The half of a WebSocket that receives.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use sockeye_proto::{Closed, Message};

use super::{handle::Handle, shared::Shared};
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
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        let mut waiting = Waiting { shared: &self.handle.shared, pending: false };
        poll_fn(|cx| waiting.poll(cx)).await
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.handle.shared.closed()
    }
}

/// One who waits for a message. If he gives up, the caretaker listens in his place.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    pending: bool,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let result = self.shared.poll_message(cx);
        self.pending = result.is_pending();
        result
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.pending {
            self.shared.stop_waiting();
        }
    }
}

impl Stream for Reader {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.handle.shared.poll_message(cx)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.handle.shared.drop_reader();
    }
}
