//! What the program does under a service manager such as systemd: it takes the sockets it is given (`sd_listen_fds`),
//! says when it is ready, reloads and stops (`sd_notify`), and feeds the watchdog. Without one nothing of it happens.

use std::{
    convert::Infallible, future::pending, io, net::TcpListener, os::unix::net::UnixListener,
    time::Duration,
};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use sockeye_server::Listener;
use tokio::time::interval;

/// A socket that listened before the program ran.
#[derive(Debug)]
pub(crate) enum GivenSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl GivenSocket {
    /// The sockets that the service manager has opened for this process, in its order; none without one. They are
    /// named in the environment once: the second call finds none.
    ///
    /// # Errors
    ///
    /// When one of them is not a stream socket.
    pub(crate) fn all() -> io::Result<Vec<Self>> {
        let mut given = ListenFd::from_env();
        let numbers = 0..given.len();
        let sockets = numbers.map(|number| match given.take_tcp_listener(number) {
            Ok(tcp) => Ok(tcp.map(Self::Tcp)),
            Err(_) => Ok(given.take_unix_listener(number)?.map(Self::Unix)),
        });
        sockets.filter_map(Result::transpose).collect()
    }

    /// The same socket, to be served on.
    pub(crate) fn listener(&self) -> io::Result<Listener> {
        match self {
            Self::Tcp(tcp) => {
                let tcp = tcp.try_clone()?;
                tcp.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(tcp).map(Listener::from)
            }
            Self::Unix(unix) => {
                let unix = unix.try_clone()?;
                unix.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(unix).map(Listener::from)
            }
        }
    }
}

/// Says that clients are served, and where.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the configuration is being read again; [`reloaded`] says when that is done.
pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
}

/// Says that the configuration was read.
pub(crate) fn reloaded() {
    notify(&[NotifyState::Ready]);
}

/// Says that the server leaves.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("clients leave")]);
}

/// Tells the watchdog, at half the time that it allows, that tasks run. Where none is asked for it only waits.
pub(crate) async fn feed_watchdog() -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut ticks = interval((limit / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
