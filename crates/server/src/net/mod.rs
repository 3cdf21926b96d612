//! Sockets and addresses.
//!
//! - [`io`]: how what goes to many connections is handed to the system.
//! - [`listener`]: addresses to listen on, and what is accepted there.
//! - [`permit`]: the permit of a connection.
//! - [`trusted_proxy`], [`forwarded`], [`proxy_protocol`]: what trusted proxies say of a client.
//! - [`shared_io`]: a connection that a group of readers writes to, too.
//! - [`write_deadline`]: a stream that fails when a write makes no progress for too long.

pub(crate) mod forwarded;
pub(crate) mod head_guard;
pub(crate) mod io;
pub(crate) mod listener;
pub(crate) mod permit;
pub(crate) mod proxy_protocol;
pub(crate) mod shared_io;
pub(crate) mod trusted_proxy;
pub(crate) mod write_deadline;
