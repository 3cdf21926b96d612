//! How much of the server one address may use, and the server as a whole.
//!
//! - [`rate`]: requests and invalid tokens per address; beyond the rate they are refused.
//! - [`pace`]: publications and commands; beyond the rate they are read later.
//! - [`subjects`]: what one subject has open.
//! - [`peer`]: where a request comes from, and the permits it holds.
//! - [`client_addresses`]: client addresses in a program with a listener of its own.

pub(crate) mod client_addresses;
pub(crate) mod debts;
pub(crate) mod pace;
pub(crate) mod peer;
pub(crate) mod rate;
pub(crate) mod subjects;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::extract::Request;
use http::header::RETRY_AFTER;
use sockeye::internals::{Pending, PendingConnections, defaults};

use crate::auth::Caller;
use crate::http::problem::{Code, Problem};
use crate::limits::client_addresses::AddressSource;
use crate::limits::peer::Peer;
use crate::limits::rate::RateLimiter;
use crate::limits::subjects::{SubjectFull, SubjectPermit, Subjects};
use crate::net::forwarded::{self, ForwardedOrigin, Source, WarnedSources};
use crate::net::permit::{ConnectionLimiter, LimitReached};
use crate::net::proxy_protocol::Announced;
use crate::net::trusted_proxy::{self, TrustedProxy};
use crate::options::ChannelOptions;

/// Where a request comes from, before it has a permit of its own.
#[derive(Debug)]
pub(crate) struct Requester {
    peer: Peer,
    pub(crate) front: ForwardedOrigin,
    needs_permit: bool,
    /// Whether it came through a listener that the server does not count.
    is_uncounted: bool,
}

impl Requester {
    /// The address of the client, if it is known.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.peer.address()
    }
}

/// The limits of one server.
#[derive(Debug)]
pub(crate) struct Limits {
    connections: ConnectionLimiter,
    pending: PendingConnections,
    /// Connections over a limit, which are refused when they have sent their request.
    refused: PendingConnections,
    trusted: Vec<TrustedProxy>,
    told: WarnedSources,
    addresses: AddressSource,
    requests: RateLimiter,
    bad_tokens: RateLimiter,
    subjects: Subjects,
}

impl Limits {
    pub(crate) fn new(options: &ChannelOptions, addresses: AddressSource) -> Self {
        Self {
            connections: ConnectionLimiter::new(
                options.max_connections,
                options.max_connections_per_address,
            ),
            pending: PendingConnections::default(),
            refused: PendingConnections::default(),
            trusted: options.trust_proxy.clone(),
            told: WarnedSources::default(),
            addresses,
            requests: RateLimiter::new(options.max_requests_per_address),
            bad_tokens: RateLimiter::new(options.max_bad_tokens_per_address),
            subjects: Subjects::new(options.max_connections_per_subject),
        }
    }

    /// Applies the options that can change while the server runs.
    pub(crate) fn reload(&self, options: &ChannelOptions) {
        self.requests.set(options.max_requests_per_address);
        self.bad_tokens.set(options.max_bad_tokens_per_address);
    }

    /// A permit for a connection, if need be that of a pending one; `None` if the connection is to be
    /// closed without a response. A connection from a trusted proxy counts for no address: it brings
    /// requests of many clients, which are counted themselves.
    pub(crate) fn receive(&self, peer: Peer) -> Option<(Peer, Pending)> {
        let network = peer.network().filter(|_| !self.is_proxy(&peer));
        match self.connections.acquire(network, || self.pending.evict_oldest()) {
            Ok(permit) => Some((peer.with_permit(permit.into()), self.pending.register())),
            Err(full) => {
                let permit =
                    self.connections.acquire_for_refusal(|| self.refused.evict_oldest())?;
                Some((peer.over_limit(full).with_permit(permit.into()), self.refused.register()))
            }
        }
    }

    /// How many addresses owe for requests, and for invalid tokens.
    pub(crate) fn indebted(&self) -> usize {
        self.requests.len() + self.bad_tokens.len()
    }

    /// The connections that can be evicted: without a complete request yet, idle, or lingering.
    pub(crate) fn pending(&self) -> &PendingConnections {
        &self.pending
    }

    /// How many connections there are, may be, and were refused.
    pub(crate) fn connections(&self) -> &ConnectionLimiter {
        &self.connections
    }

    /// The peer of a connection from a trusted proxy, as the PROXY protocol names it. The connection
    /// counts for that address.
    pub(crate) fn announced(&self, proxy: Peer, announced: Announced) -> Peer {
        let proxy = proxy.secure(announced.is_secure);
        match announced.client {
            Some(client) => self.with_client_permit(proxy.connected_for(client)),
            None => proxy,
        }
    }

    /// Where the request comes from, and where the client sent it to.
    ///
    /// # Errors
    ///
    /// Where an address is needed and unknown.
    pub(crate) fn requester(&self, request: &Request) -> Result<Requester, Problem> {
        let told = Peer::told(request);
        let has_permit = told.is_some();
        let peer = told.map_or_else(|| self.addresses.peer(request), Ok)?;
        let needs_permit = peer.limit_reached().is_none() && (!has_permit || self.is_proxy(&peer));
        let announced = ForwardedOrigin { is_secure: peer.is_secure(), host: None };
        let (client, front) = match self.is_proxy(&peer) {
            true => forwarded::read(&self.trusted, request.headers(), &self.told),
            false => (None, ForwardedOrigin::default()),
        };
        let peer = match client {
            Some(client) => peer.speaking_for(client),
            None => peer,
        };
        let front = ForwardedOrigin { is_secure: front.is_secure.or(announced.is_secure), ..front };
        Ok(Requester { peer, front, needs_permit, is_uncounted: !has_permit })
    }

    /// Behind a trusted proxy, and in a program with a listener of its own, each request takes a
    /// permit, for as long as what it opens is open.
    pub(crate) fn with_permit(&self, requester: Requester) -> Peer {
        match requester {
            Requester { needs_permit: false, peer, .. } => peer,
            Requester { is_uncounted: false, peer, .. } => self.with_client_permit(peer),
            Requester { peer, .. } => self.with_connection_permit(peer),
        }
    }

    /// Counts as a connection for as long as the request, and what it opens, lasts.
    fn with_connection_permit(&self, peer: Peer) -> Peer {
        let network = peer.network().filter(|_| !self.is_proxy(&peer));
        match self.connections.acquire(network, || false) {
            Ok(permit) => peer.with_permit(permit.into()),
            Err(full) => peer.over_limit(full),
        }
    }

    fn with_client_permit(&self, peer: Peer) -> Peer {
        match self.connections.acquire_client(peer.network().filter(|_| !self.is_proxy(&peer))) {
            Ok(permit) => peer.with_client_permit(permit.into()),
            Err(full) => peer.over_limit(full),
        }
    }

    /// Warns once that a trusted proxy sends no readable PROXY header.
    pub(crate) fn unannounced(&self, error: &io::Error) {
        self.told.unreadable(Source::ProxyProtocol, &error.to_string());
    }

    /// A permit for what stays open: a WebSocket, a stream, a long poll. Over HTTP/1.1 that is the
    /// permit of the connection; over HTTP/2 the first one has that, and each other takes one.
    ///
    /// Each counts for the caller's subject.
    pub(crate) fn stay(&self, peer: Peer, caller: &Caller) -> Result<Peer, Problem> {
        let of_subject = self.of_subject(caller)?;
        let acquire = |peer: &Peer| {
            // Behind a proxy the request has counted for its address.
            let network =
                peer.network().filter(|_| !peer.is_behind_proxy() && !self.is_proxy(peer));
            self.connections.acquire(network, || self.pending.evict_oldest()).map(Into::into)
        };
        Ok(peer.staying(acquire).map_err(limit_reached)?.with_subject_permit(of_subject))
    }

    /// A permit for one more that the caller's subject has open, where that is limited.
    pub(crate) fn of_subject(&self, caller: &Caller) -> Result<Option<SubjectPermit>, Problem> {
        self.subjects.acquire(caller.subject()).map_err(|SubjectFull| {
            let detail = "Too many connections of this subject: close some.";
            come_again(Problem::new(Code::TooMany, detail), defaults::RETRY_AFTER)
        })
    }

    /// Allows a request if its connection has a permit and its address is within the rate.
    pub(crate) fn check_request(&self, peer: &Peer) -> Result<(), Problem> {
        if let Some(full) = peer.limit_reached() {
            return Err(limit_reached(full).and_close());
        }
        let Some(network) = peer.network() else { return Ok(()) };
        self.requests.take(network).map_err(|wait| {
            let detail = "Too many requests from this address: send fewer.";
            come_again(Problem::new(Code::TooMany, detail), wait)
        })
    }

    /// Turns repeated authentication failures from one address into 429. Requests with a valid token
    /// are not affected, whatever others at the same address do.
    pub(crate) fn refused(&self, problem: Problem, peer: &Peer) -> Problem {
        let wait = match (problem.code(), peer.network()) {
            (Code::Unauthorized, Some(network)) => self.bad_tokens.take(network),
            _ => Ok(()),
        };
        match wait {
            Ok(()) => problem,
            Err(wait) => {
                let detail = "Too many invalid tokens from this address: try again later.";
                come_again(Problem::new(Code::TooMany, detail), wait).and_close()
            }
        }
    }

    /// Whether the peer is a trusted proxy.
    pub(crate) fn is_proxy(&self, peer: &Peer) -> bool {
        trusted_proxy::is_trusted(&self.trusted, peer.address(), peer.is_unix())
    }
}

/// The response at a limit.
fn limit_reached(full: LimitReached) -> Problem {
    let problem = match full {
        LimitReached::Server => {
            let detail = "The server has reached its connection limit: try again later.";
            Problem::new(Code::Unavailable, detail)
        }
        LimitReached::Address => {
            let detail = "Too many connections from this address: close some.";
            Problem::new(Code::TooMany, detail)
        }
    };
    come_again(problem, defaults::RETRY_AFTER)
}

/// Adds `Retry-After`, in whole seconds (RFC 9110 §10.2.3).
pub(crate) fn come_again(problem: Problem, after: Duration) -> Problem {
    let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
    problem.with_header(RETRY_AFTER, seconds.into())
}
