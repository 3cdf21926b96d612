//! The bytes of a WebSocket, shown to a function of the application's as they pass.

use std::{fmt, sync::Arc};

use crate::{
    net::{Direction, Watched},
    socket::ByteStream,
};

/// What is called with the bytes.
type Inspect = dyn Fn(Direction, &[u8]) + Send + Sync;

/// What is shown the bytes.
#[derive(Clone)]
pub(super) struct Inspector(Arc<Inspect>);

impl Inspector {
    pub(super) fn new(inspect: impl Fn(Direction, &[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(inspect))
    }

    /// Shows all that passes on the stream; `read` is what was read of it already.
    pub(super) fn watch(&self, stream: ByteStream, read: &[u8]) -> ByteStream {
        if !read.is_empty() {
            (self.0)(Direction::Received, read);
        }
        let inspect = Arc::clone(&self.0);
        ByteStream::boxed(Watched::new(stream, move |direction, bytes| inspect(direction, bytes)))
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inspector")
    }
}
