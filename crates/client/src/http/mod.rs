//! Requests, and what their answers mean.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod system;

use std::time::Duration;

use ::http::{HeaderMap, Method, Response, StatusCode, header::LOCATION};
use bytes::{Bytes, BytesMut};

#[cfg(target_family = "wasm")]
pub use self::browser::{Body, Http};
#[cfg(not(target_family = "wasm"))]
pub use self::system::{Body, Http};
use crate::{
    endpoint::Endpoint,
    failure::{Failure, Problem, ProblemDetails, is_final, retry_after},
    platform::timeout,
};

/// The longest answer that has no messages: a position, or why there is none.
pub const MAX_ANSWER: usize = 8 << 10;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question<'q> {
    /// The method.
    pub method: Method,
    /// Parameters of the URL.
    pub parameters: Vec<(&'q str, &'q str)>,
    /// Headers beside those that all requests have.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long the server may hold its answer.
    pub hold: Duration,
}

impl<'q> Question<'q> {
    /// A question without headers and body.
    pub fn new(method: Method, parameters: Vec<(&'q str, &'q str)>) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, parameters, headers, body, hold: Duration::ZERO }
    }
}

impl Http {
    /// Asks, and gives the whole answer, of that many bytes at most, if it is a success.
    ///
    /// # Errors
    ///
    /// When the answer is another, too long, or late.
    pub async fn ask_whole(
        &mut self,
        endpoint: &Endpoint,
        question: &Question<'_>,
        max: usize,
    ) -> Result<Response<Bytes>, Failure> {
        let response = self.ask(endpoint, question).await?;
        endpoint.in_time(body(response, max)).await
    }

    /// Asks, and gives the head of the answer if it is a success. What follows is still to come.
    ///
    /// # Errors
    ///
    /// When the answer is another, or late.
    pub async fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question<'_>,
    ) -> Result<Response<Body>, Failure> {
        let limit = endpoint.timeout() + question.hold;
        let response = timeout(limit, self.send(endpoint, question)).await;
        let response = response.map_err(|_| Failure::broken("the server does not answer"))??;
        match response.status() {
            status if status.is_success() => Ok(response),
            _ => Err(refusal(response, endpoint).await),
        }
    }
}

/// The whole answer.
async fn body(response: Response<Body>, max: usize) -> Result<Response<Bytes>, Failure> {
    let (head, mut body) = response.into_parts();
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(Failure::broken)?;
        if whole.len() + piece.len() > max {
            return Err(Failure::broken(format!("the answer has more than {max} bytes")));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Response::from_parts(head, whole.freeze()))
}

/// What an answer that is not a success means.
async fn refusal(response: Response<Body>, endpoint: &Endpoint) -> Failure {
    let (status, retry) = (response.status(), retry_after(response.headers()));
    let to = match response.headers().get(LOCATION).filter(|_| status.is_redirection()) {
        Some(to) => format!(", and sends to {}", String::from_utf8_lossy(to.as_bytes())),
        None => String::new(),
    };
    let details = match endpoint.in_time(body(response, MAX_ANSWER)).await {
        Ok(response) => ProblemDetails::in_body(response.body()),
        Err(_) => None,
    };
    let is_final = is_final(status);
    let message = match &details {
        Some(ProblemDetails { code, detail }) => {
            let is_elsewhere =
                matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
            let hint = if is_elsewhere { endpoint.hint() } else { String::new() };
            format!("{code}: {detail}{hint}")
        }
        None if is_final => endpoint.is_none_for(format!("the server answers {status}{to}")),
        None => format!("the server answers {status}"),
    };
    let code = details.map(|details| details.code);
    let problem = Problem { status: Some(status), code, message, retry: !is_final };
    if is_final { Failure::Refused(problem) } else { Failure::later(problem, retry) }
}
