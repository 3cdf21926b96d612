//! Where a server listens: TCP and Unix sockets.

#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::{
    fmt,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::{
    net::{TcpListener, ToSocketAddrs},
    time::sleep,
};

use crate::{clock, socket::Io};

/// How long to wait when the system has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// A listening socket. The file of a Unix socket goes when the listener does.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, Option<PathBuf>),
}

impl Listener {
    /// Listens on an address; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// When the address is not one of this machine, or taken.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(TcpListener::bind(address).await?.into())
    }

    /// Listens on a Unix socket at this path, in place of a socket that a server which died has left
    /// behind. Who may write to the file may connect: the directory's permissions are the guard.
    ///
    /// # Errors
    ///
    /// When the path cannot be written, somebody listens there, or it is something else than a socket.
    #[cfg(unix)]
    pub async fn bind_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path).await => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        Ok(Self(Kind::Unix(listener, Some(path.to_owned()))))
    }

    /// `None` for a Unix socket.
    pub(super) fn local_addr(&self) -> Option<io::Result<SocketAddr>> {
        match &self.0 {
            Kind::Tcp(listener) => Some(listener.local_addr()),
            #[cfg(unix)]
            Kind::Unix(..) => None,
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Io, PeerAddr)>> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                #[cfg(not(target_os = "linux"))]
                let _ = stream.set_nodelay(true);
                Poll::Ready(Ok((Io::Tcp(stream), PeerAddr::Tcp(peer))))
            }
            #[cfg(unix)]
            Kind::Unix(listener, _) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                Poll::Ready(Ok((Io::boxed(stream), PeerAddr::Unix)))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    /// What it accepts sends small messages at once (`TCP_NODELAY`); on Linux the listener is told so,
    /// and its connections inherit it.
    fn from(listener: TcpListener) -> Self {
        // Nothing breaks if it fails.
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_nodelay(&listener, true);
        Self(Kind::Tcp(listener))
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    /// Its file is left to whoever has bound it.
    fn from(listener: UnixListener) -> Self {
        Self(Kind::Unix(listener, None))
    }
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let Kind::Unix(_, Some(path)) = &self.0 {
            // Who removed it before us wanted the same.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddr {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket: a process of this machine.
    Unix,
}

impl PeerAddr {
    /// The IP address; `None` over a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// The next connection on any of the listeners, the one at `first` before the others. Cancel-safe.
pub(super) async fn accept(listeners: &[Listener], first: usize) -> (Io, PeerAddr) {
    let mut has_failed = false;
    loop {
        let accepted = poll_fn(|cx| {
            let (later, sooner) = listeners.split_at(first);
            let mut polled = sooner.iter().chain(later).map(|listener| listener.poll_accept(cx));
            polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        match accepted.await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                // No more file descriptors, most likely: to try again at once would only burn the
                // processor that could free some.
                if !std::mem::replace(&mut has_failed, true) {
                    warn_at_times(&error);
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Says once a second that nothing can be accepted, however often that is so.
fn warn_at_times(error: &io::Error) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let now = clock::now();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none_or(|last| now.saturating_duration_since(last) >= Duration::from_secs(1)) {
        *last = Some(now);
        tracing::warn!("cannot accept connections, trying again: {error}");
    }
}

/// Whether only the client that was being accepted is gone.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Whether the file is a socket that nobody answers at.
#[cfg(unix)]
async fn is_abandoned(path: &Path) -> bool {
    let answer = UnixStream::connect(path).await;
    answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        && std::fs::symlink_metadata(path)
            .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()))
}
