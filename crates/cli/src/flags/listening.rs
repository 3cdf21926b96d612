//! Where a server listens, for `echo` and `listen`.

use std::io::{self, ErrorKind};

use anyhow::{Context, anyhow};
use sockeye::internals;
use tokio::net::TcpListener;

/// Listens on every address that this one means; no thread's runtime has the sockets yet.
///
/// # Errors
///
/// A line that says what to do.
pub(crate) async fn bind(address: &str) -> anyhow::Result<Vec<std::net::TcpListener>> {
    let bound = async {
        let listeners = internals::listen(&internals::lookup(address).await?).await;
        let listeners = listeners.map_err(advised)?;
        let sockets: Result<_, _> = listeners.into_iter().map(TcpListener::into_std).collect();
        anyhow::Ok(sockets?)
    };
    bound.await.with_context(|| format!("cannot listen on {address}"))
}

/// The error with what to do, where that is known.
pub(crate) fn advised(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "{error}: another program has this port: stop it, or give --listen another address"
        ),
        _ => error.into(),
    }
}
