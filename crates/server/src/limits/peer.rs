//! Where a request comes from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};

use axum::extract::Request;
use sockeye::internals::Network;

use crate::limits::subjects::SubjectPermit;
use crate::net::permit::{ConnectionPermit, LimitReached};
use crate::net::write_deadline::PeerMarks;

/// The client that a request comes from: the peer of the connection, or the address that a trusted
/// proxy names.
///
/// It holds the permits of the connection: what outlives the request keeps a clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    address: Option<IpAddr>,
    is_unix: bool,
    limit_reached: Option<LimitReached>,
    /// Whether a trusted proxy named the address, for one request.
    is_behind_proxy: bool,
    /// Whether it came by TLS, where the PROXY protocol says that.
    is_secure: Option<bool>,
    /// Of the connection, with what is noted of that: free when the last clone is dropped.
    permit: Option<ConnectionPermit>,
    /// What a client has that does not have its connection to itself, and one whose subject is counted: each connection
    /// keeps a peer.
    shared: Option<Arc<Shared>>,
}

/// What few clients have.
#[derive(Clone, Debug, Default)]
struct Shared {
    // Held, not read: the permits, of the client that shares the connection and of the subject, are free when
    // the last clone is dropped.
    _client_permit: Option<ConnectionPermit>,
    _subject_permit: Option<SubjectPermit>,
    stream: Stream,
    /// On HTTP/2, of the stream.
    marks: Option<PeerMarks>,
}

/// How a request shares its connection.
#[derive(Clone, Debug, Default)]
enum Stream {
    /// It has the connection to itself.
    #[default]
    Alone,
    /// It shares an HTTP/2 connection, on which this many streams are long-lived.
    Shared(Arc<AtomicUsize>),
    /// It is one of the long-lived streams.
    Long { _count: Arc<Counted> },
}

/// A long-lived stream, counted for its connection, with its permit if it has one beside that of the
/// connection.
#[derive(Debug)]
struct Counted {
    streams: Arc<AtomicUsize>,
    _permit: Option<ConnectionPermit>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, AcqRel);
    }
}

impl Peer {
    /// A peer that connected by TCP from there.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self::at(address.ip())
    }

    /// A peer at this address.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self { address: Some(address.to_canonical()), ..Self::default() }
    }

    /// A peer that connected by a Unix socket.
    #[cfg(unix)]
    pub(crate) fn unix() -> Self {
        Self { is_unix: true, ..Self::default() }
    }

    /// A peer about which nothing is known.
    pub(crate) fn unknown() -> Self {
        Self::default()
    }

    /// Adds the permit of the connection.
    pub(crate) fn with_permit(self, permit: ConnectionPermit) -> Self {
        Self { permit: Some(permit), ..self }
    }

    /// Adds the permit of a client that shares the connection.
    pub(crate) fn with_client_permit(mut self, permit: ConnectionPermit) -> Self {
        self.shared_mut()._client_permit = Some(permit);
        self
    }

    /// Adds the permit of what stays open for a subject.
    pub(crate) fn with_subject_permit(mut self, permit: Option<SubjectPermit>) -> Self {
        if permit.is_some() {
            self.shared_mut()._subject_permit = permit;
        }
        self
    }

    /// Adds whether it came by TLS, if a proxy says that.
    pub(crate) fn secure(self, is_secure: Option<bool>) -> Self {
        Self { is_secure, ..self }
    }

    /// Whether the client came to the proxy by TLS, as far as the PROXY protocol says it.
    pub(crate) fn is_secure(&self) -> Option<bool> {
        self.is_secure
    }

    /// Adds the marks of a connection, or of a stream of it.
    pub(crate) fn on(mut self, marks: PeerMarks) -> Self {
        match &self.permit {
            None => self.permit = Some(marks.0),
            Some(permit) if permit.is_same(&marks.0) => {}
            Some(_) => self.shared_mut().marks = Some(marks),
        }
        self
    }

    /// The marks of the connection.
    pub(crate) fn marks(&self) -> PeerMarks {
        self.permit.clone().map(PeerMarks).unwrap_or_default()
    }

    fn shared_mut(&mut self) -> &mut Shared {
        Arc::make_mut(self.shared.get_or_insert_default())
    }

    fn all_marks(&self) -> impl Iterator<Item = PeerMarks> {
        let of_stream = self.shared.as_ref().and_then(|shared| shared.marks.clone());
        self.permit.clone().map(PeerMarks).into_iter().chain(of_stream)
    }

    /// Marks the connection as that of a client with a good token, or of a trusted proxy.
    pub(crate) fn trust(&self) {
        self.all_marks().for_each(|marks| marks.trust());
    }

    /// Whether the connection was given up because the client did not read.
    pub(crate) fn was_given_up(&self) -> bool {
        self.all_marks().any(|marks| marks.was_given_up())
    }

    /// Says which limit is reached.
    pub(crate) fn over_limit(self, limit_reached: LimitReached) -> Self {
        Self { limit_reached: Some(limit_reached), ..self }
    }

    /// The client of the whole connection, as a proxy names it.
    pub(crate) fn connected_for(self, address: IpAddr) -> Self {
        Self { address: Some(address.to_canonical()), is_unix: false, ..self }
    }

    /// The client of this request, as a proxy names it.
    pub(crate) fn speaking_for(self, address: IpAddr) -> Self {
        Self { is_behind_proxy: true, ..self.connected_for(address) }
    }

    /// On a connection that others share.
    pub(crate) fn sharing(mut self) -> Self {
        self.shared_mut().stream = Stream::Shared(Arc::default());
        self
    }

    /// As a long-lived stream: where the connection is shared, `acquire` gives a permit for all such
    /// streams except the first, which has that of the connection.
    pub(crate) fn staying(
        mut self,
        acquire: impl FnOnce(&Self) -> Result<ConnectionPermit, LimitReached>,
    ) -> Result<Self, LimitReached> {
        if let Some(shared) = &self.shared
            && let Stream::Shared(streams) = &shared.stream
        {
            let is_first = streams.fetch_add(1, AcqRel) == 0;
            let mut counted = Counted { streams: Arc::clone(streams), _permit: None };
            if !is_first {
                counted._permit = Some(acquire(&self)?);
            }
            self.shared_mut().stream = Stream::Long { _count: Arc::new(counted) };
        }
        Ok(self)
    }

    /// Whether a trusted proxy named its address, for this request alone.
    pub(crate) fn is_behind_proxy(&self) -> bool {
        self.is_behind_proxy
    }

    /// Where a request comes from.
    pub(crate) fn of(request: &Request) -> Self {
        Self::told(request).unwrap_or_default()
    }

    /// Where a request comes from, if the [`Server`](crate::Server) or the middleware has recorded it.
    pub(crate) fn told(request: &Request) -> Option<Self> {
        request.extensions().get().cloned()
    }

    /// Whether it connected by a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        self.is_unix
    }

    /// Its address, without the port, if it has one. An IPv4 address that came by IPv6 is an IPv4
    /// address.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The address as limits count it.
    pub(crate) fn network(&self) -> Option<Network> {
        self.address.map(Network::from).or(self.is_unix.then_some(Network::Unix))
    }

    /// Which limit is reached, if one is.
    pub(crate) fn limit_reached(&self) -> Option<LimitReached> {
        self.limit_reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each connection keeps one.
    #[test]
    fn a_peer_has_40_bytes() {
        assert!(size_of::<Peer>() <= 40, "{}", size_of::<Peer>());
    }
}
