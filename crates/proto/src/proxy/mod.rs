//! The client's words with a proxy, before the words with the server: HTTP CONNECT (RFC 9110
//! §9.3.6) and SOCKS5 (RFC 1928). Like everything here without I/O: bytes in, bytes out.

mod http;
mod socks5;

pub use self::{
    http::{HttpConnect, HttpConnectError},
    socks5::{InvalidSocks5, Reply, Socks5, Socks5Error, Socks5Target},
};

/// The name and the password that a proxy knows its user by.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name; without a colon for HTTP (RFC 7617 §2).
    pub user: Vec<u8>,
    /// The password.
    pub password: Vec<u8>,
}

impl core::fmt::Debug for Credentials {
    /// Not the password: this ends up in logs.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}
