//! Which connection a handle is of, and where its peer is.

use super::{
    core::{connection_id::ConnectionId, peer_addr::PeerAddr},
    reader::Reader,
    weak_writer::WeakWriter,
    websocket::WebSocket,
    writer::Writer,
};

impl WebSocket {
    /// Which connection this is, for [`Connections`](crate::Connections) and your own registers.
    pub fn id(&self) -> ConnectionId {
        self.writer.id()
    }

    /// Where the peer is: the address that the transport leads to, which may be a proxy's. `None` where
    /// that is not known: over a stream of the program's own, or of an HTTP server that keeps the socket
    /// to itself, as over HTTP/2. It is still told when the connection has ended.
    pub fn peer_addr(&self) -> Option<PeerAddr> {
        self.writer.peer_addr()
    }

    /// A writer that does not keep the connection open.
    pub fn weak_writer(&self) -> WeakWriter {
        self.writer.downgrade()
    }
}

impl Reader {
    /// Which connection this is of; as [`WebSocket::id`].
    pub fn id(&self) -> ConnectionId {
        self.handle.shared.id
    }

    /// Where the peer is; as [`WebSocket::peer_addr`].
    pub fn peer_addr(&self) -> Option<PeerAddr> {
        self.handle.shared.peer.told()
    }
}

impl Writer {
    /// Which connection this is of; as [`WebSocket::id`].
    pub fn id(&self) -> ConnectionId {
        self.handle.shared.id
    }

    /// Where the peer is; as [`WebSocket::peer_addr`].
    pub fn peer_addr(&self) -> Option<PeerAddr> {
        self.handle.shared.peer.told()
    }

    /// A writer that does not keep the connection open.
    pub fn downgrade(&self) -> WeakWriter {
        WeakWriter::new(&self.handle)
    }
}
