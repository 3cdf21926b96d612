//! Requests by HTTP/1.1, over the same way as a WebSocket.

use std::time::Duration;

use ::http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{HOST, LOCATION},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    ext::on_informational,
};
use hyper_util::rt::TokioIo;
use sockeye::ConnectError;
use sockeye_proto::handshake::{HeadLimits, MAX_INTERIM};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use url::Position;

use crate::{
    endpoint::Endpoint,
    failure::{Failure, Problem, ProblemDetails, is_final, retry_after},
};

/// The longest answer that has no messages: a position, or why there is none.
pub const MAX_ANSWER: usize = 8 << 10;

/// How much is read from the network at once.
const READ_BUFFER: usize = 64 << 10;

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

/// A connection to a server that lasts from one request to the next.
#[derive(Debug, Default)]
pub struct Http {
    open: Option<Open>,
}

/// The connection, which ends when this is dropped.
#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<Result<(), hyper::Error>>,
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
    ) -> Result<Response<Incoming>, Failure> {
        let limit = endpoint.timeout() + question.hold;
        let response = timeout(limit, self.send(endpoint, question)).await;
        let response = response.map_err(|_| Failure::broken("the server does not answer"))??;
        match response.status() {
            status if status.is_success() => Ok(response),
            _ => Err(refusal(response, endpoint).await),
        }
    }

    async fn send(
        &mut self,
        endpoint: &Endpoint,
        question: &Question<'_>,
    ) -> Result<Response<Incoming>, Failure> {
        if let Some(mut open) = self.open.take()
            && open.sender.ready().await.is_ok()
            && let Ok(response) = open.send(request(endpoint, question)?).await?
        {
            self.open = Some(open);
            return Ok(response);
        }
        // A server may have closed a connection that lay idle; on a new one that is an error.
        let mut open = Open::connect(endpoint).await?;
        let response = open.send(request(endpoint, question)?).await?;
        let response = response.map_err(|error| no_answer(endpoint, &error))?;
        self.open = Some(open);
        Ok(response)
    }
}

impl Open {
    async fn connect(endpoint: &Endpoint) -> Result<Self, Failure> {
        let client = endpoint.client(&[]).map_err(Failure::unreachable)?;
        let transport = client.transport().await.map_err(Failure::unreachable)?;
        let head = HeadLimits::default();
        let handshake = http1::Builder::new()
            .max_headers(head.fields)
            .max_header_size(head.bytes)
            .max_buf_size(READ_BUFFER)
            .handshake(TokioIo::new(transport))
            .await;
        let (sender, connection) = handshake.map_err(Failure::broken)?;
        // How it ends, the request that waits for an answer is told.
        let driver = AbortOnDropHandle::new(tokio::spawn(connection));
        Ok(Self { sender, _driver: driver })
    }

    /// Sends a request and waits for the head of its answer.
    async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Result<Response<Incoming>, hyper::Error>, Failure> {
        // Each interim answer (RFC 9110 §15.2) takes a place; the first without one is one too many.
        let (places, _taken) = mpsc::channel(MAX_INTERIM.into());
        let (exceeded, mut excess) = mpsc::channel(1);
        on_informational(&mut request, move |_| {
            if let Err(TrySendError::Full(())) = places.try_send(()) {
                let _ = exceeded.try_send(());
            }
        });
        tokio::select! {
            biased;
            Some(()) = excess.recv() => Err(Failure::broken(format!(
                "the server sends more than {MAX_INTERIM} interim answers"
            ))),
            response = self.sender.send_request(request) => Ok(response),
        }
    }
}

/// What it means that nothing came that is an answer.
fn no_answer(endpoint: &Endpoint, error: &hyper::Error) -> Failure {
    if error.is_parse_too_large() {
        return Failure::broken("the head of the answer is too large");
    }
    // The request that waited is told no more than that.
    if error.is_canceled() || error.is_incomplete_message() {
        return Failure::broken("the server ended the connection without an answer");
    }
    if !error.is_parse() {
        return Failure::broken(error);
    }
    let s = if endpoint.is_secure() { "" } else { "s" };
    Failure::refused(format!(
        "{} does not answer in HTTP: if it speaks another protocol, there is no channel; else try \
         http{s}://",
        endpoint.name()
    ))
}

fn request(endpoint: &Endpoint, question: &Question<'_>) -> Result<Request<Full<Bytes>>, Failure> {
    let url = endpoint.url(&question.parameters);
    let target = &url[Position::BeforePath..];
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let mut request = Request::builder()
        .method(&question.method)
        .uri(target)
        .header(HOST, host)
        .body(Full::new(question.body.clone()))
        .map_err(|error| Failure::unreachable(ConnectError::Header(error.to_string())))?;
    let headers = request.headers_mut();
    headers.extend(endpoint.headers().clone());
    headers.extend(question.headers.clone());
    Ok(request)
}

/// The whole answer.
async fn body(response: Response<Incoming>, max: usize) -> Result<Response<Bytes>, Failure> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, max).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => Failure::broken(format!("the answer has more than {max} bytes")),
        false => Failure::broken(error),
    });
    Ok(Response::from_parts(head, body?.to_bytes()))
}

/// What an answer that is not a success means.
async fn refusal(response: Response<Incoming>, endpoint: &Endpoint) -> Failure {
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
