//! A writer that does not keep its connection open.

use std::sync::{Arc, Weak};

use super::{core::shared::Shared, handle::Handle, writer::Writer};

/// A [`Writer`] that does not keep its connection open: for a register of connections.
///
/// ```
/// use sockeye::{Config, WebSocket};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut client, server) = WebSocket::pair(Config::default());
/// let weak = client.weak_writer();
/// weak.upgrade().expect("the connection is held").send("hello").await?;
/// drop(client);
/// assert!(weak.upgrade().is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WeakWriter {
    shared: Weak<Shared>,
}

impl WeakWriter {
    pub(super) fn new(handle: &Handle) -> Self {
        Self { shared: Arc::downgrade(&handle.shared) }
    }

    /// A writer, as long as the application holds any handle of the connection; `None` after that.
    pub fn upgrade(&self) -> Option<Writer> {
        Writer::of_held(self.shared.upgrade()?)
    }
}
