//! The bytes of a WebSocket, shown to a function of the application's as they pass.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::ByteStream;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From this side to the peer.
    Sent,
    /// From the peer to this side.
    Received,
}

/// What is called with the bytes.
type Inspect = dyn Fn(Direction, &[u8]) + Send + Sync;

/// What is shown the bytes.
#[derive(Clone)]
pub(super) struct Inspector(Arc<Inspect>);

impl Inspector {
    pub(super) fn new(inspect: impl Fn(Direction, &[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(inspect))
    }

    /// Shows all that passes on the stream; `read` is what was read of it already.
    pub(super) fn watch(&self, stream: ByteStream, read: &[u8]) -> ByteStream {
        self.show(Direction::Received, read);
        ByteStream::boxed(Inspected { stream, inspector: self.clone() })
    }

    fn show(&self, direction: Direction, bytes: &[u8]) {
        if !bytes.is_empty() {
            (self.0)(direction, bytes);
        }
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inspector")
    }
}

/// A stream whose bytes are shown.
struct Inspected {
    stream: ByteStream,
    inspector: Inspector,
}

impl AsyncRead for Inspected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.inspector.show(Direction::Received, &buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Inspected {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.inspector.show(Direction::Sent, &bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
