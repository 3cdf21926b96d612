//! Where there is no io_uring: without the feature `uring`, on another system than Linux, on a processor that the crate
//! does not know.

use std::io;

use tokio::net::TcpStream;

/// A socket to send on.
pub(crate) type Socket<'a> = &'a TcpStream;

/// There is none.
pub(super) enum Ring {}

/// The socket of a stream; `None` where there is no ring that could send on it.
pub(crate) fn socket(_: &TcpStream) -> Option<Socket<'_>> {
    None
}

impl Ring {
    pub(super) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn is_whole(&self) -> bool {
        match *self {}
    }

    pub(super) fn try_out(&mut self) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn send(&self, _: &[Socket<'_>], _: &[u8], _: &mut [i32]) -> io::Result<()> {
        match *self {}
    }
}
