//! Listening sockets, TCP and Unix.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sockeye::internals::{Incomings, evict, listen, lookup, refuse};
use sockeye_hub::store::OpenError;
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::early::{NO_DESCRIPTORS, NO_PLACE};
use crate::log::{Class, limited};
use crate::options::Listen;

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
    #[error("cannot listen on {address}: {source}{}", advice(address, source))]
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
    /// The PROXY protocol is to be spoken by the proxies that are trusted, and none is.
    #[error("--proxy-protocol is spoken by trusted proxies: name them with --trust-proxy")]
    NoProxy,
    /// The directory for the channels can not be used.
    #[error("cannot keep channels: {0}")]
    Data(OpenError),
}

/// What to do about an address that cannot be had.
fn advice(address: &Listen, error: &io::Error) -> &'static str {
    if let Listen::Unix(path) = address {
        return match error.kind() {
            io::ErrorKind::AddrInUse if is_socket(path) => {
                ": another program listens at this socket: stop it, or give --listen another path"
            }
            io::ErrorKind::AddrInUse => {
                ": there is a file that is no socket: remove it, or give --listen another path"
            }
            _ => "",
        };
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": another program has this port: stop it, or give --listen another address"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine does not have the address",
        io::ErrorKind::PermissionDenied => {
            ": ports below 1024 are for privileged programs: give --listen another port"
        }
        _ => "",
    }
}

impl From<OpenError> for BindError {
    fn from(error: OpenError) -> Self {
        Self::Data(error)
    }
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
    /// Binds, on every address that a name has. With `exposed` they may be such as other machines reach.
    pub(crate) async fn bind(address: &Listen, exposed: bool) -> Result<Vec<Self>, BindError> {
        let failed = |source| BindError::Io { address: address.clone(), source };
        match address {
            Listen::Tcp(name) => {
                let found = lookup(name).await.map_err(failed)?;
                if !exposed && !found.iter().all(|found| found.ip().is_loopback()) {
                    return Err(BindError::Exposed(address.clone()));
                }
                let listeners = listen(&found).await.map_err(failed)?;
                // Messages are small and live: none waits for the one before to be acknowledged.
                // Connections have the option from their listener, and nothing breaks without it.
                #[cfg(target_os = "linux")]
                for listener in &listeners {
                    let _ = socket2::SockRef::from(listener).set_tcp_nodelay(true);
                }
                Ok(listeners.into_iter().map(Self::Tcp).collect())
            }
            #[cfg(unix)]
            Listen::Unix(path) => {
                let listener = bind_unix(path).await.map_err(failed)?;
                Ok(vec![Self::Unix(listener, path.clone())])
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

    /// Has the kernel take little of what is sent on the connections that come in; those of a Unix socket
    /// have 208 KiB, unless the system says otherwise.
    pub(crate) fn limit_send_buffers(&self, bytes: usize) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => socket2::SockRef::from(listener).set_send_buffer_size(bytes),
            #[cfg(unix)]
            Self::Unix(..) => Ok(()),
        }
    }

    /// The connections that come in, on TCP with TLS or without.
    pub(crate) fn incomings(&self, is_secure: bool) -> IncomingConnections<'_> {
        IncomingConnections { listener: self, is_secure }
    }
}

/// Where connections are accepted from.
#[derive(Debug)]
pub(crate) struct IncomingConnections<'l> {
    listener: &'l Listener,
    is_secure: bool,
}

impl Incomings for IncomingConnections<'_> {
    type Connection = Connection;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        match self.listener {
            Listener::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                // On Linux it has that from the listener.
                #[cfg(not(target_os = "linux"))]
                let _ = stream.set_nodelay(true);
                Poll::Ready(Ok(Connection::Tcp(stream, peer)))
            }
            #[cfg(unix)]
            Listener::Unix(listener, _) => {
                Poll::Ready(Ok(Connection::Unix(ready!(listener.poll_accept(cx))?.0)))
            }
        }
    }

    fn cannot_accept(&self, error: &io::Error) {
        limited!(WARN, Class::CannotAccept, %error, "cannot accept connections");
    }

    fn refuse(&self, connection: Connection) {
        match connection {
            Connection::Tcp(stream, _) => {
                // Without a handshake there is no way to answer.
                let answer = if self.is_secure { b"" } else { NO_DESCRIPTORS };
                let _ = stream.into_std().map(|stream| refuse(stream, answer));
            }
            #[cfg(unix)]
            Connection::Unix(stream) => {
                let _ = stream.into_std().map(|stream| refuse(stream, NO_DESCRIPTORS));
            }
        }
    }
}

/// Ends a connection whose place another has got: at once, for its descriptor may be needed. Whether
/// the client has sent something is told by `has_begun`, or by what has arrived.
pub(crate) fn evict_tcp(stream: TcpStream, has_begun: bool) {
    let _ = stream.into_std().map(|stream| evict(stream, has_begun, NO_PLACE));
}

/// The same of a Unix socket.
#[cfg(unix)]
pub(crate) fn evict_unix(stream: UnixStream, has_begun: bool) {
    let _ = stream.into_std().map(|stream| evict(stream, has_begun, NO_PLACE));
}

/// What the kernel takes of a client's messages before it has sent those it has, in bytes. Beyond it
/// they wait in the log, where they cost nothing, instead of in megabytes of the kernel's.
#[cfg(target_os = "linux")]
pub(crate) const UNSENT: u32 = 64 << 10;

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
    answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) && is_socket(path)
}

#[cfg(unix)]
fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path)
        .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()))
}

#[cfg(not(unix))]
fn is_socket(_: &Path) -> bool {
    false
}
