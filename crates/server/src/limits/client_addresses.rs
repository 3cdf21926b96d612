//! Client addresses in a program with a listener of its own.
//!
//! Limits per address, that of guessed tokens among them, work only where there is an address. Where
//! one is needed and unknown, that is an error: when the channels are built, or of the request.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};

use crate::http::problem::{Code, Problem};
use crate::limits::peer::Peer;
use crate::log::{Class, limited};
use crate::options::ChannelOptions;

type AddressHook = dyn Fn(&Request) -> Option<IpAddr> + Send + Sync;

/// How [`Channels`](crate::Channels) inside another program learn the addresses of its clients.
#[derive(Clone)]
#[non_exhaustive]
pub enum ClientAddresses {
    /// They do not. Options that count by address cannot be set then.
    Unknown,
    /// From axum's `ConnectInfo<SocketAddr>`: the program is served with
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    ConnectInfo,
    /// From this function of a request. `None` is an error of the program where an address is needed.
    Hook(Arc<AddressHook>),
}

/// The address of the client that a request comes from, among the extensions of the request that an
/// [`Authorizer`](crate::Authorizer) is shown: the peer of the connection, or the one that a trusted proxy names.
/// It is not there where no address is known, as for a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddresses {
    /// From a function of a request, for a program that has addresses from elsewhere than
    /// `ConnectInfo`.
    pub fn hook(address: impl Fn(&Request) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        Self::Hook(Arc::new(address))
    }
}

impl fmt::Debug for ClientAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Unknown",
            Self::ConnectInfo => "ConnectInfo",
            Self::Hook(_) => "Hook(_)",
        })
    }
}

/// The source of the address of a request that did not come through a [`Server`](crate::Server).
#[derive(Debug)]
pub(crate) struct AddressSource {
    pub(crate) addresses: ClientAddresses,
    /// Whether an option needs addresses.
    pub(crate) is_needed: bool,
}

impl AddressSource {
    pub(crate) fn peer(&self, request: &Request) -> Result<Peer, Problem> {
        let address = match &self.addresses {
            ClientAddresses::Unknown => None,
            ClientAddresses::ConnectInfo => {
                let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
                info.map(|ConnectInfo(address)| address.ip())
            }
            ClientAddresses::Hook(hook) => hook(request),
        };
        let is_expected = !matches!(self.addresses, ClientAddresses::Unknown);
        match address {
            Some(address) => Ok(Peer::at(address)),
            None if self.is_needed || is_expected => {
                limited!(
                    WARN,
                    Class::NoAddress,
                    addresses = ?self.addresses,
                    "a request has no client address: the program has to provide it"
                );
                let detail = "The server cannot determine the address of the client.";
                Err(Problem::new(Code::Internal, detail))
            }
            None => Ok(Peer::unknown()),
        }
    }
}

/// The first option that is set and counts by address.
pub(crate) fn needed_for(options: &ChannelOptions) -> Option<&'static str> {
    let has_tokens = options.auth_key.is_some() || options.authorizer.is_some();
    let has_guard = has_tokens && options.max_bad_tokens_per_address.is_some();
    let needing = [
        (options.max_connections_per_address.is_some(), "max_connections_per_address"),
        (options.max_requests_per_address.is_some(), "max_requests_per_address"),
        (has_guard, "max_bad_tokens_per_address (with auth_key or an authorizer)"),
    ];
    needing.into_iter().find_map(|(is_set, name)| is_set.then_some(name))
}
