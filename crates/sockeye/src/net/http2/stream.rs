//! An HTTP/2 stream as a byte stream.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::FRAME;

/// Both directions of a stream. Dropped before its end it is reset, as a TCP connection would be.
#[derive(Debug)]
pub(crate) struct Http2Stream {
    /// Shows a server that a stream of its connection is in use.
    _in_use: Option<Arc<()>>,
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// What was received and not read yet.
    unread: Bytes,
    /// Whether the peer has ended its direction.
    has_received_end: bool,
    /// Whether this end has ended its own.
    has_sent_end: bool,
}

impl Http2Stream {
    pub(crate) fn new(
        send: SendStream<Bytes>,
        receive: RecvStream,
        in_use: Option<Arc<()>>,
    ) -> Self {
        Self {
            _in_use: in_use,
            send,
            receive,
            unread: Bytes::new(),
            has_received_end: false,
            has_sent_end: false,
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.has_sent_end, true) {
            self.send.send_data(Bytes::new(), true).map_err(io_error)?;
        }
        Ok(())
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(data)) => self.unread = data,
                // RFC 9113 §8.1: a server that has sent its whole answer may stop reading.
                Some(Err(error)) if error.reason() != Some(Reason::NO_ERROR) => {
                    return Poll::Ready(Err(io_error(error)));
                }
                Some(Err(_)) | None => {
                    self.has_received_end = true;
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        if self.unread.is_empty() {
            // It may be a part of a large buffer, which it keeps.
            self.unread = Bytes::new();
        }
        self.receive.flow_control().release_capacity(count).map_err(io_error)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    /// Writes as much as fits into one DATA frame, and as the peer gives room for.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = slices.iter().map(|slice| slice.len()).sum::<usize>().min(FRAME);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(wanted);
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(room) => room.map_err(io_error)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let frame = gather(slices, wanted.min(self.send.capacity()));
        let count = frame.len();
        self.send.send_data(frame, false).map_err(io_error)?;
        // Room that is kept and not used is taken from the other streams.
        self.send.reserve_capacity(0);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.end())
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if self.has_received_end {
            // If it fails then the stream is at its end anyway.
            let _ = self.end();
        } else if !self.has_sent_end {
            self.send.send_reset(Reason::CANCEL);
        }
        // A stream that this end alone has ended is reset by h2, behind what was sent: by a server
        // with NO_ERROR, which takes nothing from the client (RFC 9113 §8.1).
    }
}

/// The first `count` bytes of the slices, in one piece.
pub(super) fn gather(slices: &[io::IoSlice<'_>], count: usize) -> Bytes {
    let mut gathered = Vec::with_capacity(count);
    for slice in slices {
        let missing = count - gathered.len();
        gathered.extend_from_slice(&slice[..missing.min(slice.len())]);
    }
    gathered.into()
}

/// An error of HTTP/2 as one of a transport.
pub(crate) fn io_error(error: h2::Error) -> io::Error {
    if error.is_reset() {
        return io::Error::new(io::ErrorKind::ConnectionReset, error);
    }
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into());
    }
    io::Error::other(error)
}
