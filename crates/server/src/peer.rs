//! From where a request comes.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use crate::crowd::{Full, Seat};
use crate::impatient::GivenUp;
use crate::promise::Kept;
use crate::throttle::Network;

/// Who asks: whoever connected to this server, or whom a trusted proxy names.
///
/// It holds the connection's place: what goes on after the request keeps a clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    address: Option<IpAddr>,
    is_unix: bool,
    // Held, not looked at: the places, of the connection and of whoever shares it, are free when the last
    // clone is gone.
    _seat: Option<Seat>,
    _client_seat: Option<Seat>,
    full: Option<Full>,
    /// Whether a trusted proxy named the address, for one request.
    is_behind_proxy: bool,
    /// Whether it came by TLS, where the PROXY protocol says that.
    is_secure: Option<bool>,
    stream: Stream,
    /// Of the connection, and on HTTP/2 of the stream.
    given_up: [Option<GivenUp>; 2],
}

/// How a request shares its connection.
#[derive(Clone, Debug, Default)]
enum Stream {
    /// It has the connection to itself.
    #[default]
    Alone,
    /// It came on a connection of HTTP/2, on which so many streams go on for long.
    Shared(Arc<AtomicUsize>),
    /// It is one of them.
    Long { _count: Arc<Counted> },
}

/// A stream that goes on for long, counted for its connection, and its place if it has one beside that
/// of the connection.
#[derive(Debug)]
struct Counted {
    streams: Arc<AtomicUsize>,
    _seat: Option<Seat>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, AcqRel);
    }
}

impl Peer {
    /// One that came by TCP from there.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self::at(address.ip())
    }

    /// One at this address.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self { address: Some(address.to_canonical()), ..Self::default() }
    }

    /// One that came by a Unix socket.
    #[cfg(unix)]
    pub(crate) fn unix() -> Self {
        Self { is_unix: true, ..Self::default() }
    }

    /// One that came in a way that nobody has told.
    pub(crate) fn unknown() -> Self {
        Self::default()
    }

    /// The same in this place.
    pub(crate) fn seated(self, seat: Seat) -> Self {
        Self { _seat: Some(seat), ..self }
    }

    /// The same, which shares the connection and has this place for itself.
    pub(crate) fn seated_beside(self, seat: Seat) -> Self {
        Self { _client_seat: Some(seat), ..self }
    }

    /// The same, which came by TLS or did not, if a proxy says that.
    pub(crate) fn secure(self, is_secure: Option<bool>) -> Self {
        Self { is_secure, ..self }
    }

    /// Whether it came by TLS to a proxy, as far as that was said when it connected.
    pub(crate) fn is_secure(&self) -> Option<bool> {
        self.is_secure
    }

    /// The same on a connection, or on a stream of it, which is given up when the client does not read.
    pub(crate) fn on(mut self, given_up: GivenUp) -> Self {
        let free = self.given_up.iter_mut().find(|known| known.is_none());
        if let Some(free) = free {
            *free = Some(given_up);
        }
        self
    }

    /// Whether it was given up because it did not read.
    pub(crate) fn was_given_up(&self) -> bool {
        self.given_up.iter().flatten().any(GivenUp::is_set)
    }

    /// The same, for whom there is no place.
    pub(crate) fn without_place(self, full: Full) -> Self {
        Self { full: Some(full), ..self }
    }

    /// The same, of whom a proxy says that the whole connection is from there.
    pub(crate) fn connected_for(self, address: IpAddr) -> Self {
        Self { address: Some(address.to_canonical()), is_unix: false, ..self }
    }

    /// The same, of whom a proxy says that this request is from there.
    pub(crate) fn speaking_for(self, address: IpAddr) -> Self {
        Self { is_behind_proxy: true, ..self.connected_for(address) }
    }

    /// The same on a connection that others share.
    pub(crate) fn sharing(self) -> Self {
        Self { stream: Stream::Shared(Arc::default()), ..self }
    }

    /// The same, going on for long: where the connection is shared, `take_place` gives a place for all
    /// such streams but the first, which has that of the connection.
    pub(crate) fn staying(
        mut self,
        take_place: impl FnOnce(&Self) -> Result<Seat, Full>,
    ) -> Result<Self, Full> {
        if let Stream::Shared(streams) = &self.stream {
            let is_first = streams.fetch_add(1, AcqRel) == 0;
            let mut counted = Counted { streams: Arc::clone(streams), _seat: None };
            if !is_first {
                counted._seat = Some(take_place(&self)?);
            }
            self.stream = Stream::Long { _count: Arc::new(counted) };
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

    /// Where a request comes from, if the [`Server`](crate::Server) or the guard has told.
    pub(crate) fn told(request: &Request) -> Option<Self> {
        request.extensions().get().cloned()
    }

    /// Whether it came by a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        self.is_unix
    }

    /// Its address, without the port, if it has one. An IPv4 address that came by IPv6 is an IPv4
    /// address.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The same as limits count it.
    pub(crate) fn network(&self) -> Option<Network> {
        self.address.map(Network::from).or(self.is_unix.then_some(Network::Unix))
    }

    /// Why it has no place, if it has none.
    pub(crate) fn full(&self) -> Option<Full> {
        self.full
    }
}

/// The resources, as one connection reaches them.
pub(crate) type Routes = Addressed<TowerToHyperService<Router>>;

/// Tells a service from where its requests come, and has its promises kept.
#[derive(Clone, Debug)]
pub(crate) struct Addressed<S> {
    pub(crate) peer: Peer,
    pub(crate) service: S,
}

impl<S> Service<hyper::Request<Incoming>> for Addressed<S>
where
    S: Service<hyper::Request<Incoming>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Kept<S::Future>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        Kept::new(self.service.call(request))
    }
}
