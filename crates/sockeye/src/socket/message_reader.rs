//! One message, received as a stream.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use sockeye_proto::{MessageKind, Part};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use super::{
    reader::{Reader, Waiting},
    state::State,
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
/// the message is thrown away as it arrives, and the next one comes.
pub struct MessageReader<'a> {
    reader: &'a mut Reader,
    part: Part,
}

impl<'a> MessageReader<'a> {
    pub(super) fn new(reader: &'a mut Reader, first: Part) -> Self {
        Self { reader, part: first }
    }

    /// Whether the message is text or binary.
    pub fn kind(&self) -> MessageKind {
        self.part.kind
    }

    /// The next bytes of the message, as they came; `None` at its end.
    ///
    /// # Errors
    ///
    /// When the connection ends, or fails, before the message does.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        while self.part.payload.is_empty() && !self.part.last {
            let mut waiting = Waiting::new(&self.reader.handle.shared);
            let next = poll_fn(|cx| waiting.poll(cx, State::poll_part)).await;
            drop(waiting);
            if let Err(error) = self.go_on(next) {
                return Some(Err(error));
            }
        }
        let chunk = std::mem::take(&mut self.part.payload);
        (!chunk.is_empty()).then_some(Ok(chunk))
    }

    /// Goes on to the next part.
    fn go_on(&mut self, next: Option<Result<Part, Error>>) -> Result<(), Error> {
        self.part = next.unwrap_or(Err(Error::Unfinished))?;
        Ok(())
    }
}

impl AsyncBufRead for MessageReader<'_> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.part.payload.is_empty() && !this.part.last {
            let next = ready!(this.reader.handle.shared.poll_receive(cx, State::poll_part));
            this.go_on(next)?;
        }
        Poll::Ready(Ok(&this.part.payload))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().part.payload.advance(amount);
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

impl Drop for MessageReader<'_> {
    fn drop(&mut self) {
        if !self.part.last {
            self.reader.handle.shared.skip_parts();
        }
    }
}

impl fmt::Debug for MessageReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader").field("kind", &self.kind()).finish_non_exhaustive()
    }
}
