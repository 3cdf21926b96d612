//! Errors, by whose fault they are.

use std::sync::Arc;

use crate::{
    failure::{Failure, Problem},
    platform::ConnectError,
};

/// Why a channel is not read, or nothing was published. Cloning is cheap.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL that the client was made with.
    #[error("{0}: write where the server is, as https://example.org/")]
    Url(String),
    /// A name that no channel can have.
    #[error(
        "{0:?} is not the name of a channel: 1 to 255 of A-Z a-z 0-9 _ - . : ~ @, beginning with a letter or digit"
    )]
    Channel(String),
    /// An option or a value that cannot be used, and why.
    #[error("{0}")]
    Option(String),
    /// The server refuses: asking again changes nothing.
    #[error("{server}: {problem}")]
    Refused {
        /// The URL that was asked.
        server: String,
        /// What the server says.
        problem: Problem,
    },
    /// The server is not reached.
    #[error("{server}: {error}")]
    Unreachable {
        /// The URL that was asked.
        server: String,
        /// Why not.
        #[source]
        error: Arc<ConnectError>,
    },
    /// The connection broke, or the server was not well, each time that it was tried.
    #[error("{server}: {problem}")]
    Failed {
        /// The URL that was asked.
        server: String,
        /// What was wrong the last time.
        problem: Problem,
    },
    /// The client has been dropped, or the runtime that it ran on has ended.
    #[error("the runtime of this client has ended")]
    Closed,
}

impl Error {
    /// The server's stable word for what is wrong, such as `forbidden`, if it said one.
    pub fn code(&self) -> Option<&str> {
        self.problem()?.code.as_deref()
    }

    /// What the server says, if it has answered.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } | Self::Failed { problem, .. } => Some(problem),
            _ => None,
        }
    }

    pub(crate) fn of(server: String, failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(error) => Self::Unreachable { server, error: Arc::from(error) },
            Failure::Refused(problem) => Self::Refused { server, problem },
            Failure::Broken { problem, .. } => Self::Failed { server, problem },
            Failure::Enough => Self::Closed,
        }
    }
}
