//! The one module with `unsafe` for io_uring: sends on many sockets by one system call.
//!
//! Why it is sound: nothing that the kernel is given outlives the call. [`Ring::send`] borrows the sockets and the
//! bytes, and returns, or unwinds, only when each entry that the kernel has taken is completed, whatever fails; what it has not
//! taken is gone with its ring. So no entry is ever read that points to bytes that are freed, or names a descriptor that has been given
//! out again.

use std::{
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    thread,
};

use io_uring::{IoUring, opcode, squeue, types::Fd};
use rustix::net::SendFlags;
use tokio::net::TcpStream;

use super::AT_ONCE;

/// A socket to send on.
pub(crate) type Socket<'a> = BorrowedFd<'a>;

/// The socket of a stream; `None` where there is no ring that could send on it.
pub(crate) fn socket(stream: &TcpStream) -> Option<Socket<'_>> {
    Some(stream.as_fd())
}

/// A ring of io_uring: 12 KiB that are shared with the kernel, and a descriptor.
pub(super) struct Ring {
    /// `None` once the kernel has refused something. Its queue is empty, except within [`send`](Self::send).
    ring: Option<IoUring>,
}

impl Ring {
    pub(super) fn new() -> io::Result<Self> {
        // A child that is forked does not share its memory. Twice as many completions fit in as entries, so none
        // is ever held back.
        let ring = IoUring::builder().dontfork().build(AT_ONCE as u32)?;
        Ok(Self { ring: Some(ring) })
    }

    /// Whether it can be used again.
    pub(super) fn is_whole(&self) -> bool {
        self.ring.is_some()
    }

    /// Sends something to itself: a kernel may have rings that cannot send, before Linux 5.6 or by a filter.
    pub(super) fn try_out(&mut self) -> io::Result<()> {
        let (near, mut far) = UnixStream::pair()?;
        let mut outcomes = [0];
        self.send(&[near.as_fd()], b"?", &mut outcomes)?;
        match outcomes {
            [1] => far.read_exact(&mut [0]),
            [_] => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Sends the bytes on each socket, without waiting for any, and gives the outcomes in their place: bytes taken,
    /// or the negative number of an error. Those of sockets that the kernel was not asked for are left as they are:
    /// behind the first [`AT_ONCE`], and some of them when there is an error.
    ///
    /// # Errors
    ///
    /// When the kernel has not taken all entries. The ring is not whole then.
    pub(super) fn send(
        &mut self,
        sockets: &[Socket<'_>],
        bytes: &[u8],
        outcomes: &mut [i32],
    ) -> io::Result<()> {
        let Some(ring) = &mut self.ring else { return Err(io::ErrorKind::BrokenPipe.into()) };
        // From here to the end nothing panics, and nothing returns.
        let pushed = push(ring, sockets, bytes);
        let (taken, result) = submit(ring, pushed);
        reap(ring, taken, outcomes);
        if result.is_err() {
            // With the entries that it has not taken.
            self.ring = None;
        }
        result
    }
}

/// Puts an entry for each socket into the queue, as far as there is room; gives how many.
fn push(ring: &mut IoUring, sockets: &[Socket<'_>], bytes: &[u8]) -> usize {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let flags = (SendFlags::DONTWAIT | SendFlags::NOSIGNAL).bits().cast_signed();
    let mut queue = ring.submission();
    let mut pushed = 0;
    for (socket, index) in sockets.iter().zip(0..) {
        let entry: squeue::Entry =
            opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), length)
                .flags(flags)
                .build()
                .user_data(index);
        // SAFETY: the entry is read, and its bytes are, before `send` returns, which borrows the bytes and the
        // socket: `submit` hands it to the kernel and `reap` waits for its completion, after which the kernel
        // knows nothing of either. If the kernel does not take it, `send` drops the ring, and with it the entry. The
        // kernel only reads the bytes.
        #[expect(unsafe_code, reason = "the kernel is given an address")]
        let result = unsafe { queue.push(&entry) };
        if result.is_err() {
            break;
        }
        pushed += 1;
    }
    pushed
}

/// Hands the queue to the kernel; gives how many entries it has taken, and why not all.
fn submit(ring: &IoUring, count: usize) -> (usize, io::Result<()>) {
    let mut taken = 0;
    while taken < count {
        match ring.submit() {
            // It stops at an entry that it cannot begin, and goes on behind it when asked again.
            Ok(more) if more > 0 => taken += more,
            Ok(_) => return (taken, Err(io::Error::other("no entry was taken"))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (taken, Err(error)),
        }
    }
    (taken, Ok(()))
}

/// Takes the completions of all entries that the kernel has taken.
///
/// A send that does not wait is completed when it is submitted, so they are there. If one were not, this would wait,
/// by looking: the bytes are the kernel's until then, and it may refuse to be called.
fn reap(ring: &mut IoUring, taken: usize, outcomes: &mut [i32]) {
    let mut reaped = 0;
    loop {
        for completion in ring.completion() {
            reaped += 1;
            let index = usize::try_from(completion.user_data()).ok();
            if let Some(outcome) = index.and_then(|index| outcomes.get_mut(index)) {
                *outcome = completion.result();
            }
        }
        if reaped >= taken {
            return;
        }
        thread::yield_now();
    }
}
