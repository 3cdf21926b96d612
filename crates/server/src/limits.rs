//! How much of the server one address may have, and the server as a whole: connections, requests,
//! and tokens that are not good.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::extract::Request;
use http::header::RETRY_AFTER;
use sockeye::internals::{Pending, PendingConnections};

use crate::addresses::AddressSource;
use crate::crowd::{Crowd, Full};
use crate::forwarded::{self, Front, Source, Told};
use crate::options::ServerOptions;
use crate::peer::Peer;
use crate::problem::{Code, Problem};
use crate::proxy::{self, TrustedProxy};
use crate::proxy_protocol::Announced;
use crate::throttle::Throttle;

/// When those who found no place may come again.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// Whose request it is, before it has a place.
#[derive(Debug)]
pub(crate) struct Asker {
    peer: Peer,
    pub(crate) front: Front,
    needs_place: bool,
}

impl Asker {
    /// Its address, if it has one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.peer.address()
    }
}

/// The limits of one server.
#[derive(Debug)]
pub(crate) struct Limits {
    crowd: Crowd,
    pending: PendingConnections,
    /// Those that are told that there is no place, when they have sent their request.
    refused: PendingConnections,
    trusted: Vec<TrustedProxy>,
    told: Told,
    addresses: AddressSource,
    requests: Throttle,
    bad_tokens: Throttle,
}

impl Limits {
    pub(crate) fn new(options: &ServerOptions, addresses: AddressSource) -> Self {
        Self {
            crowd: Crowd::new(options.max_connections, options.max_connections_per_address),
            pending: PendingConnections::default(),
            refused: PendingConnections::default(),
            trusted: options.trust_proxy.clone(),
            told: Told::default(),
            addresses,
            requests: Throttle::new(options.max_requests_per_address),
            bad_tokens: Throttle::new(options.max_bad_tokens_per_address),
        }
    }

    /// Takes over what can change while the server runs.
    pub(crate) fn reload(&self, options: &ServerOptions) {
        self.requests.set(options.max_requests_per_address);
        self.bad_tokens.set(options.max_bad_tokens_per_address);
    }

    /// Takes a place for a connection, that of a pending one if need be; `None` if it is to be cut off
    /// without a word. One from a trusted proxy counts for no address: it brings many, and who they
    /// are is told by their requests.
    pub(crate) fn receive(&self, peer: Peer) -> Option<(Peer, Pending)> {
        let network = peer.network().filter(|_| !self.is_proxy(&peer));
        match self.crowd.admit(network, || self.pending.evict_oldest()) {
            Ok(seat) => Some((peer.seated(seat), self.pending.register())),
            Err(full) => {
                let seat = self.crowd.refuse(|| self.refused.evict_oldest())?;
                Some((peer.without_place(full).seated(seat), self.refused.register()))
            }
        }
    }

    /// The connections that have a place and have not sent a request yet.
    pub(crate) fn pending(&self) -> &PendingConnections {
        &self.pending
    }

    /// How many connections there are, may be, and were refused.
    pub(crate) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// A connection of a trusted proxy, as the PROXY protocol says who it is for. It counts for the
    /// address of that one.
    pub(crate) fn announced(&self, proxy: Peer, announced: Announced) -> Peer {
        let proxy = proxy.secure(announced.is_secure);
        match announced.client {
            Some(client) => self.seat_beside(proxy.connected_for(client)),
            None => proxy,
        }
    }

    /// Who asks, and where the client sent its request to.
    ///
    /// # Errors
    ///
    /// Where an address is needed and there is none.
    pub(crate) fn who_asks(&self, request: &Request) -> Result<Asker, Problem> {
        let told = Peer::told(request);
        let has_place = told.is_some();
        let peer = told.map_or_else(|| self.addresses.peer(request), Ok)?;
        let needs_place = peer.full().is_none() && (!has_place || self.is_proxy(&peer));
        let announced = Front { is_secure: peer.is_secure(), host: None };
        let (peer, front) = match self.is_proxy(&peer) {
            true => forwarded::read(&self.trusted, peer, request.headers(), &self.told),
            false => (peer, Front::default()),
        };
        let front = Front { is_secure: front.is_secure.or(announced.is_secure), ..front };
        Ok(Asker { peer, front, needs_place })
    }

    /// Behind a trusted proxy, and in a program that does the accepting, each request takes a place of
    /// its own, for as long as what it opens goes on.
    pub(crate) fn seat(&self, asker: Asker) -> Peer {
        match asker.needs_place {
            true => self.seat_beside(asker.peer),
            false => asker.peer,
        }
    }

    fn seat_beside(&self, peer: Peer) -> Peer {
        match self.crowd.admit_client(peer.network().filter(|_| !self.is_proxy(&peer))) {
            Ok(seat) => peer.seated_beside(seat),
            Err(full) => peer.without_place(full),
        }
    }

    /// Tells once that a trusted proxy does not say who it connects for.
    pub(crate) fn unannounced(&self, error: &io::Error) {
        self.told.unreadable(Source::ProxyProtocol, &error.to_string());
    }

    /// Takes a place for what goes on for long: a WebSocket, a stream, a parked poll. On a connection of
    /// its own it has that of the connection; on HTTP/2 the first has that, and each other one takes one.
    pub(crate) fn stay(&self, peer: Peer) -> Result<Peer, Problem> {
        let take_place = |peer: &Peer| {
            // Behind a proxy the request has counted for its address.
            let network =
                peer.network().filter(|_| !peer.is_behind_proxy() && !self.is_proxy(peer));
            self.crowd.admit(network, || self.pending.evict_oldest())
        };
        peer.staying(take_place).map_err(no_place)
    }

    /// Lets a request pass, if its connection has a place and there were not too many before it.
    pub(crate) fn admit(&self, peer: &Peer) -> Result<(), Problem> {
        if let Some(full) = peer.full() {
            return Err(no_place(full).and_close());
        }
        let Some(network) = peer.network() else { return Ok(()) };
        self.requests.take(network).map_err(|wait| {
            let detail = "There are too many requests from this address: send fewer.";
            come_again(Problem::new(Code::TooMany, detail), wait)
        })
    }

    /// What one gets who has shown no good token: the problem, or another if that has been so too
    /// often. Who has a good one is not concerned, whatever others at the same address do.
    pub(crate) fn refused(&self, problem: Problem, peer: &Peer) -> Problem {
        let wait = match (problem.code(), peer.network()) {
            (Code::Unauthorized, Some(network)) => self.bad_tokens.take(network),
            _ => Ok(()),
        };
        match wait {
            Ok(()) => problem,
            Err(wait) => {
                let detail = "There are too many bad tokens from this address: get a good one.";
                come_again(Problem::new(Code::TooMany, detail), wait).and_close()
            }
        }
    }

    /// Whether it is a proxy that is believed.
    pub(crate) fn is_proxy(&self, peer: &Peer) -> bool {
        proxy::is_trusted(&self.trusted, peer)
    }
}

/// What is answered where there is no place.
fn no_place(full: Full) -> Problem {
    let problem = match full {
        Full::Server => {
            let detail = "The server has as many connections as it takes: come again later.";
            Problem::new(Code::Unavailable, detail)
        }
        Full::Address => {
            let detail = "There are too many connections from this address: close some.";
            Problem::new(Code::TooMany, detail)
        }
    };
    come_again(problem, COME_AGAIN)
}

/// The problem with the time after which it may be gone, in whole seconds (RFC 9110 §10.2.3).
pub(crate) fn come_again(problem: Problem, after: Duration) -> Problem {
    let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
    problem.with_header(RETRY_AFTER, seconds.into())
}
