//! A server's end over a stream that the program has from elsewhere.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    Incoming, PeerAddr, Settings,
    handshake::{Certificates, receive},
};
use crate::{AcceptError, Origins, WebSocket, socket::ByteStream};

/// Answers a request for a WebSocket on this stream: over a TLS library of your choice, vsock, a link
/// in memory.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::Client;
///
/// let (near, far) = tokio::io::duplex(1024);
/// let client = Client::new("ws://in-memory/")?;
/// let (client, server) = tokio::join!(client.open_over(near), sockeye::accept(far));
/// let (mut client, mut server) = (client?.socket, server?);
/// client.send("hello").await?;
/// assert_eq!(server.recv().await.unwrap()?.as_text(), Some("hello"));
/// # Ok(())
/// # }
/// ```
///
/// It is as a [`Server`](super::Server) with its default settings would: any path, no subprotocol, no
/// compression, pages of the same host only, 10 s for the request. [`Incoming::from_stream`] lets you
/// look at the request, and choose.
///
/// # Errors
///
/// [`AcceptError::Refused`] when the request is not in order; the client was told so.
/// [`AcceptError::Io`] when it has left.
pub async fn accept<T>(stream: T) -> Result<WebSocket, AcceptError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Incoming::from_stream(stream, Origins::default()).await?.accept().await
}

impl Incoming {
    /// Reads the request of a client on a stream that the program has from elsewhere. It may take 10 s;
    /// pages that are not of these origins are refused.
    ///
    /// ```no_run
    /// use http::StatusCode;
    /// use sockeye::{AcceptError, DeflateConfig, Incoming, Origins, WebSocket};
    ///
    /// async fn chat(stream: tokio::io::DuplexStream) -> Result<Option<WebSocket>, AcceptError> {
    ///     let incoming = Incoming::from_stream(stream, Origins::SameHost).await?;
    ///     if incoming.path() != "/chat" {
    ///         incoming.refuse(StatusCode::NOT_FOUND, "only /chat is here").await;
    ///         return Ok(None);
    ///     }
    ///     Ok(Some(incoming.deflate(DeflateConfig::default()).accept().await?))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`accept`].
    pub async fn from_stream<T>(stream: T, origins: Origins) -> Result<Self, AcceptError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let settings = Arc::new(Settings { origins, ..Settings::default() });
        let deadline = Instant::now() + settings.handshake_timeout;
        let peer = (PeerAddr::Other, Certificates::default());
        let pending = settings.pending.register();
        receive((ByteStream::boxed(stream), BytesMut::new()), peer, settings, deadline, &pending)
            .await
    }
}
