//! What the limit sends to all by io_uring, in the place of a system call for each connection.

use std::os::fd::RawFd;

use io_uring::{IoUring, opcode, types};
use rustix::net::SendFlags;

/// How many sends one system call is for.
const AT_ONCE: usize = 64;

pub(crate) struct Ring(IoUring);

impl Ring {
    pub(crate) fn new() -> std::io::Result<Self> {
        IoUring::new(AT_ONCE as u32).map(Self)
    }

    /// Sends the bytes on each socket, which is open, and gives what came of each by its index: bytes, or a
    /// negative error number.
    pub(crate) fn send(&mut self, sockets: &[RawFd], bytes: &[u8]) -> std::io::Result<Vec<i32>> {
        let mut outcomes = vec![0; sockets.len()];
        let flags = (SendFlags::DONTWAIT | SendFlags::NOSIGNAL).bits().cast_signed();
        for (first, some) in (0..).step_by(AT_ONCE).zip(sockets.chunks(AT_ONCE)) {
            for (index, socket) in (first..).zip(some) {
                let send =
                    opcode::Send::new(types::Fd(*socket), bytes.as_ptr(), bytes.len() as u32);
                let entry = send.flags(flags).build().user_data(index);
                // SAFETY: it is completed when the loop below has its outcome, and the bytes are borrowed until then.
                // A panic or an error in between ends the process.
                unsafe { self.0.submission().push(&entry) }.expect("there is room for all");
            }
            self.0.submit_and_wait(some.len())?;
            for completion in self.0.completion() {
                outcomes[completion.user_data() as usize] = completion.result();
            }
        }
        Ok(outcomes)
    }
}
