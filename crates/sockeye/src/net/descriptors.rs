//! How many file descriptors the process may have, and how many of them are for connections.

/// Raises the soft limit of open files to the hard one. The soft one is low for the sake of programs
/// that use select(2); a server needs a descriptor for each connection. Where the system refuses, the
/// limit stays as it is.
pub fn raise_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if limit.current != limit.maximum
            && let Err(error) = setrlimit(Resource::Nofile, raised)
        {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

/// How many descriptors are kept from connections, of a process that may have `limit`: for the store's
/// files, the admin address, connections that are being refused, certificates and look-ups. A quarter,
/// and 256 at most.
pub fn reserve(limit: u64) -> u64 {
    (limit / 4).min(256)
}

/// How many connections there is room for by the limit of open files that is in force now, less the
/// [`reserve`]; `None` where there is no limit.
pub fn max_connections() -> Option<usize> {
    limit().map(|limit| usize::try_from(limit - reserve(limit)).unwrap_or(usize::MAX).max(1))
}

/// How many connections that are not clients' may be open for one purpose, so that a few such purposes
/// fit into the [`reserve`]: a quarter of it, and 64 at most.
pub fn share_of_reserve() -> usize {
    let share = limit().map_or(64, |limit| reserve(limit) / 4);
    usize::try_from(share).unwrap_or(64).clamp(1, 64)
}

/// The limit of open files in force.
#[cfg(unix)]
fn limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn limit() -> Option<u64> {
    None
}
