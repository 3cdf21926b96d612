//! Where a server listens, TCP and Unix sockets, and what it accepts there. [`Server`](crate::Server) uses it,
//! and so does the crate `sockeye-server`.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    task::{Context, Poll, ready},
};

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use super::refuse;
use crate::socket::{ByteStream, PeerAddr};

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
    /// behind. Every process that may write to the file may connect: protect it by the permissions of its
    /// directory.
    ///
    /// # Errors
    ///
    /// When the path cannot be written, another process listens there, or it is not a socket.
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

    /// The listener of TCP; `None` for a Unix socket.
    #[doc(hidden)]
    pub fn tcp(&self) -> Option<&TcpListener> {
        match &self.0 {
            Kind::Tcp(listener) => Some(listener),
            #[cfg(unix)]
            Kind::Unix(..) => None,
        }
    }

    /// The file of a Unix socket; `None` for TCP, and for a Unix socket without a file.
    ///
    /// # Errors
    ///
    /// When the system does not know the socket.
    #[doc(hidden)]
    pub fn unix_path(&self) -> io::Result<Option<PathBuf>> {
        match &self.0 {
            Kind::Tcp(_) => Ok(None),
            #[cfg(unix)]
            Kind::Unix(listener, _) => Ok(listener.local_addr()?.as_pathname().map(Path::to_owned)),
        }
    }

    /// Accepts a connection, as [`TcpListener::poll_accept`] does.
    #[doc(hidden)]
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
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
    /// Its file is not removed.
    fn from(listener: UnixListener) -> Self {
        Self(Kind::Unix(listener, None))
    }
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let Kind::Unix(_, Some(path)) = &self.0 {
            // Another process may have removed it already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A connection on which nothing was read yet.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP, from this address.
    Tcp(TcpStream, SocketAddr),
    /// On a Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Accepted {
    /// Refuses the connection at once with this answer, without waiting for anything.
    pub fn refuse(self, answer: &[u8]) {
        let _ = match self {
            Self::Tcp(stream, _) => stream.into_std().map(|stream| refuse(stream, answer)),
            #[cfg(unix)]
            Self::Unix(stream) => stream.into_std().map(|stream| refuse(stream, answer)),
        };
    }

    pub(crate) fn peer(&self) -> PeerAddr {
        match self {
            Self::Tcp(_, peer) => PeerAddr::Tcp(*peer),
            #[cfg(unix)]
            Self::Unix(_) => PeerAddr::Unix,
        }
    }

    pub(crate) fn into_io(self) -> ByteStream {
        match self {
            Self::Tcp(stream, _) => ByteStream::Tcp(stream),
            #[cfg(unix)]
            Self::Unix(stream) => ByteStream::boxed(stream),
        }
    }
}

/// Whether the file is a socket without a listener.
#[cfg(unix)]
async fn is_abandoned(path: &Path) -> bool {
    let answer = UnixStream::connect(path).await;
    answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) && is_socket(path)
}

/// Whether the file is a Unix socket.
#[cfg(unix)]
pub fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path)
        .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()))
}

/// Whether the file is a Unix socket: there are none here.
#[cfg(not(unix))]
pub fn is_socket(_: &Path) -> bool {
    false
}
