//! Evicting a connection for another.

use futures_util::FutureExt;
use sockeye::internals::evict;
use sockeye::tls::TlsStream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::conn::early::NO_PLACE;

/// A connection that can be evicted.
pub(crate) trait Evict: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Closes the connection at once, for its descriptor may be needed. A client that waits for a
    /// response is told why; whether it waits follows from `has_begun`, or from what has arrived.
    fn evict(self, has_begun: bool);
}

impl Evict for TcpStream {
    fn evict(self, has_begun: bool) {
        let _ = self.into_std().map(|stream| evict(stream, has_begun, NO_PLACE));
    }
}

#[cfg(unix)]
impl Evict for UnixStream {
    fn evict(self, has_begun: bool) {
        let _ = self.into_std().map(|stream| evict(stream, has_begun, NO_PLACE));
    }
}

impl Evict for TlsStream<TcpStream> {
    fn evict(mut self, has_begun: bool) {
        let ends = async {
            if has_begun {
                self.write_all(NO_PLACE).await?;
            }
            // With the closing alert of TLS (RFC 8446 §6.1).
            self.shutdown().await
        };
        // A client that does not read it at once goes without.
        let _ = ends.now_or_never();
    }
}

#[cfg(test)]
impl Evict for tokio::io::DuplexStream {
    fn evict(mut self, has_begun: bool) {
        if has_begun {
            let _ = self.write_all(NO_PLACE).now_or_never();
        }
    }
}
