//! Requests by HTTP/1.1 over tokio, by the same way as a WebSocket.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use ::http::{Request, Response, header::HOST};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    client::conn::http1::{self, SendRequest},
    ext::on_informational,
};
use hyper_util::rt::TokioIo;
use sockeye::ConnectError;
use sockeye_proto::handshake::{HeadLimits, MAX_INTERIM};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::task::AbortOnDropHandle;
use url::Position;

use super::Question;
use crate::{endpoint::Endpoint, failure::Failure};

/// How much is read from the network at once.
const READ_BUFFER: usize = 64 << 10;

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

/// What follows the head of an answer.
#[derive(Debug)]
pub struct Body(Incoming);

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.get_mut().0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Body {
    /// The next piece.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.0.frame().await?.map(Frame::into_data) {
                Ok(Ok(bytes)) => return Some(Ok(bytes)),
                // Trailers say nothing here.
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Http {
    /// Sends a request, and gives the head of the answer, whatever it is.
    pub(super) async fn send(
        &mut self,
        endpoint: &Endpoint,
        question: &Question<'_>,
    ) -> Result<Response<Body>, Failure> {
        if let Some(mut open) = self.open.take()
            && open.sender.ready().await.is_ok()
            && let Ok(response) = open.send(request(endpoint, question)?).await?
        {
            self.open = Some(open);
            return Ok(response.map(Body));
        }
        // A server may have closed a connection that lay idle; on a new one that is an error.
        let mut open = Open::connect(endpoint).await?;
        let response = open.send(request(endpoint, question)?).await?;
        let response = response.map_err(|error| no_answer(endpoint, &error))?;
        self.open = Some(open);
        Ok(response.map(Body))
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
