//! Those of tokio and the system.

use std::{pin::Pin, sync::Arc, time::Duration};

use sockeye::reconnect::{Backoff, Decision, Down};
pub(crate) use sockeye::{Address, AddressError, ConnectError};
pub(crate) use std::time::SystemTime;
pub(crate) use tokio::{
    task::{AbortHandle, JoinError, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

/// A future that a task may wait for.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// A function of the application that is asked for something.
pub(crate) type Asked<T> = Arc<dyn Fn() -> T + Send + Sync>;
/// A function of the application that is told something.
pub(crate) type Told<T> = Box<dyn Fn(&T) + Send + Sync>;

/// What tasks of several threads may hold. In a browser there is one thread, and everything is.
pub trait MaybeSend: Send {}
impl<T: Send> MaybeSend for T {}

/// The same of what they share.
pub trait MaybeSync: Sync {}
impl<T: Sync> MaybeSync for T {}

/// Runs it in a task.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// How long to wait after that many failures in a row: a random time, behind the one that the server asked for.
pub(crate) fn backoff(failures: u32, hint: Duration) -> Duration {
    Backoff::default().cap(Duration::from_secs(30)).delay(failures, hint)
}

/// The error if it would be the same the next time; else it comes back as what failed.
pub(crate) fn final_error(error: ConnectError) -> Result<ConnectError, ConnectError> {
    let down = Down::NotOpened(error);
    let is_final = down.decision() == Decision::Final;
    match down {
        Down::NotOpened(error) if is_final => Ok(error),
        Down::NotOpened(error) => Err(error),
        Down::Closed(closed) => Err(ConnectError::Io(std::io::Error::other(closed.to_string()))),
        Down::Failed(error) => Err(ConnectError::Io(std::io::Error::other(error))),
    }
}
