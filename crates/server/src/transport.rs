//! The words for transports: one table for metrics, `/connections`, `?stream=`, the command line and the
//! documentation. The browser client has the same words; the tests compare the two.

use std::fmt;
use std::str::FromStr;

/// A way in which the messages of a channel reach a client.
///
/// ```
/// use sockeye_server::Transport;
///
/// assert_eq!("longpoll".parse(), Ok(Transport::LongPoll));
/// assert_eq!(Transport::Sse.to_string(), "sse");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `ws`: a plain WebSocket on one channel. It carries payloads, and no positions.
    Ws,
    /// `v1`: a WebSocket with the subprotocol `sockeye.v1`.
    V1,
    /// `sse`: Server-Sent Events.
    Sse,
    /// `ndjson`: one response of JSON lines that goes on.
    Ndjson,
    /// `longpoll`: requests that the server holds until there is a message.
    LongPoll,
    /// `poll`: requests that are answered at once.
    Poll,
}

/// A word that names no [`Transport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTransport(());

impl Transport {
    /// All transports, in the order of their declaration.
    pub const ALL: [Self; 6] =
        [Self::Ws, Self::V1, Self::Sse, Self::Ndjson, Self::LongPoll, Self::Poll];

    /// The word for it: what [`Display`](fmt::Display) writes and [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::V1 => "v1",
            Self::Sse => "sse",
            Self::Ndjson => "ndjson",
            Self::LongPoll => "longpoll",
            Self::Poll => "poll",
        }
    }

    /// Its name in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ws => "plain WebSocket",
            Self::V1 => "sockeye.v1",
            Self::Sse => "Server-Sent Events",
            Self::Ndjson => "JSON lines",
            Self::LongPoll => "long polling",
            Self::Poll => "polling",
        }
    }

    /// What it is, for a list of the words.
    pub fn description(self) -> &'static str {
        match self {
            Self::Ws => "A WebSocket that carries payloads and nothing else",
            Self::V1 => "A WebSocket that speaks sockeye.v1",
            Self::Sse => "Server-Sent Events",
            Self::Ndjson => "JSON lines in one response",
            Self::LongPoll => "Requests that wait for messages",
            Self::Poll => "Requests in an interval",
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

impl fmt::Display for UnknownTransport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [others @ .., last] = Transport::ALL.map(Transport::name);
        write!(out, "not a transport: write {} or {last}", others.join(", "))
    }
}

impl std::error::Error for UnknownTransport {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_names_its_transport_alone() {
        for (index, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(transport as usize, index, "counters are found by it");
            assert_eq!(transport.to_string().parse(), Ok(transport));
        }
        for word in ["", "WS", "websocket", "long-poll", "ws "] {
            let error = word.parse::<Transport>().unwrap_err().to_string();
            assert_eq!(error, "not a transport: write ws, v1, sse, ndjson, longpoll or poll");
        }
    }
}
