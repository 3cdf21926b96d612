//! Values that live as long as a connection: its place among the members of a set, its slot under a limit.

/// What goes with a connection until its transport ends, and is dropped then. Neither that nor what it is
/// told may take the lock of a connection.
pub(crate) trait Attachment: Send {
    /// The application is being told the end.
    fn end_reported(&mut self) {}
}

impl<A: Attachment, B: Attachment> Attachment for (A, B) {
    fn end_reported(&mut self) {
        self.0.end_reported();
        self.1.end_reported();
    }
}

impl Attachment for Box<dyn Attachment> {
    fn end_reported(&mut self) {
        (**self).end_reported();
    }
}
