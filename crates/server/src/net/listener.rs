//! Addresses to listen on. The sockets are those of the library.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use sockeye::Listener;
use sockeye::internals::{Accepted, Incomings, is_socket, listen, lookup};
use sockeye_hub::store::OpenError;
use tokio::net::TcpStream;

use crate::log::{Class, limited};
use crate::net::io::UringError;

/// An address to listen on, as a user writes it: `HOST:PORT`, or `unix:PATH`.
///
/// Port 0 takes any free port; [`Server::local_addrs`](crate::Server::local_addrs) has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A host and a port. The host is looked up when the server binds.
    Tcp(String),
    /// A Unix domain socket at this path.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = Infallible;

    /// Any text is accepted; whether the address exists is found when the server binds.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(text.to_owned()),
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address that a server listens on.
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
    /// Where this socket listens. The path of a Unix socket is empty if it has no file.
    pub(crate) fn of(listener: &Listener) -> io::Result<Self> {
        match listener.tcp() {
            Some(listener) => listener.local_addr().map(Self::Tcp),
            None => Ok(Self::Unix(listener.unix_path()?.unwrap_or_default())),
        }
    }

    /// The same address, with TLS where the server has it.
    pub(crate) fn with_tls(self, has_tls: bool) -> Self {
        match self {
            Self::Tcp(address) if has_tls => Self::Tls(address),
            other => other,
        }
    }

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

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address can be reached from other machines, and there is no access control.
    #[error(
        "{0} is not a loopback address, and anyone who can reach it could read and write every \
         channel: set `auth_key`, or `open` if that is what you want"
    )]
    Exposed(Listen),
    /// The address is invalid, in use, or not permitted.
    #[error("cannot listen on {address}: {source}{}", advice(address, source))]
    Io {
        /// The address as it was given.
        address: Listen,
        /// What the operating system says.
        source: io::Error,
    },
    /// The same for the address for operators.
    #[error(
        "cannot listen on {address} for `admin`: {source}: set `admin` to another address, or switch it off"
    )]
    Admin {
        /// The address as it was given.
        address: Listen,
        /// What the operating system says.
        source: io::Error,
    },
    /// A socket that was listening already is none to accept connections on.
    #[error("cannot accept connections on a socket that the server was given: {0}")]
    Socket(io::Error),
    /// The PROXY protocol needs trusted proxies, and there are none.
    #[error("`proxy_protocol` needs trusted proxies: name them in `trust_proxy`")]
    NoProxy,
    /// Tokens decide, or the authoriser does.
    #[error(
        "`auth_key` and `authorizer` contradict each other: an authoriser can ask a key itself"
    )]
    TwoAuthorizers,
    /// An option counts by subject, and nothing says what the subject of a caller is.
    #[error("`{0}` needs an `auth_key` or an `authorizer`: without one callers have no subject")]
    NoSubjects(&'static str),
    /// A rule for some channels says how much is kept, and a backplane keeps them.
    #[error(
        "`channel` says how much history some channels keep, and with `backplane` all keep the same: leave \
         `history_count`, `history_bytes` and `history_age` out of the rules"
    )]
    HistoryOfSome,
    /// The directory for the channels cannot be used.
    #[error("cannot keep channels: `data` {0}")]
    Data(OpenError),
    /// The system has no io_uring for the program.
    #[error("{0}; or set `io` to auto or epoll")]
    Uring(UringError),
}

/// What to do about an address that cannot be used.
fn advice(address: &Listen, error: &io::Error) -> &'static str {
    if let Listen::Unix(path) = address {
        return match error.kind() {
            io::ErrorKind::AddrInUse if is_socket(path) => {
                ": another program listens at this socket: stop it, or set `listen` to another path"
            }
            io::ErrorKind::AddrInUse => {
                ": the file there is not a socket: remove it, or set `listen` to another path"
            }
            _ => "",
        };
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": another program has this port: stop it, or set `listen` to another address"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine does not have the address",
        io::ErrorKind::PermissionDenied => {
            ": ports below 1024 are for privileged programs: set `listen` to another port"
        }
        _ => "",
    }
}

impl From<OpenError> for BindError {
    fn from(error: OpenError) -> Self {
        Self::Data(error)
    }
}

impl From<UringError> for BindError {
    fn from(error: UringError) -> Self {
        Self::Uring(error)
    }
}

/// Binds, on every address of a name. With `exposed` they may be addresses that other machines reach.
pub(crate) async fn bind(address: &Listen, exposed: bool) -> Result<Vec<Listener>, BindError> {
    let failed = |source| BindError::Io { address: address.clone(), source };
    match address {
        Listen::Tcp(name) => {
            let found = lookup(name).await.map_err(failed)?;
            if !exposed && !found.iter().all(|found| found.ip().is_loopback()) {
                return Err(BindError::Exposed(address.clone()));
            }
            let listeners = listen(&found).await.map_err(failed)?;
            Ok(listeners.into_iter().map(Listener::from).collect())
        }
        #[cfg(unix)]
        Listen::Unix(path) => Ok(vec![Listener::bind_unix(path).await.map_err(failed)?]),
        #[cfg(not(unix))]
        Listen::Unix(_) => Err(failed(io::ErrorKind::Unsupported.into())),
    }
}

/// Limits the send buffers of accepted connections; those of Unix sockets have 208 KiB, unless the
/// system is configured otherwise.
pub(crate) fn limit_send_buffers(listener: &Listener, bytes: usize) -> io::Result<()> {
    match listener.tcp() {
        Some(listener) => socket2::SockRef::from(listener).set_send_buffer_size(bytes),
        None => Ok(()),
    }
}

/// Where connections are accepted from.
#[derive(Debug)]
pub(crate) struct IncomingConnections<'l> {
    pub(crate) listener: &'l Listener,
    /// The response to a connection for which there is no file descriptor.
    pub(crate) refusal: &'static [u8],
}

impl Incomings for IncomingConnections<'_> {
    type Connection = Accepted;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        self.listener.poll_accept(cx)
    }

    fn cannot_accept(&self, error: &io::Error) {
        limited!(WARN, Class::CannotAccept, %error, "cannot accept connections");
    }

    fn refuse(&self, connection: Accepted) {
        connection.refuse(self.refusal);
    }
}

/// Bytes that the kernel accepts before it has sent what it has. Beyond them messages wait in the log,
/// where they cost nothing, instead of in megabytes of kernel buffers.
#[cfg(target_os = "linux")]
pub(crate) const UNSENT: u32 = 64 << 10;

/// Has the kernel buffer little for a client that reads slowly, and close a connection whose client
/// acknowledges nothing of what was sent for `limit`, or has no window for that long: a write alone
/// does not notice that, as long as the kernel accepts it.
#[cfg(target_os = "linux")]
pub(crate) fn limit_backlog(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_tcp_user_timeout(Some(limit))
}

/// On other systems the defaults have to do, and the deadline of writes.
#[cfg(not(target_os = "linux"))]
pub(crate) fn limit_backlog(_: &TcpStream, _: Duration) -> io::Result<()> {
    Ok(())
}
