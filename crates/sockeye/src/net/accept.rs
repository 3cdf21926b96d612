//! Accepting connections for ever, whatever accept(2) says: an error that concerns one connection
//! ends that one, and a process without descriptors refuses connections instead of leaving them in
//! the queue.

use std::{
    fs::File,
    future::poll_fn,
    io::{self, Read, Write},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::PendingConnections;

/// How long to wait for memory, or for a descriptor where there is not even a spare one.
const PAUSE: Duration = Duration::from_millis(50);
/// How long connections that were just accepted have until one without bytes counts as silent.
const LOOK: Duration = Duration::from_millis(5);
/// How long to wait for the descriptor of a connection that ends to make room.
const EVICTION: Duration = Duration::from_millis(1);
/// How much of its request is read of a connection that is refused for want of descriptors: a socket
/// that is closed with bytes unread is reset, and the answer lost.
const MAX_DISCARDED: usize = 16 << 10;

/// Something that connections are accepted from.
pub trait Incomings {
    /// What comes of accepting.
    type Connection;

    /// Accepts, as [`TcpListener::poll_accept`](tokio::net::TcpListener::poll_accept) does.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Connection>>;

    /// Logs that the process is short of descriptors or memory. It may be told so often.
    fn cannot_accept(&self, error: &io::Error);

    /// Refuses a connection at once, without waiting for anything.
    fn refuse(&self, connection: Self::Connection);
}

/// What accepting needs beside a listener.
#[derive(Debug)]
pub struct Acceptor {
    /// Connections to end when there are no descriptors.
    pending: PendingConnections,
    /// A descriptor to accept and refuse with when there is no other.
    spare: Option<File>,
}

impl Acceptor {
    /// Ends connections of this set when there are no descriptors.
    pub fn new(pending: PendingConnections) -> Self {
        Self { pending, spare: open_spare() }
    }

    /// The next connection. Dropping this may end one that has just come.
    ///
    /// # Errors
    ///
    /// When the listening socket is broken.
    pub async fn accept<I: Incomings>(&mut self, incomings: &I) -> io::Result<I::Connection> {
        loop {
            let error = match poll_fn(|cx| incomings.poll_accept(cx)).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            match AcceptErrorKind::of(&error) {
                AcceptErrorKind::Connection => {}
                AcceptErrorKind::Listener => return Err(error),
                AcceptErrorKind::Memory => {
                    incomings.cannot_accept(&error);
                    sleep(PAUSE).await;
                }
                AcceptErrorKind::Descriptors => {
                    // What has arrived on those that were accepted last is looked at first.
                    sleep(LOOK).await;
                    if let Some(connection) = self.accept_with_spare(incomings, &error).await {
                        return Ok(connection);
                    }
                }
            }
        }
    }

    /// Accepts with the spare descriptor, and ends another connection for that one or refuses it. `None`
    /// if it was refused, and also if none waits: accept(2) of Linux takes a descriptor before it looks,
    /// and ending a connection then would end the one that was accepted last.
    async fn accept_with_spare<I: Incomings>(
        &mut self,
        incomings: &I,
        error: &io::Error,
    ) -> Option<I::Connection> {
        if self.spare.take().or_else(open_spare).is_none() {
            incomings.cannot_accept(error);
            // One that was ended before may close meanwhile.
            sleep(PAUSE).await;
            self.spare = open_spare();
            if self.spare.is_none() && self.pending.evict_oldest() {
                sleep(EVICTION).await;
            }
            return None;
        }
        let accepted = poll_fn(|cx| match incomings.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(accepted.ok()),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(connection) = accepted.await {
            incomings.cannot_accept(error);
            if self.pending.evict_oldest() {
                // Its descriptor is the next spare one, as soon as it is closed.
                let deadline = Instant::now() + PAUSE;
                while self.spare.is_none() && Instant::now() < deadline {
                    sleep(EVICTION).await;
                    self.spare = open_spare();
                }
                return Some(connection);
            }
            incomings.refuse(connection);
        }
        self.spare = open_spare();
        None
    }
}

fn open_spare() -> Option<File> {
    File::open(if cfg!(windows) { "NUL" } else { "/dev/null" }).ok()
}

/// Refuses a connection, which is not to block, without waiting: reads what has arrived, writes the
/// answer (none for a client that expects TLS), and closes.
pub fn refuse(mut stream: impl Read + Write, answer: &[u8]) {
    discard(&mut stream);
    // A client that does not take it at once does without.
    let _ = stream.write(answer);
}

/// The same for a connection that ends to make room for another. A client that has not sent anything,
/// now or before (`has_begun`), does not wait for an answer, and gets none.
pub fn evict(mut stream: impl Read + Write, has_begun: bool, answer: &[u8]) {
    if discard(&mut stream) > 0 || has_begun {
        let _ = stream.write(answer);
    }
}

/// Reads what has arrived, and gives how much that was.
fn discard(stream: &mut impl Read) -> usize {
    let mut discarded = 0;
    let mut buffer = [0; 4096];
    while discarded < MAX_DISCARDED
        && let Ok(read @ 1..) = stream.read(&mut buffer)
    {
        discarded += read;
    }
    discarded
}

/// What an error of accept(2) is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptErrorKind {
    /// The connection that was being accepted; others may follow at once.
    Connection,
    /// There are no descriptors in the process or in the system.
    Descriptors,
    /// The system is short of memory, or it is something unknown.
    Memory,
    /// The socket does not listen any more.
    Listener,
}

impl AcceptErrorKind {
    /// Errors of the network that wait on the new socket count as those of one connection
    /// (accept(2), "Error handling").
    #[cfg(unix)]
    fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => Self::Descriptors,
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::FAULT) => Self::Listener,
            #[cfg(target_os = "linux")]
            Some(Errno::NONET) => Self::Connection,
            Some(
                Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::CONNREFUSED
                | Errno::PERM
                | Errno::INTR
                | Errno::AGAIN
                | Errno::TIMEDOUT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP,
            ) => Self::Connection,
            _ => Self::Memory,
        }
    }

    #[cfg(not(unix))]
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
        /// `WSAEMFILE` of Windows, which has no kind of its own.
        const TOO_MANY_SOCKETS: i32 = 10024;
        if error.raw_os_error() == Some(TOO_MANY_SOCKETS) {
            return Self::Descriptors;
        }
        match error.kind() {
            ConnectionAborted | ConnectionRefused | ConnectionReset => Self::Connection,
            InvalidInput => Self::Listener,
            _ => Self::Memory,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{cell::RefCell, collections::VecDeque};

    use rustix::io::Errno;

    use super::*;

    /// Accepts what the script says, by number, and remembers what was refused.
    #[derive(Default)]
    struct Script {
        results: RefCell<VecDeque<Poll<Result<u32, Errno>>>>,
        refused: RefCell<Vec<u32>>,
    }

    impl Script {
        fn new(results: impl IntoIterator<Item = Result<u32, Errno>>) -> Self {
            Self::of_polls(results.into_iter().map(Poll::Ready))
        }

        fn of_polls(polls: impl IntoIterator<Item = Poll<Result<u32, Errno>>>) -> Self {
            Self { results: RefCell::new(polls.into_iter().collect()), ..Self::default() }
        }
    }

    impl Incomings for Script {
        type Connection = u32;

        fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<u32>> {
            let next = self.results.borrow_mut().pop_front().expect("the script goes on");
            next.map(|accepted| accepted.map_err(io::Error::from))
        }

        fn cannot_accept(&self, _: &io::Error) {}

        fn refuse(&self, connection: u32) {
            self.refused.borrow_mut().push(connection);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_of_one_connection_is_passed_over_at_once() {
        let errors = [Errno::CONNABORTED, Errno::PERM, Errno::NETDOWN, Errno::PROTO, Errno::INTR];
        let script = Script::new(errors.map(Err).into_iter().chain([Ok(1)]));
        let begun = Instant::now();
        let accepted = Acceptor::new(PendingConnections::default()).accept(&script).await;
        assert_eq!((accepted.unwrap(), begun.elapsed()), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_listener_is_an_error_and_scarce_memory_a_pause() {
        let script = Script::new([Err(Errno::NOBUFS), Err(Errno::NOMEM), Err(Errno::BADF)]);
        let begun = Instant::now();
        let failed = Acceptor::new(PendingConnections::default()).accept(&script).await;
        assert_eq!(Errno::from_io_error(&failed.unwrap_err()), Some(Errno::BADF));
        assert_eq!(begun.elapsed(), PAUSE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_descriptors_a_silent_connection_ends_and_then_newcomers_are_refused() {
        let pending = PendingConnections::default();
        let silent = pending.register();
        let mut acceptor = Acceptor::new(pending);
        let script = Script::new([Err(Errno::MFILE), Ok(1)]);
        assert_eq!(acceptor.accept(&script).await.unwrap(), 1);
        silent.evicted().await;
        let script = Script::new([Err(Errno::MFILE), Ok(2), Err(Errno::NFILE), Ok(3), Ok(4)]);
        assert_eq!(acceptor.accept(&script).await.unwrap(), 4);
        assert_eq!(*script.refused.borrow(), [2, 3]);
        assert!(acceptor.spare.is_some());
    }
    /// Linux says so whether a connection waits or not.
    #[tokio::test(start_paused = true)]
    async fn without_descriptors_and_newcomers_no_connection_ends() {
        let pending = PendingConnections::default();
        let _silent = pending.register();
        let mut acceptor = Acceptor::new(pending.clone());
        let none_waits = [Poll::Ready(Err(Errno::MFILE)), Poll::Pending];
        let script = Script::of_polls(none_waits.into_iter().chain([Poll::Ready(Ok(1))]));
        assert_eq!(acceptor.accept(&script).await.unwrap(), 1);
        assert_eq!((pending.len(), pending.evicted()), (1, 0));
        assert!(acceptor.spare.is_some());
    }
}
