//! Between a listening socket and a connection that has sent its request: what an error of accept(2)
//! means, which connections end first when places are scarce, and how many TLS handshakes run.
//!
//! [`Server`](crate::Server) uses it, and so does the crate `sockeye-server`.

mod accept;
mod descriptors;
mod handshakes;
mod listen;
mod peer_addr;
mod pending;

pub use self::{
    accept::{Acceptor, Incomings, evict, refuse},
    descriptors::{max_connections, raise_limit, reserve, share_of_reserve},
    handshakes::Handshakes,
    listen::{listen, lookup},
    peer_addr::PeerAddr,
    pending::{Pending, PendingConnections},
};
