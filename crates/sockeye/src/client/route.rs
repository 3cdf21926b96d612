//! The routes from a client to a server: direct, through a proxy, over a Unix socket.

use std::{io, path::PathBuf};

use super::{Address, ConnectError, Proxy, proxy};
use crate::{net::dial::dial, socket::ByteStream};

/// How to connect to a server.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// Through the proxy that the environment names; direct if there is none.
    Environment,
    Direct,
    Proxy(Box<Proxy>),
    Unix(PathBuf),
}

impl Route {
    /// A connection to the server, without TLS yet.
    pub(crate) async fn connect(&self, address: &Address) -> Result<ByteStream, ConnectError> {
        let (host, port) = (address.host(), address.port());
        match self {
            Self::Environment => match proxy::from_environment(address)? {
                Some(proxy) => proxy.connect(&host, port).await,
                None => direct(&address.host_with_zone(), port).await,
            },
            Self::Direct => direct(&address.host_with_zone(), port).await,
            Self::Proxy(proxy) => proxy.connect(&host, port).await,
            Self::Unix(path) => unix(path)
                .await
                .map_err(|error| ConnectError::Connect { host: path.display().to_string(), error }),
        }
    }
}

async fn direct(host: &str, port: u16) -> Result<ByteStream, ConnectError> {
    let stream = dial(host, port).await;
    stream.map(ByteStream::Tcp).map_err(|error| {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        ConnectError::Connect { host: format!("{host}:{port}"), error }
    })
}

#[cfg(unix)]
async fn unix(path: &PathBuf) -> io::Result<ByteStream> {
    tokio::net::UnixStream::connect(path).await.map(ByteStream::boxed)
}

#[cfg(not(unix))]
async fn unix(_path: &PathBuf) -> io::Result<ByteStream> {
    Err(io::ErrorKind::Unsupported.into())
}
