//! WebSockets without a handshake: over a stream that another library has upgraded, and in memory.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use sockeye_proto::{Config, Connection};
use tokio::io::{AsyncRead, AsyncWrite, duplex};

use super::{
    core::shared::{Agreed, Shared},
    core::transport::ByteStream,
    websocket::WebSocket,
};
use crate::random;

/// How many bytes a link in memory takes before its other end has to read.
const PAIR_BUFFER: usize = 64 << 10;

/// Which end of a connection this is. The client masks what it sends (RFC 6455 §5.3), and it is the
/// server that ends the transport first (RFC 6455 §7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that has asked for the WebSocket.
    Client,
    /// The end that has agreed to it.
    Server,
}

impl WebSocket {
    /// A WebSocket over a stream on which the handshake is done: for HTTP servers and clients that are
    /// not made with hyper, and do it themselves. It has no subprotocol and no compression.
    ///
    /// ```
    /// use sockeye::{Config, Role, WebSocket};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (near, far) = tokio::io::duplex(1024);
    /// let mut client = WebSocket::from_upgraded(near, Role::Client, Config::default());
    /// let mut server = WebSocket::from_upgraded(far, Role::Server, Config::default());
    /// client.send("hello").await?;
    /// assert_eq!(server.recv().await.unwrap()?.as_text(), Some("hello"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The stream begins with the first frame. Where something of that was read together with the
    /// handshake, give it back first:
    /// `tokio::io::join(already_read.chain(reading_half), writing_half)`.
    ///
    /// A stream without a handshake goes to [`accept`](crate::accept) or
    /// [`Client::open_over`](crate::Client::open_over); a request of hyper's to
    /// [`Upgrade`](crate::Upgrade).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn from_upgraded<T>(stream: T, role: Role, config: impl Into<Arc<Config>>) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let now = Duration::ZERO;
        let connection = match role {
            Role::Client => Connection::client(config, Box::new(random::mask_key), now),
            Role::Server => Connection::server(config, now),
        };
        let agreed = Agreed { subprotocol: None, deflate: None, peer: None };
        Self::new(Shared::new(ByteStream::boxed(stream), connection, BytesMut::new(), agreed))
    }

    /// Both ends of a connection in memory, the client's first: for tests of what speaks over a
    /// WebSocket, without sockets and ports. Between them are 64 KiB in each direction.
    ///
    /// ```
    /// use sockeye::{Config, WebSocket};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut client, mut server) = WebSocket::pair(Config::default());
    /// client.send("ping?").await?;
    /// assert_eq!(server.recv().await.unwrap()?.as_text(), Some("ping?"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn pair(config: impl Into<Arc<Config>>) -> (Self, Self) {
        let config = config.into();
        let (near, far) = duplex(PAIR_BUFFER);
        let client = Self::from_upgraded(near, Role::Client, config.clone());
        (client, Self::from_upgraded(far, Role::Server, config))
    }
}
