//! What a node waits for while it joins its cluster.

use tokio::sync::watch;

/// What joining waits for, in words.
#[derive(Clone, Debug)]
pub(crate) struct Waiting(watch::Sender<Option<String>>);

impl Waiting {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// It waits for this.
    pub(crate) fn wait_for(&self, what: String) {
        self.0.send_replace(Some(what));
    }

    /// What it waits for, if there is anything yet.
    pub(crate) fn text(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Tells of each change from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }
}
