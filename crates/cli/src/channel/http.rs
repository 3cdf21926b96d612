//! Requests to a channel by HTTP/1.1, over the same way as a WebSocket.

use std::{fmt::Display, time::Duration};

use ::http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{HOST, LOCATION, RETRY_AFTER},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    ext::on_informational,
};
use hyper_util::rt::TokioIo;
use sockeye_proto::handshake::{HeadLimits, MAX_INTERIM};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use url::Position;

use super::{Channel, Failure};
use crate::errors::explain::{self, Problem};

/// The longest answer that has no messages: a position, or why there is none.
pub(crate) const MAX_ANSWER: usize = 8 << 10;

/// How much is read from the network at once.
const READ_BUFFER: usize = 64 << 10;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question<'q> {
    pub(crate) method: Method,
    pub(crate) parameters: Vec<(&'q str, &'q str)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How long the server may take on purpose.
    pub(crate) patience: Duration,
}

/// A connection to a channel that lasts from one request to the next.
#[derive(Debug)]
pub(crate) struct Http<'c> {
    channel: &'c Channel,
    open: Option<Open>,
}

/// The connection, which ends when this is dropped.
#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<Result<(), hyper::Error>>,
}

impl<'q> Question<'q> {
    pub(crate) fn new(method: Method, parameters: Vec<(&'q str, &'q str)>) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, parameters, headers, body, patience: Duration::ZERO }
    }
}

impl<'c> Http<'c> {
    pub(crate) fn new(channel: &'c Channel) -> Self {
        Self { channel, open: None }
    }

    /// Asks, and gives the whole answer, of that many bytes at most, if it is a success.
    pub(crate) async fn ask_whole(
        &mut self,
        question: &Question<'_>,
        max: usize,
    ) -> Result<Bytes, Failure> {
        let response = self.ask(question).await?;
        self.channel.in_time(body(response, max)).await
    }

    /// Asks, and gives the head of the answer if it is a success. What follows is still to come.
    pub(crate) async fn ask(
        &mut self,
        question: &Question<'_>,
    ) -> Result<Response<Incoming>, Failure> {
        let limit = self.channel.timeout + question.patience;
        let response = timeout(limit, self.send(question)).await;
        let response = response.map_err(|_| Failure::broken("the server does not answer"))??;
        match response.status() {
            status if status.is_success() => Ok(response),
            _ => Err(refusal(response, self.channel).await),
        }
    }

    async fn send(&mut self, question: &Question<'_>) -> Result<Response<Incoming>, Failure> {
        if let Some(mut open) = self.open.take()
            && open.sender.ready().await.is_ok()
            && let Ok(response) = open.send(self.request(question)?).await?
        {
            self.open = Some(open);
            return Ok(response);
        }
        // A server may have closed a connection that lay idle; on a new one that is an error.
        let mut open = self.connect().await?;
        let response = open.send(self.request(question)?).await?;
        let response = response.map_err(|error| self.no_answer(&error))?;
        self.open = Some(open);
        Ok(response)
    }

    async fn connect(&self) -> Result<Open, Failure> {
        let client = self.channel.client(&[]).map_err(Failure::Unreachable)?;
        let transport = client.transport().await;
        let transport = transport.map_err(|error| {
            Failure::Unreachable(explain::connect_error(error, &self.channel.route))
        })?;
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
        Ok(Open { sender, _driver: driver })
    }

    /// What it means that nothing came that is an answer.
    fn no_answer(&self, error: &hyper::Error) -> Failure {
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
        let s = if self.channel.url.scheme() == "wss" { "" } else { "s" };
        Failure::Refused(format!(
            "{} does not answer in HTTP: if it speaks another protocol, there is no channel; else try \
             http{s}://",
            self.channel.name()
        ))
    }

    fn request(&self, question: &Question<'_>) -> Result<Request<Full<Bytes>>, Failure> {
        let url = self.channel.url(&question.parameters);
        let target = &url[Position::BeforePath..];
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let mut request = Request::builder()
            .method(&question.method)
            .uri(target)
            .header(HOST, host)
            .body(Full::new(question.body.clone()))
            .map_err(|error| Failure::Unreachable(error.into()))?;
        let headers = request.headers_mut();
        headers.extend(self.channel.headers.clone());
        headers.extend(question.headers.clone());
        Ok(request)
    }
}

impl Open {
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

/// The whole answer.
async fn body(response: Response<Incoming>, max: usize) -> Result<Bytes, Failure> {
    let body = Limited::new(response.into_body(), max).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => Failure::broken(format!("the answer has more than {max} bytes")),
        false => Failure::broken(error),
    });
    Ok(body?.to_bytes())
}

/// What an answer that is not a success means.
async fn refusal(response: Response<Incoming>, channel: &Channel) -> Failure {
    let (status, retry) = (response.status(), retry_after(response.headers()));
    let to = match response.headers().get(LOCATION).filter(|_| status.is_redirection()) {
        Some(to) => format!(", and sends to {}", String::from_utf8_lossy(to.as_bytes())),
        None => String::new(),
    };
    let problem = match channel.in_time(body(response, MAX_ANSWER)).await {
        Ok(body) => Problem::in_body(&body),
        Err(_) => None,
    };
    let is_final = explain::is_final(status);
    let why = match &problem {
        Some(Problem { code, detail }) => {
            let is_elsewhere =
                matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
            let hint = if is_elsewhere { channel.hint() } else { String::new() };
            format!("{code}: {detail}{hint}")
        }
        None if is_final => channel.is_none_for(format!("the server answers {status}{to}")),
        None => format!("the server answers {status}"),
    };
    if is_final { Failure::Refused(why) } else { Failure::Broken { why, retry } }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs)
}

/// What was answered is not what was asked for.
pub(crate) fn nonsense(error: impl Display) -> Failure {
    Failure::broken(format!("this is not a channel of sockeye's: {error}"))
}
