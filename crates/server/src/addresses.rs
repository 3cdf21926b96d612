//! Where the address of a client comes from, in a program that does the accepting itself.
//!
//! Limits for each address, that of guessed tokens among them, work only where there is an address. So
//! where one is needed and cannot be known, that is an error: when the channels are built, or of the
//! request.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};

use crate::log::{Class, limited};
use crate::options::ServerOptions;
use crate::peer::Peer;
use crate::problem::{Code, Problem};

type AddressHook = dyn Fn(&Request) -> Option<IpAddr> + Send + Sync;

/// How [`Channels`](crate::Channels) inside another program know the addresses of its clients.
#[derive(Clone)]
#[non_exhaustive]
pub enum ClientAddresses {
    /// They do not. Options that count by address cannot be set then.
    Unknown,
    /// From axum's `ConnectInfo<SocketAddr>`: the program is served with
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    ConnectInfo,
    /// As this function says of a request. `None` is an error of the program where an address is needed.
    Hook(Arc<AddressHook>),
}

impl ClientAddresses {
    /// As a function says of a request, for a program that knows from elsewhere than from
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

/// What is asked for the address of a request that no [`Server`](crate::Server) has received.
#[derive(Debug)]
pub(crate) struct AddressSource {
    pub(crate) addresses: ClientAddresses,
    /// Whether an option needs them.
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
                    Class::Failed,
                    addresses = ?self.addresses,
                    "a request has no address of its client: the program has to tell it"
                );
                let detail = "The server cannot tell where the request comes from.";
                Err(Problem::new(Code::Internal, detail))
            }
            None => Ok(Peer::unknown()),
        }
    }
}

/// The first option that is set and counts by address.
pub(crate) fn needed_for(options: &ServerOptions) -> Option<&'static str> {
    let has_guard = options.auth_key.is_some() && options.max_bad_tokens_per_address.is_some();
    let needing = [
        (options.max_connections_per_address.is_some(), "max_connections_per_address"),
        (options.max_requests_per_address.is_some(), "max_requests_per_address"),
        (has_guard, "max_bad_tokens_per_address (with auth_key)"),
    ];
    needing.into_iter().find_map(|(is_set, name)| is_set.then_some(name))
}
