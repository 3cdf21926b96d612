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
    /// A server's end of TLS, over a socket.
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::server::TlsStream<Self>>),
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
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.get_ref().0.peer_addr(),
            Self::Boxed(_) => None,
        }
    }

    /// Writes the last bytes before the stream is shut down. Where the system can, they leave in one packet
    /// with the FIN; over TLS with close_notify, when the stream is shut down.
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
        #[cfg(feature = "tls")]
        if let Self::Tls(stream) = self {
            let taken = io::Write::write(&mut stream.get_mut().1.writer(), bytes);
            if !matches!(taken, Ok(0)) {
                return Poll::Ready(taken);
            }
        }
        Pin::new(self).poll_write(cx, bytes)
    }

    /// Flushes the last bytes, unless that is done when the stream is shut down.
    pub(crate) fn poll_flush_last(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(_) => Poll::Ready(Ok(())),
            _ => Pin::new(self).poll_flush(cx),
        }
    }

    /// Whether a read that did not fill its buffer has taken everything.
    pub(crate) fn is_drained_by_short_reads(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Closes the stream for both directions, without waiting for anything.
    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "only TLS is told once"))]
    pub(crate) fn close(mut self, is_shut_down: bool) {
        let stream = match &mut self {
            Self::Tcp(_) => return,
            #[cfg(feature = "tls")]
            Self::Tls(_) if is_shut_down => return,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                let _ = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
                return;
            }
            Self::Boxed(stream) => stream,
        };
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
            #[cfg(feature = "tls")]
            ByteStream::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
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
            #[cfg(feature = "tls")]
            Self::Tls(_) => f.write_str("Tls"),
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
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.is_write_vectored(),
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

#[cfg(all(test, feature = "tls"))]
mod tests {
    use futures_util::FutureExt as _;
    use rcgen::{CertificateParams, KeyPair};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::{ClientTls, ServerTls};

    #[tokio::test]
    async fn the_last_bytes_over_tls_leave_with_close_notify() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let tls = ServerTls::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes());
        let config = ClientTls::new().danger_accept_invalid_certificates().to_config().await;
        let (near, far) = duplex(64 << 10);
        let connects = TlsConnector::from(config.unwrap());
        let connects = connects.connect("localhost".try_into().unwrap(), far);
        let tls = tls.unwrap();
        let (server, client) = tokio::join!(tls.accept(ByteStream::boxed(near)), connects);
        let (mut stream, mut client) =
            (ByteStream::Tls(Box::new(server.unwrap())), client.unwrap());

        let cx = &mut Context::from_waker(Waker::noop());
        assert!(matches!(stream.poll_write_last(cx, b"last"), Poll::Ready(Ok(4))));
        assert!(stream.poll_flush_last(cx).is_ready());
        let mut received = Vec::new();
        assert!(client.read_to_end(&mut received).now_or_never().is_none());
        assert_eq!(received, b"");
        stream.shutdown().await.unwrap();
        client.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"last");
    }
}
