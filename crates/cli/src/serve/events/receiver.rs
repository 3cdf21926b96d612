//! The program that is told: one connection, which has one batch at a time and stays open from one to the next.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use sockeye::{Address, tls::ClientTls};
use sockeye_client::internals::{Endpoint, Failure, Http, MAX_ANSWER, Question};
use sockeye_server::{EventBatch, EventError, EventSink};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::serve::webhook::{self, Secret};

/// How long connecting and the head of the answer may take: longer than the server waits for all of it, 10 s, since that
/// says so in the log.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long the rest of the answer is read, so that the connection can be used again.
const REST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may have waited for a batch: what is behind it may be gone since, without a sign of it.
const LONGEST_IDLE: Duration = Duration::from_secs(15);

/// A program that is told of events.
pub(super) struct Receiver {
    endpoint: Endpoint,
    name: String,
    secret: Option<Secret>,
    /// The connection, if it is good for another batch, with the time of its last answer.
    idle: Mutex<Option<(Http, Instant)>>,
}

impl Receiver {
    /// The program at this address. Nothing is sent to it yet.
    pub(super) fn new(
        address: &Address,
        tls: ClientTls,
        secret: Option<Secret>,
    ) -> anyhow::Result<Self> {
        let endpoint = webhook::endpoint(address, tls, TIMEOUT)?;
        Ok(Self { endpoint, name: webhook::name(address), secret, idle: Mutex::default() })
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> EventError {
        EventError::unavailable(format!("{}: {why}", self.name))
    }
}

impl EventSink for Receiver {
    async fn take(&self, batch: &EventBatch) -> Result<(), EventError> {
        let body = Bytes::from(batch.to_json());
        let headers = match &self.secret {
            Some(secret) => {
                let signed = secret.sign(Some(format!("msg_{}", batch.id())), &body);
                signed.map_err(|why| self.unavailable(why))?
            }
            None => HeaderMap::new(),
        };
        let question = Question { headers, body, ..Question::new(Method::POST, Vec::new()) };
        let idle = self.idle.lock().await.take();
        let idle = idle.filter(|(_, since)| since.elapsed() < LONGEST_IDLE);
        let mut http = idle.map(|(http, _)| http).unwrap_or_default();
        let response = match http.ask(&self.endpoint, &question).await {
            Ok(response) => response,
            Err(failure) => return Err(self.not_taken(failure)),
        };
        // The status has said that it is taken: what else the program has to say is not needed.
        let rest = Limited::new(response.into_body(), MAX_ANSWER).collect();
        if let Ok(Ok(_)) = timeout(REST_TIMEOUT, rest).await {
            *self.idle.lock().await = Some((http, Instant::now()));
        }
        Ok(())
    }
}

impl Receiver {
    /// What it means that the answer is not a success. Of its body nothing is told: it may repeat what was sent.
    fn not_taken(&self, failure: Failure) -> EventError {
        let (problem, pause) = match failure {
            Failure::Refused(problem) if problem.status.is_none() => {
                return self.unavailable("it does not answer in HTTP");
            }
            Failure::Refused(problem) => (problem, Duration::ZERO),
            Failure::Broken { problem, retry, .. } => (problem, retry),
            Failure::Unreachable(error) => return self.unavailable(error),
            Failure::Enough => return self.unavailable("it was not told"),
        };
        match problem.status {
            Some(status) if is_final(status) => {
                EventError::refused(format!("{}: it answers {status}", self.name))
            }
            Some(status) => EventError::later(format!("{}: it answers {status}", self.name), pause),
            None => self.unavailable(problem.message),
        }
    }
}

/// Whether the same batch will never be taken: the program cannot read it, or wants none any more. Everything else may
/// be the mistake of a moment, such as a route that is not deployed yet.
fn is_final(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::GONE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

#[cfg(test)]
mod tests {
    use sockeye_testing::assert_documented;

    use super::*;

    #[test]
    fn the_guide_says_which_answers_are_final_and_what_is_read_of_others() {
        let codes = (100..600).filter(|code| is_final(StatusCode::from_u16(*code).unwrap()));
        let codes: Vec<_> = codes.map(|code| format!("`{code}`")).collect();
        assert_documented("channels/events.md", &format!("| {} |", codes.join(", ")));
        let (kibibytes, seconds) = (MAX_ANSWER >> 10, REST_TIMEOUT.as_secs());
        let rest = format!("{kibibytes} KiB of it, and {seconds} s, are read");
        assert_documented("channels/events.md", &rest);
    }
}
