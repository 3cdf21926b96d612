//! One message, sent as a stream.

use std::{
    fmt,
    future::poll_fn,
    io,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use sockeye_proto::{Compression, Fragment, InvalidUtf8, MessageKind, Utf8Validator};
use tokio::io::AsyncWrite;

use super::{core::state::SocketState, handle::Handle, websocket::WebSocket};
use crate::Error;

/// How many bytes of payload a fragment has, unless it is flushed or the last.
const FRAGMENT: usize = 64 << 10;

/// A message that is being sent: an [`AsyncWrite`] of its bytes. [`finish`](Self::finish) ends it, and
/// so does `shutdown`.
///
/// What is written gathers to fragments of 64 KiB; `flush` sends what has gathered. Writing waits when
/// the peer is slow to read, so that some 192 KiB are held at the most. Pings, pongs and Close go
/// between the fragments; other messages on the connection wait until this one has ended. In a text,
/// writing what is not UTF-8 is an error ([`io::ErrorKind::InvalidData`]), and none of it is sent; a
/// character may be cut in two.
///
/// Writing, `flush` and `shutdown` are cancel-safe. Dropped before its end, a message of which something was sent cannot
/// be taken back: the connection is closed with 1011, inside the message, so that the peer does not
/// take what it has for the whole. One of which nothing was sent (nothing flushed, and no more than
/// 64 KiB written) was never there.
pub struct MessageWriter<'a> {
    handle: Handle,
    kind: MessageKind,
    compression: Compression,
    /// What was written and has not gone out.
    buffer: BytesMut,
    utf8: Utf8Validator,
    stage: Stage,
    /// The socket, if this is its only sender.
    socket: PhantomData<&'a mut WebSocket>,
}

/// What the peer knows of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Nothing,
    Begun,
    Ended,
}

impl MessageWriter<'_> {
    /// It may send; other messages wait.
    pub(super) fn new(handle: Handle, kind: MessageKind, compression: Compression) -> Self {
        let (buffer, utf8) = (BytesMut::new(), Utf8Validator::default());
        Self { handle, kind, compression, buffer, utf8, stage: Stage::Nothing, socket: PhantomData }
    }

    /// Whether the message is text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Ends the message, with what was written and has not gone out. It is written when this returns,
    /// or very soon, as with [`send`](WebSocket::send).
    ///
    /// An error, and dropping this future before it is ready, are what dropping the writer is. To go on
    /// after either, end the message with `shutdown` of [`AsyncWrite`], which leaves the writer.
    ///
    /// # Errors
    ///
    /// When a text ends inside a character; when the connection is closing, closed or failed.
    pub async fn finish(mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    fn poll_finish(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        if self.stage == Stage::Ended {
            return Poll::Ready(Ok(()));
        }
        if !self.utf8.is_complete() {
            return Poll::Ready(Err(InvalidUtf8.into()));
        }
        self.poll_fragment(cx, Fragment::Last)
    }

    /// Sends what has gathered as a fragment, when there is room for it.
    fn poll_fragment(&mut self, cx: &Context<'_>, fragment: Fragment) -> Poll<Result<(), Error>> {
        let Self { handle, kind, compression, buffer, stage, .. } = self;
        let queue = |state: &mut SocketState| match state.closed_to_sending() {
            Some(error) => Err(error),
            None => {
                let payload = std::mem::take(buffer).freeze();
                state.queue_fragment(*kind, payload, fragment, *compression)
            }
        };
        ready!(handle.shared.poll_queue(cx, SocketState::has_room_between, queue))?;
        match fragment {
            Fragment::More => *stage = Stage::Begun,
            Fragment::Last => {
                *stage = Stage::Ended;
                handle.shared.wake_others();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MessageWriter<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.stage == Stage::Ended {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, "it has ended")));
        }
        if this.buffer.len() == FRAGMENT {
            ready!(this.poll_fragment(cx, Fragment::More))?;
        }
        let accepted = &bytes[..bytes.len().min(FRAGMENT - this.buffer.len())];
        if this.kind == MessageKind::Text {
            let mut utf8 = this.utf8;
            utf8.update(accepted).map_err(Error::from)?;
            this.utf8 = utf8;
        }
        this.buffer.extend_from_slice(accepted);
        Poll::Ready(Ok(accepted.len()))
    }

    /// Sends what has gathered, and waits until everything is written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.buffer.is_empty() {
            ready!(this.poll_fragment(cx, Fragment::More))?;
        }
        Poll::Ready(Ok(ready!(this.handle.shared.poll_written(cx))?))
    }

    /// Ends the message, and waits until everything is written. The connection stays open.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_finish(cx))?;
        Poll::Ready(Ok(ready!(this.handle.shared.poll_written(cx))?))
    }
}

impl Drop for MessageWriter<'_> {
    fn drop(&mut self) {
        if self.stage != Stage::Ended {
            self.handle.shared.drop_stream(self.stage == Stage::Begun);
        }
    }
}

impl fmt::Debug for MessageWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("kind", &self.kind)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
