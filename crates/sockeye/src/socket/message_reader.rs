//! One message, received as a stream.

use std::{
    fmt,
    future::poll_fn,
    io,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use sockeye_proto::{MessageKind, Part};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use super::{
    core::shared::Shared,
    core::state::SocketState,
    reader::{Reader, ReceiveWait},
};
use crate::Error;

/// A message that is being received: an [`AsyncRead`] and an [`AsyncBufRead`] of its bytes, or
/// [chunks](Self::chunk) of them without a copy.
///
/// It ends where the message does. If the connection ends before, that is an error, never the end: a
/// message that is read to its end is whole. A text is UTF-8 so far as it was read, but for a character
/// that is not complete, and all of it at its end.
///
/// At most some 192 KiB of it are held, however large it is and however slowly it is read: the sender
/// waits. All methods are cancel-safe. Dropped in the middle it costs nothing but time: what is left of
/// the message is discarded as it arrives, and the next one follows.
pub struct MessageReader<'a> {
    rest: Rest,
    /// No other reader exists meanwhile. The destructor does not need the borrow, so that the socket can be
    /// used as soon as this is unused.
    reader: PhantomData<&'a mut Reader>,
}

/// What has not been read of the message.
struct Rest {
    shared: Arc<Shared>,
    /// The message's number.
    number: u32,
    part: Part,
}

impl MessageReader<'_> {
    /// For a reader that is borrowed as long as this lives.
    pub(super) fn new(shared: Arc<Shared>, number: u32, first: Part) -> Self {
        Self { rest: Rest { shared, number, part: first }, reader: PhantomData }
    }

    /// Whether the message is text or binary.
    pub fn kind(&self) -> MessageKind {
        self.rest.part.kind
    }

    /// The next bytes of the message, as they came; `None` at its end.
    ///
    /// # Errors
    ///
    /// When the connection ends, or fails, before the message does.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        let rest = &mut self.rest;
        while rest.wants_part() {
            let mut waiting = ReceiveWait::new(&rest.shared);
            let next = poll_fn(|cx| waiting.poll(cx, SocketState::poll_part)).await;
            drop(waiting);
            if let Err(error) = rest.go_on(next) {
                return Some(Err(error));
            }
        }
        let chunk = std::mem::take(&mut rest.part.payload);
        (!chunk.is_empty()).then_some(Ok(chunk))
    }
}

impl Rest {
    /// Whether all that has arrived was read, and more is to come.
    fn wants_part(&self) -> bool {
        self.part.payload.is_empty() && !self.part.last
    }

    /// Goes on to the next part.
    fn go_on(&mut self, next: Option<Result<Part, Error>>) -> Result<(), Error> {
        self.part = next.unwrap_or(Err(Error::Unfinished))?;
        Ok(())
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if !self.part.last {
            self.shared.skip_parts_of(self.number);
        }
    }
}

impl AsyncBufRead for MessageReader<'_> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let rest = &mut self.get_mut().rest;
        while rest.wants_part() {
            let next = ready!(rest.shared.poll_receive(cx, SocketState::poll_part));
            rest.go_on(next)?;
        }
        Poll::Ready(Ok(&rest.part.payload))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().rest.part.payload.advance(amount);
    }
}

impl AsyncRead for MessageReader<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for MessageReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("kind", &self.kind()).finish_non_exhaustive()
    }
}
