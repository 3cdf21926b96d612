//! Where a server listens: TCP and Unix sockets.

#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

#[cfg(unix)]
use rustix::net::{RecvFlags, recv};
#[cfg(unix)]
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream},
};
use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time::Instant,
};

use crate::{
    net::{Incomings, PeerAddr, refuse},
    socket::Io,
};

/// A warning that nothing can be accepted is logged this often at most.
const WARN_INTERVAL: Duration = Duration::from_secs(1);

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

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                #[cfg(not(target_os = "linux"))]
                let _ = stream.set_nodelay(true);
                Poll::Ready(Ok(Accepted::Tcp(stream, peer)))
            }
            #[cfg(unix)]
            Kind::Unix(listener, _) => {
                Poll::Ready(Ok(Accepted::Unix(ready!(listener.poll_accept(cx))?.0)))
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

/// A connection on which nothing was read yet.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Accepted {
    pub(super) fn peer(&self) -> PeerAddr {
        match self {
            Self::Tcp(_, peer) => PeerAddr::Tcp(*peer),
            #[cfg(unix)]
            Self::Unix(_) => PeerAddr::Unix,
        }
    }

    /// Waits until something has arrived, or the peer's end. Nothing is held meanwhile.
    pub(super) async fn speaks(&self) {
        // Looked at, not only asked for: that it is ready may be a mistake. An error comes again when the
        // connection is read.
        let _ = match self {
            Self::Tcp(stream, _) => stream.peek(&mut [0]).await,
            #[cfg(unix)]
            Self::Unix(stream) => {
                let look = || Ok(recv(stream, &mut [0_u8; 1], RecvFlags::PEEK)?.0);
                stream.async_io(Interest::READABLE, look).await
            }
        };
    }

    pub(super) fn into_io(self) -> Io {
        match self {
            Self::Tcp(stream, _) => Io::Tcp(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Io::boxed(stream),
        }
    }
}

/// What is accepted on any of the listeners, the one at `first` before the others.
pub(super) struct Accepting<'l> {
    pub(super) listeners: &'l [Listener],
    pub(super) first: usize,
    /// Whether a handshake of TLS comes before any answer.
    pub(super) is_secure: bool,
    /// When it was logged last that nothing could be accepted.
    pub(super) warned: &'l Mutex<Option<Instant>>,
}

/// The answer while there are no file descriptors.
const NO_DESCRIPTORS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n\
    content-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n\
    the server has no file descriptors left";

impl Incomings for Accepting<'_> {
    type Connection = Accepted;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (later, sooner) = self.listeners.split_at(self.first);
        let mut polled = sooner.iter().chain(later).map(|listener| listener.poll_accept(cx));
        polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
    }

    fn cannot_accept(&self, error: &io::Error) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL) {
            *warned = Some(Instant::now());
            tracing::warn!("cannot accept connections, trying again: {error}");
        }
    }

    fn refuse(&self, connection: Accepted) {
        let answer = if self.is_secure { b"" } else { NO_DESCRIPTORS };
        let _ = match connection {
            Accepted::Tcp(stream, _) => stream.into_std().map(|stream| refuse(stream, answer)),
            #[cfg(unix)]
            Accepted::Unix(stream) => stream.into_std().map(|stream| refuse(stream, answer)),
        };
    }
}

/// Whether the file is a socket that nobody answers at.
#[cfg(unix)]
async fn is_abandoned(path: &Path) -> bool {
    let answer = UnixStream::connect(path).await;
    answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        && std::fs::symlink_metadata(path)
            .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()))
}
