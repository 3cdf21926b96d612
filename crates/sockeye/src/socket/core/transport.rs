//! The transport below a WebSocket.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker},
};

#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::peer_addr::PeerAddr;

/// A byte stream that a WebSocket runs over.
pub(crate) enum ByteStream {
    Tcp(TcpStream),
    Boxed(Box<dyn Duplex>),
}

/// Anything that reads and writes bytes.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl ByteStream {
    pub(crate) fn boxed(stream: impl Duplex + 'static) -> Self {
        Self::Boxed(Box::new(stream))
    }

    /// The peer's address, if the stream knows it.
    pub(crate) fn peer_addr(&self) -> Option<PeerAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok().map(PeerAddr::Tcp),
            Self::Boxed(_) => None,
        }
    }

    /// Writes the last bytes before the stream is shut down. Where the system can, they leave in one packet
    /// with the FIN.
    pub(crate) fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        #[cfg(target_os = "linux")]
        if let Self::Tcp(stream) = self {
            use rustix::net::{SendFlags, send};
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            let sent = stream.try_io(Interest::WRITABLE, || Ok(send(&*stream, bytes, flags)?));
            if !matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                return Poll::Ready(sent);
            }
        }
        Pin::new(self).poll_write(cx, bytes)
    }

    /// Whether a read that did not fill its buffer has taken everything.
    pub(crate) fn is_drained_by_short_reads(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Closes the stream for both directions, without waiting for anything.
    pub(crate) fn close(mut self) {
        let Self::Boxed(stream) = &mut self else { return };
        // An in-memory stream may keep its last waker, and with it this connection, until its other end
        // acts: replace it by one that does nothing.
        let cx = &mut Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut *stream).poll_read(cx, &mut ReadBuf::new(&mut [0]));
        // TLS sends close_notify (RFC 8446 §6.1), if the transport takes it at once.
        let _ = Pin::new(stream).poll_shutdown(cx);
    }
}

/// Forwards to the stream, without dynamic dispatch for TCP.
macro_rules! forward {
    ($io:expr, $stream:ident => $call:expr) => {
        match $io.get_mut() {
            ByteStream::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            ByteStream::Boxed(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(stream) => stream.fmt(f),
            Self::Boxed(_) => f.write_str("Boxed"),
        }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Boxed(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_shutdown(cx))
    }
}
