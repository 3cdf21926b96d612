//! The connections to the application.
//!
//! A connection has one question at a time and lasts from one to the next. There are at most as many as questions
//! at once, whose number the server bounds.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use sockeye::{Address, tls::ClientTls};
use sockeye_client::internals::{Endpoint, Failure, Http, MAX_ANSWER, Question as HttpQuestion};
use sockeye_server::AuthorizeError;
use tokio::time::{Instant, timeout};

use super::answer::Answer;
use crate::serve::webhook::{self, Secret};

/// How long a question may take, with its connection.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// How many connections wait for a question.
const MAX_IDLE: usize = 32;
/// How long one of them may have waited: what is behind it may be gone since, without a sign of it.
const LONGEST_IDLE: Duration = Duration::from_secs(15);

/// An application that answers questions.
pub(super) struct Application {
    endpoint: Endpoint,
    name: String,
    secret: Option<Secret>,
    /// The connections without a question, each with the time of its last answer; the last one is the latest.
    idle: Mutex<Vec<(Http, Instant)>>,
}

impl Application {
    /// The application at this address. Nothing is sent to it yet.
    pub(super) fn new(
        address: &Address,
        tls: ClientTls,
        secret: Option<Secret>,
    ) -> anyhow::Result<Self> {
        let endpoint = webhook::endpoint(address, tls, TIMEOUT)?;
        Ok(Self { endpoint, name: webhook::name(address), secret, idle: Mutex::default() })
    }

    /// Asks, by a POST with this body. `403` is a no.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError::Invalid`] for `401`; `Unavailable` for whatever else is not an answer, or is late.
    pub(super) async fn ask(&self, body: Bytes) -> Result<Answer, AuthorizeError> {
        let why = match timeout(TIMEOUT, self.asked(body)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(AuthorizeError::Unavailable(why))) => why.to_string(),
            Ok(Err(invalid)) => return Err(invalid),
            Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
        };
        // The other connections lead to the same place.
        self.idle().clear();
        Err(AuthorizeError::unavailable(format!("{}: {why}", self.name)))
    }

    async fn asked(&self, body: Bytes) -> Result<Answer, AuthorizeError> {
        let headers = match &self.secret {
            Some(secret) => secret.sign(None, &body).map_err(AuthorizeError::unavailable)?,
            None => HeaderMap::new(),
        };
        let question =
            HttpQuestion { headers, body, ..HttpQuestion::new(Method::POST, Vec::new()) };
        let mut http = self.connection();
        let answered = http.ask_whole(&self.endpoint, &question, MAX_ANSWER).await;
        let answer = match answered {
            Ok(response) => Answer::of(response.body()).map_err(AuthorizeError::unavailable),
            Err(failure) => refusal(failure),
        };
        if matches!(answer, Ok(_) | Err(AuthorizeError::Invalid)) {
            self.keep(http);
        }
        answer
    }

    /// The connection that was used last, or a new one.
    fn connection(&self) -> Http {
        let mut idle = self.idle();
        match idle.pop() {
            Some((http, since)) if since.elapsed() < LONGEST_IDLE => http,
            // The others have waited longer.
            Some(_) | None => {
                idle.clear();
                Http::default()
            }
        }
    }

    fn keep(&self, http: Http) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push((http, Instant::now()));
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Http, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it means that the answer is not a success. Of its body nothing is told: it may repeat what was asked.
fn refusal(failure: Failure) -> Result<Answer, AuthorizeError> {
    let problem = match failure {
        Failure::Refused(problem) if problem.status.is_none() => {
            return Err(AuthorizeError::unavailable("it does not answer in HTTP"));
        }
        Failure::Refused(problem) | Failure::Broken { problem, .. } => problem,
        Failure::Unreachable(error) => return Err(AuthorizeError::unavailable(error)),
        Failure::Enough => return Err(AuthorizeError::unavailable("it was not asked")),
    };
    match problem.status {
        Some(StatusCode::UNAUTHORIZED) => Err(AuthorizeError::Invalid),
        Some(StatusCode::FORBIDDEN) => Ok(Answer::no()),
        Some(status) => Err(AuthorizeError::unavailable(format!("it answers {status}"))),
        None => Err(AuthorizeError::unavailable(problem.message)),
    }
}
