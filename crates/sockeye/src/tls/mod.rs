//! TLS, which makes `wss://` of `ws://`: with [rustls], its provider `aws-lc-rs`, TLS 1.2 and 1.3.
//!
//! A [`Client`](crate::Client) needs nothing of this to open `wss://` URLs: it trusts the
//! certificate authorities that the system trusts, and refuses every certificate that is not for
//! the host. [`ClientTls`] says so otherwise. [`ServerTls`] gives a server its certificate.

mod client;
mod error;
mod hello;
mod pem;
mod pinned;
mod reload;
mod server;
pub(crate) mod unverified;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use rustls;
pub use tokio_rustls::server::TlsStream;

pub use self::{
    client::ClientTls,
    error::TlsError,
    server::{ServerTls, TlsHandshake},
};

/// The cryptography. Asked for by name: a program may have several linked in, and no default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
