//! The words for transports: those of the server that carry positions.

use std::{fmt, str::FromStr};

/// A way in which the messages of a channel reach this client: one that carries positions, so that it can be left
/// for another without a loss.
///
/// ```
/// use sockeye_client::Transport;
///
/// assert_eq!("longpoll".parse(), Ok(Transport::LongPoll));
/// assert_eq!(Transport::V1.to_string(), "v1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `v1`: one WebSocket for all channels, with the subprotocol `sockeye.v1`. It publishes, too.
    V1,
    /// `sse`: Server-Sent Events, a request for each channel.
    Sse,
    /// `ndjson`: JSON lines, a request for each channel.
    Ndjson,
    /// `longpoll`: requests that the server holds until there is a message.
    LongPoll,
    /// `poll`: a request for each channel in an interval.
    Poll,
}

/// A word that names no [`Transport`] of this client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a transport of this client: write v1, sse, ndjson, longpoll or poll")]
pub struct UnknownTransport(());

impl Transport {
    /// All transports.
    pub const ALL: [Self; 5] = [Self::V1, Self::Sse, Self::Ndjson, Self::LongPoll, Self::Poll];

    /// Those that a client tries by default, the best first.
    pub const DEFAULT: [Self; 4] = [Self::V1, Self::Sse, Self::LongPoll, Self::Poll];

    /// The word for it: what [`Display`](fmt::Display) writes and [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Sse => "sse",
            Self::Ndjson => "ndjson",
            Self::LongPoll => "longpoll",
            Self::Poll => "poll",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(word: &str) -> Result<Self, UnknownTransport> {
        Self::ALL.into_iter().find(|transport| transport.name() == word).ok_or(UnknownTransport(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_server_except_for_the_one_without_positions() {
        let own = Transport::ALL.map(Transport::name);
        let servers = sockeye_server::Transport::ALL.map(sockeye_server::Transport::name);
        assert!(servers.iter().filter(|word| **word != "ws").eq(&own), "{servers:?}, {own:?}");
        assert!("ws".parse::<Transport>().is_err());
    }
}
