//! What the browser's API throws.

/// A `DOMException`: a call that the standard forbids. It is thrown before anything has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.name(), self.message())]
#[non_exhaustive]
pub enum DomException {
    /// A close code that an application may not send.
    InvalidAccess(String),
    /// A call that makes no sense yet, or any more.
    InvalidState(String),
    /// An argument that is not written as it must be.
    Syntax(String),
}

impl DomException {
    /// The name as scripts know it: `InvalidAccessError`, `InvalidStateError` or `SyntaxError`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidAccess(_) => "InvalidAccessError",
            Self::InvalidState(_) => "InvalidStateError",
            Self::Syntax(_) => "SyntaxError",
        }
    }

    /// What is wrong, in words for developers.
    pub fn message(&self) -> &str {
        let (Self::InvalidAccess(text) | Self::InvalidState(text) | Self::Syntax(text)) = self;
        text
    }
}
