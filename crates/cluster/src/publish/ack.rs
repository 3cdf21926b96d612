//! What JetStream says to a message: stored, refused, or not now.

use std::time::Duration;

use async_nats::client::{PublishError as SendError, PublishErrorKind};
use async_nats::{Message, RequestError, RequestErrorKind, StatusCode};
use serde::Deserialize;

use crate::error::jetstream::{Refusal, code};
use sockeye_hub::PublishError;

/// How long a message with the id of one that is just being stored waits.
const ID_IN_PROGRESS: Duration = Duration::from_millis(20);
/// How long a message waits that was not taken.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(250);

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    /// It is stored on a majority of the servers.
    Stored {
        seq: u64,
        /// One with the same id was stored before, as `seq`.
        duplicate: bool,
    },
    /// It was not taken, nor is anything else: try again after [`RETRY_AFTER`].
    Again,
    /// One with the same id is just being stored: ask again after this time.
    InProgress(Duration),
    /// It was not taken, and will not be.
    Refused(Failure),
    /// It may be stored, or not.
    Unknown,
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is too large for the stream.
    TooLarge,
    /// The stream or the server is full.
    NoSpace,
    /// The servers do not keep up.
    Busy,
    /// No server took it in time.
    Unavailable,
    /// It may be stored, or not.
    Unknown,
    /// Another publication was stored first.
    Conflict,
    /// JetStream refused it for another reason, which was logged.
    Failed,
}

impl Failure {
    /// The same to a publisher, whose message would be charged for that much where `limit` is taken.
    pub(crate) fn error(self, charge: u64, limit: u64) -> PublishError {
        match self {
            Self::TooLarge => PublishError::TooLarge { charge, limit },
            Self::NoSpace => PublishError::ClusterFull,
            Self::Busy => PublishError::ClusterBusy,
            Self::Unavailable => PublishError::Unavailable,
            Self::Unknown => PublishError::Unknown,
            // A publication expects nothing but that its channel has not ended.
            Self::Conflict => PublishError::Ended,
            Self::Failed => PublishError::ClusterFailed,
        }
    }
}

#[derive(Debug, Deserialize)]
struct PubAck {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<Refusal>,
}

/// What an answer says.
pub(crate) fn read(answer: &Message) -> Ack {
    match answer.status {
        Some(StatusCode::NO_RESPONDERS) => Ack::Again,
        _ => read_payload(&answer.payload),
    }
}

/// What the client says of a message that it does not send.
pub(crate) fn unsent(error: &SendError) -> Ack {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => Ack::Refused(Failure::TooLarge),
        PublishErrorKind::InvalidSubject => Ack::Refused(Failure::Failed),
        PublishErrorKind::Send => Ack::Again,
    }
}

/// What the answer to a request, or its absence, says.
pub(crate) fn of_request(answer: Result<Message, RequestError>) -> Ack {
    match answer {
        Ok(message) => read(&message),
        Err(error) => match error.kind() {
            RequestErrorKind::NoResponders => Ack::Again,
            RequestErrorKind::MaxPayloadExceeded => Ack::Refused(Failure::TooLarge),
            RequestErrorKind::InvalidSubject => Ack::Refused(Failure::Failed),
            RequestErrorKind::TimedOut | RequestErrorKind::Other => Ack::Unknown,
        },
    }
}

fn read_payload(payload: &[u8]) -> Ack {
    let Ok(PubAck { seq, duplicate, error }) = serde_json::from_slice(payload) else {
        tracing::error!("an answer to a message cannot be read: is JetStream behind this subject?");
        return Ack::Unknown;
    };
    match error {
        Some(refusal) => refused(&refusal),
        None if seq > 0 => Ack::Stored { seq, duplicate },
        None => Ack::Unknown,
    }
}

fn refused(refusal: &Refusal) -> Ack {
    let Refusal { err_code, description } = refusal;
    match *err_code {
        code::ID_IN_PROGRESS => Ack::InProgress(ID_IN_PROGRESS),
        // Every failure of the store has this code.
        code::STORE_FAILED if description.contains("maximum bytes exceeded") => {
            Ack::Refused(Failure::NoSpace)
        }
        code::STORAGE_RESOURCES_EXCEEDED | code::INSUFFICIENT_RESOURCES => {
            Ack::Refused(Failure::NoSpace)
        }
        code::MESSAGE_TOO_LARGE => Ack::Refused(Failure::TooLarge),
        code::WRONG_LAST_SEQUENCE | code::WRONG_LAST_SEQUENCE_SOON => {
            Ack::Refused(Failure::Conflict)
        }
        // Servers have more codes for it than these.
        _ if description.starts_with("wrong last sequence") => Ack::Refused(Failure::Conflict),
        code::TOO_MUCH_IN_FLIGHT => Ack::Refused(Failure::Busy),
        code::NOT_AVAILABLE => Ack::Again,
        // The first servers of 2.12, of what was sent to them while others elect a leader. It may have that, too.
        _ if description == "raft: not leader" => Ack::Unknown,
        _ => {
            tracing::error!(code = err_code, description, "JetStream has refused a message");
            Ack::Refused(Failure::Failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_answer_says_what_became_of_the_message() {
        let error = |code: u32, text: &str| {
            format!(
                r#"{{"error":{{"code":503,"err_code":{code},"description":"{text}"}},"stream":"s","seq":0}}"#
            )
        };
        for (answer, ack) in [
            (r#"{"stream":"s","seq":7}"#.to_owned(), Ack::Stored { seq: 7, duplicate: false }),
            (
                r#"{"stream":"s","seq":7,"duplicate":true}"#.to_owned(),
                Ack::Stored { seq: 7, duplicate: true },
            ),
            (error(10077, "maximum bytes exceeded"), Ack::Refused(Failure::NoSpace)),
            (error(10077, "store is closed"), Ack::Refused(Failure::Failed)),
            (error(10047, ""), Ack::Refused(Failure::NoSpace)),
            (error(10023, ""), Ack::Refused(Failure::NoSpace)),
            (error(10054, ""), Ack::Refused(Failure::TooLarge)),
            (error(10071, ""), Ack::Refused(Failure::Conflict)),
            (error(10164, ""), Ack::Refused(Failure::Conflict)),
            (error(1, "wrong last sequence: 0"), Ack::Refused(Failure::Conflict)),
            (error(10158, ""), Ack::InProgress(ID_IN_PROGRESS)),
            (error(10167, ""), Ack::Refused(Failure::Busy)),
            (error(10008, ""), Ack::Again),
            (r#"{"error":{"code":503,"description":"raft: not leader"}}"#.to_owned(), Ack::Unknown),
            (error(1, ""), Ack::Refused(Failure::Failed)),
            ("{}".to_owned(), Ack::Unknown),
            ("x".to_owned(), Ack::Unknown),
            (String::new(), Ack::Unknown),
        ] {
            assert_eq!(read_payload(answer.as_bytes()), ack, "{answer}");
        }
    }

    #[test]
    fn a_failure_of_the_cluster_is_told_as_one() {
        use Failure::*;
        assert_eq!(Conflict.error(1, 2), PublishError::Ended);
        for failure in [NoSpace, Busy, Unavailable, Unknown, Failed] {
            let told = failure.error(1, 2).to_string();
            assert!(told.contains("cluster"), "{failure:?}: {told}");
            assert!(failure == Unknown || !told.contains("disk"), "{failure:?}: {told}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_says_something(answer: Vec<u8>) {
            read_payload(&answer);
        }
    }
}
