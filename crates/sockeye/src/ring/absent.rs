//! Where there is no io_uring: without the feature `uring`, on another system than Linux, on a processor that the crate
//! does not know.

use std::{convert::Infallible, io, marker::PhantomData};

use tokio::net::TcpStream;

/// A socket to send on.
pub(crate) struct Socket<'a>(PhantomData<&'a ()>);

/// The socket of a stream; `None` where there is no ring that could send on it.
pub(crate) fn socket(_: &TcpStream) -> Option<Socket<'_>> {
    None
}

/// There is none.
pub(super) struct Ring(Infallible);

/// Nor is any broken.
pub(super) struct Broken(pub(super) io::Error);

impl Ring {
    pub(super) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn try_out(&mut self) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn send(&mut self, _: &[Socket<'_>], _: &[u8], _: &mut [i32]) -> Result<(), Broken> {
        match self.0 {}
    }
}
