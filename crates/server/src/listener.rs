//! Listening sockets, TCP and Unix.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sockeye_hub::store::OpenError;
use tokio::net::{TcpListener, TcpStream, lookup_host};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

use crate::log::{Class, limited};
use crate::options::Listen;

/// How long to wait before accepting again when the process has run out of file descriptors.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// An address and a port, with TLS.
    Tls(SocketAddr),
    /// A Unix domain socket at this path.
    Unix(PathBuf),
}

impl LocalAddress {
    /// The socket address, unless it is a Unix domain socket.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Tls(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Tls(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a server did not come to listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address can be reached from other machines, and nothing would keep anybody out.
    #[error(
        "{0} is not a loopback address, and everybody who reaches it could read and write every \
         channel: give --auth-key, or --open if that is what you want"
    )]
    Exposed(Listen),
    /// The address is none, is in use, or may not be used.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address as it was given.
        address: Listen,
        /// What the operating system says.
        source: io::Error,
    },
    /// The same of the address for operators.
    #[error(
        "cannot listen on {address} for --admin: {source}: give --admin another address, or off"
    )]
    Admin {
        /// The address as it was given.
        address: Listen,
        /// What the operating system says.
        source: io::Error,
    },
    /// The directory for the channels can not be used.
    #[error("cannot keep channels: {0}")]
    Data(#[from] OpenError),
}

/// One listening socket. A Unix socket's file goes when the listener is dropped.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, PathBuf),
}

/// One connection that came in.
#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    /// Binds. With `exposed` the address may be one that other machines reach.
    pub(crate) async fn bind(address: &Listen, exposed: bool) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { address: address.clone(), source };
        match address {
            Listen::Tcp(name) => {
                let found: Vec<SocketAddr> = lookup_host(name).await.map_err(failed)?.collect();
                if !exposed && !found.iter().all(|found| found.ip().is_loopback()) {
                    return Err(BindError::Exposed(address.clone()));
                }
                TcpListener::bind(&*found).await.map(Self::Tcp).map_err(failed)
            }
            #[cfg(unix)]
            Listen::Unix(path) => {
                let listener = bind_unix(path).await.map_err(failed)?;
                Ok(Self::Unix(listener, path.clone()))
            }
            #[cfg(not(unix))]
            Listen::Unix(_) => Err(failed(io::ErrorKind::Unsupported.into())),
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<LocalAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(LocalAddress::Tcp),
            #[cfg(unix)]
            Self::Unix(_, path) => Ok(LocalAddress::Unix(path.clone())),
        }
    }

    /// The next connection. An error says that the socket does not listen any more.
    pub(crate) async fn accept(&self) -> io::Result<Connection> {
        loop {
            match self.try_accept().await {
                Ok(connection) => return Ok(connection),
                // accept(2): EINVAL.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    limited!(WARN, Class::CannotAccept, %error, "cannot accept connections");
                    sleep(OUT_OF_DESCRIPTORS).await;
                }
            }
        }
    }

    async fn try_accept(&self) -> io::Result<Connection> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Messages are small and live: none waits for the one before to be acknowledged.
                stream.set_nodelay(true)?;
                Ok(Connection::Tcp(stream, peer))
            }
            #[cfg(unix)]
            Self::Unix(listener, _) => Ok(Connection::Unix(listener.accept().await?.0)),
        }
    }
}

/// What the kernel takes of a client's messages before it has sent those it has, in bytes. Beyond it
/// they wait in the log, where they cost nothing, instead of in megabytes of the kernel's.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 64 << 10;

/// Has the kernel hold little for a client that reads slowly, and give up one that acknowledges
/// nothing for `limit` of what was sent, or has no room for more for so long: writing alone does not
/// tell that, as long as the kernel takes what is written.
#[cfg(target_os = "linux")]
pub(crate) fn limit_backlog(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_tcp_user_timeout(Some(limit))
}

/// Elsewhere the system's defaults have to do, and that a write goes on.
#[cfg(not(target_os = "linux"))]
pub(crate) fn limit_backlog(_: &TcpStream, _: Duration) -> io::Result<()> {
    Ok(())
}

/// Errors of the connection that was being accepted, not of the listener.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Who removed it before us wanted the same.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Binds a Unix socket, in place of the file that a server which died has left behind.
#[cfg(unix)]
async fn bind_unix(path: &PathBuf) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path).await => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Whether the file is a socket that nobody answers at.
#[cfg(unix)]
async fn is_abandoned(path: &PathBuf) -> bool {
    let answer = UnixStream::connect(path).await;
    answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        && std::fs::symlink_metadata(path)
            .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()))
}
