//! The ways from a client to a server: straight, through a proxy, over a Unix socket.

use std::{io, path::PathBuf};

use crate::{Address, ConnectError, Proxy, dial::dial, proxy, socket::Io};

/// How a server is reached.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// Through the proxy that the environment asks for, straight if there is none.
    Environment,
    Straight,
    Proxy(Box<Proxy>),
    Unix(PathBuf),
}

impl Way {
    /// A connection that leads to the server, without TLS yet.
    pub(crate) async fn reach(&self, address: &Address) -> Result<Io, ConnectError> {
        let (host, port) = (address.host(), address.port());
        match self {
            Self::Environment => match proxy::from_environment(address)? {
                Some(proxy) => proxy.reach(&host, port).await,
                None => straight(&address.host_with_zone(), port).await,
            },
            Self::Straight => straight(&address.host_with_zone(), port).await,
            Self::Proxy(proxy) => proxy.reach(&host, port).await,
            Self::Unix(path) => unix(path)
                .await
                .map_err(|error| ConnectError::Connect { host: path.display().to_string(), error }),
        }
    }
}

async fn straight(host: &str, port: u16) -> Result<Io, ConnectError> {
    let stream = dial(host, port).await;
    stream.map(Io::Tcp).map_err(|error| {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        ConnectError::Connect { host: format!("{host}:{port}"), error }
    })
}

#[cfg(unix)]
async fn unix(path: &PathBuf) -> io::Result<Io> {
    tokio::net::UnixStream::connect(path).await.map(Io::boxed)
}

#[cfg(not(unix))]
async fn unix(_path: &PathBuf) -> io::Result<Io> {
    Err(io::ErrorKind::Unsupported.into())
}
