//! Why JetStream has not done what it was asked for.

use serde::Deserialize;

/// Codes of JetStream's errors (`errors.json` of nats-server).
pub(crate) mod code {
    /// Peers that a stream asks for are not there.
    pub(crate) const NO_SUITABLE_PEERS: u32 = 10005;
    /// The leader of JetStream or of the stream cannot be asked now.
    pub(crate) const NOT_AVAILABLE: u32 = 10008;
    /// A limit of the account or the server is reached.
    pub(crate) const INSUFFICIENT_RESOURCES: u32 = 10023;
    /// There is no such message.
    pub(crate) const NO_MESSAGE: u32 = 10037;
    /// JetStream is off for the account.
    pub(crate) const NOT_ENABLED_FOR_ACCOUNT: u32 = 10039;
    /// The server has no room for what is reserved.
    pub(crate) const STORAGE_RESOURCES_EXCEEDED: u32 = 10047;
    /// The message is larger than the stream takes.
    pub(crate) const MESSAGE_TOO_LARGE: u32 = 10054;
    /// There is a stream of that name with another configuration.
    pub(crate) const NAME_IN_USE: u32 = 10058;
    /// There is no such stream.
    pub(crate) const NO_STREAM: u32 = 10059;
    /// Another stream has the subjects.
    pub(crate) const SUBJECTS_OVERLAP: u32 = 10065;
    /// The expected last sequence is another.
    pub(crate) const WRONG_LAST_SEQUENCE: u32 = 10071;
    /// The same, while another message for it is being replicated.
    pub(crate) const WRONG_LAST_SEQUENCE_SOON: u32 = 10164;
    /// The servers that have the stream are away.
    pub(crate) const STREAM_OFFLINE: u32 = 10118;
    /// A server that is not part of a cluster has no replicas.
    pub(crate) const NO_REPLICAS: u32 = 10074;
    /// JetStream is off on the server.
    pub(crate) const NOT_ENABLED: u32 = 10076;
    /// The stream did not store the message, for a reason that is only told in words.
    pub(crate) const STORE_FAILED: u32 = 10077;
    /// A message with the same id is just being stored.
    pub(crate) const ID_IN_PROGRESS: u32 = 10158;
    /// Too much waits to be replicated.
    pub(crate) const TOO_MUCH_IN_FLIGHT: u32 = 10167;
}

/// Why a request was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// There was no answer in time; it may have been done.
    #[error("NATS has not answered in time")]
    Unanswered,
    /// No server answers for the subject.
    #[error("no server of NATS answers for JetStream")]
    NoResponders,
    /// JetStream says why not.
    #[error("JetStream says: {description} ({code})")]
    Refused {
        /// One of [`code`].
        code: u32,
        /// What it says.
        description: String,
    },
    /// The answer cannot be read.
    #[error("NATS has answered with something else than JetStream would: {0}")]
    Garbled(String),
    /// It could not be sent.
    #[error("NATS: {0}")]
    Connection(String),
}

impl ApiError {
    /// The code of JetStream's error, if it is one.
    pub(crate) fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same may work in a moment: an election is under way, a server starts.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unanswered | Self::NoResponders | Self::Connection(_) => true,
            Self::Refused { code, .. } => {
                matches!(*code, code::NOT_AVAILABLE | code::STREAM_OFFLINE)
            }
            Self::Garbled(_) => false,
        }
    }
}

/// The error in an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.err_code, description: refusal.description }
    }
}
