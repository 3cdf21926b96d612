//! From where a request comes.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

/// The other end of the connection that brought a request: whoever connected to this server, which
/// may be a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer(Option<SocketAddr>);

impl Peer {
    /// One that came by TCP from there.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self(Some(address))
    }

    /// One that came by a Unix socket, or in a way that nobody has told.
    pub(crate) fn unknown() -> Self {
        Self(None)
    }

    /// Where a request comes from.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get().copied().unwrap_or_default()
    }

    /// Its address, without the port, if it has one. An IPv4 address that came by IPv6 is an IPv4
    /// address.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.0.map(|address| address.ip().to_canonical())
    }
}

/// The resources, as one connection reaches them.
pub(crate) type Routes = Addressed<TowerToHyperService<Router>>;

/// Tells a service from where its requests come.
#[derive(Clone, Debug)]
pub(crate) struct Addressed<S> {
    pub(crate) peer: Peer,
    pub(crate) service: S,
}

impl<S: Service<hyper::Request<Incoming>>> Service<hyper::Request<Incoming>> for Addressed<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: hyper::Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.peer);
        self.service.call(request)
    }
}
