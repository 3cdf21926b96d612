//! How what goes to many connections at once is handed to the system.

use std::fmt::{self, Display};
use std::io;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::thread::available_parallelism;

use sockeye::SendRings;

/// How what goes to many connections at once is handed to the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Io {
    /// By what was measured to take less processor time.
    #[default]
    Auto,
    /// Connection by connection, by the calls that epoll belongs to.
    Epoll,
    /// 64 connections by one call, through io_uring of Linux 5.6 and later. Where that is not to be had the server does
    /// not start.
    Uring,
}

/// It is none of the words for an [`Io`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not auto, epoll or uring")]
pub struct UnknownIo;

/// How many rings there are at most: their descriptors are of those that are kept from connections, of which 64 are for
/// nothing else.
const MAX_RINGS: usize = 32;

/// Why there is no io_uring.
#[derive(Debug, thiserror::Error)]
#[error("io_uring cannot be used: {error}{}", advice(error))]
pub struct UringError {
    error: io::Error,
}

impl Io {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Epoll, Self::Uring];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Epoll => "epoll",
            Self::Uring => "uring",
        }
    }

    /// The rings that it takes.
    pub(crate) fn rings(self) -> Result<Option<SendRings>, UringError> {
        match self {
            Self::Auto | Self::Epoll => Ok(None),
            Self::Uring => {
                let processors = available_parallelism().map_or(1, NonZeroUsize::get);
                match SendRings::new(rings_for(processors)) {
                    Ok(rings) => Ok(Some(rings)),
                    Err(error) => Err(UringError { error }),
                }
            }
        }
    }
}

/// How many rings a server has with that many processors: as many send at once, and another sends without one.
fn rings_for(processors: usize) -> usize {
    processors.min(MAX_RINGS)
}

impl Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Io {
    type Err = UnknownIo;

    fn from_str(word: &str) -> Result<Self, UnknownIo> {
        Self::ALL.into_iter().find(|io| io.name() == word).ok_or(UnknownIo)
    }
}

/// What to do about it.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": the system forbids it (kernel.io_uring_disabled, or a container's filter of system calls): allow it there"
        }
        io::ErrorKind::Unsupported => {
            ": it takes Linux 5.6 and a filter of system calls that allows it"
        }
        io::ErrorKind::OutOfMemory => ": raise the limit of locked memory (RLIMIT_MEMLOCK)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_word_and_others_are_none() {
        for io in Io::ALL {
            assert_eq!(io.to_string().parse(), Ok(io));
        }
        assert_eq!("io_uring".parse::<Io>(), Err(UnknownIo));
        assert_eq!(Io::default().rings().expect("it takes none").map(drop), None);
    }

    #[test]
    fn there_are_32_rings_at_most() {
        assert_eq!([1, 2, 32, 33, 256].map(rings_for), [1, 2, 32, 32, 32]);
    }

    #[test]
    fn an_error_says_what_to_do() {
        let text = |kind: io::ErrorKind| UringError { error: kind.into() }.to_string();
        assert!(text(io::ErrorKind::PermissionDenied).contains("kernel.io_uring_disabled"));
        assert!(text(io::ErrorKind::Unsupported).contains("Linux 5.6"));
        assert!(text(io::ErrorKind::OutOfMemory).contains("RLIMIT_MEMLOCK"));
    }
}
