//! That of the library, over tokio.

use std::time::Duration;

use sockeye::{Config, ConnectError, ResponseError};
pub(crate) use sockeye::{Message as Received, Reader, WebSocket, Writer};
use sockeye_proto::handshake::MalformedHead;

use super::SUBPROTOCOL;
use crate::{
    endpoint::Endpoint,
    failure::{Failure, Problem, ProblemDetails, is_final, refusal, retry_after},
    token::Token,
};

/// Whether what is not read waits at the server.
pub(crate) const CAN_WAIT: bool = true;

/// Opens the WebSocket there, in `sockeye.v1`, with this token.
///
/// # Errors
///
/// When it is not opened.
pub(crate) async fn open(
    endpoint: &Endpoint,
    parameters: &[(&str, &str)],
    token: Option<&Token>,
) -> Result<WebSocket, Failure> {
    let endpoint = endpoint.clone().bearer(token.map(|token| &token.header));
    let client = endpoint.client(parameters).map_err(Failure::unreachable)?;
    let config = Config::default().max_message_size(endpoint.max());
    let opening = client.subprotocol(SUBPROTOCOL).config(config).connect();
    let socket = opening.await.map_err(not_opened)?;
    match socket.subprotocol() {
        Some(SUBPROTOCOL) => Ok(socket),
        _ => Err(Failure::refused(endpoint.is_none_for("the server does not speak sockeye.v1"))),
    }
}

/// The next frame; an error once there is none.
pub(crate) async fn next(reader: &mut Reader) -> Result<Received, Failure> {
    match reader.recv().await {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(Failure::broken(error)),
        None => Err(match reader.closed() {
            Some(closed) => Failure::broken(closed),
            None => Failure::broken("the connection ended"),
        }),
    }
}

fn not_opened(error: ConnectError) -> Failure {
    let broken = |error: ConnectError| Failure::Broken {
        problem: Problem::new(&error),
        retry: Duration::ZERO,
        is_on_purpose: false,
        cause: Some(Box::new(error)),
    };
    match error {
        ConnectError::Response(ResponseError::Status(response)) => {
            let (status, message) = (response.status(), refusal(&response));
            let retry = retry_after(response.headers());
            let details = ProblemDetails::in_body(response.body());
            let code = details.map(|details| details.code);
            let is_final = is_final(status);
            let problem = Problem { status: Some(status), code, message, retry: !is_final };
            if is_final { Failure::Refused(problem) } else { Failure::later(problem, retry) }
        }
        ConnectError::Response(ResponseError::Head(MalformedHead::Tls)) => {
            Failure::unreachable(error)
        }
        ConnectError::Response(_) => Failure::refused(error),
        // Another kind of request may get through where a WebSocket does not.
        ConnectError::Timeout(_) | ConnectError::Io(_) => broken(error),
        error => Failure::unreachable(error),
    }
}
