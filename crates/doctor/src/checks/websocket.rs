//! A WebSocket over HTTP/1.1: whether it opens, whether it outlives that, whether it compresses; and
//! `sockeye.v1`.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use http::{
    Response, StatusCode,
    header::{LOCATION, ORIGIN},
};
use serde_json::Value;
use sockeye::{
    Client, CloseCode, Closed, Config, ConnectError, DeflateConfig, Opened, Reader, ResponseError,
    WebSocket, Writer,
};
use tokio::time::{Instant, sleep, timeout};

use super::http::advice_on;
use crate::{
    exam::Exam,
    finding::{Check, Finding},
    link::{Activity, watched},
    span::{millis, span},
};

/// How long a WebSocket has to live to count as one that is not killed right after its opening.
const ALIVE: Duration = Duration::from_secs(1);

/// A WebSocket, how long its opening took, and what passes on its connection.
pub(crate) struct Open {
    pub(crate) socket: WebSocket,
    pub(crate) activity: Activity,
    took: Duration,
}

/// The client without what would break a silence: it sends no Pings by itself. Messages that come may be of
/// any size: none is kept.
fn silent(exam: &Exam<'_>) -> Client {
    let config = Config::default().keepalive(None).max_streamed_size(usize::MAX);
    let config = config.message_timeout(None);
    exam.target.client.clone().timeout(exam.options.timeout).config(config)
}

/// Opens a WebSocket on a connection that is watched.
pub(crate) async fn open(
    exam: &Exam<'_>,
    change: impl FnOnce(Client) -> Client,
) -> Result<Open, ConnectError> {
    let client = change(silent(exam));
    let begun = Instant::now();
    let (stream, activity) = watched(client.transport().await?);
    let Opened { socket, .. } = client.open_over(stream).await?;
    activity.restart();
    Ok(Open { socket, activity, took: begun.elapsed() })
}

/// Takes messages, without keeping them, until the connection ends.
pub(crate) async fn drain(reader: &mut Reader) -> Closed {
    while let Some(Ok(mut message)) = reader.recv_stream().await {
        while let Some(Ok(_)) = message.chunk().await {}
    }
    reader.ended().await
}

/// Closes it; how it does says nothing of whether it works.
pub(crate) async fn close(mut reader: Reader, writer: Writer) {
    let closing = async { tokio::join!(writer.close(CloseCode::NORMAL), drain(&mut reader)) };
    let _ = timeout(ALIVE, closing).await;
}

/// Opens one, sees whether it lives, and tells of both. Whether it opens. Where none has to be, none is no
/// failure.
pub(crate) async fn websocket(exam: &Exam<'_>, has_to_be: bool) -> bool {
    exam.begin(Check::WebSocket);
    let offered = open(exam, |client| client.deflate(DeflateConfig::default())).await;
    let (opened, mangled) = match offered {
        Err(ConnectError::Response(ResponseError::Extension(answer))) => {
            (open(exam, |client| client.deflate(None)).await, Some(answer))
        }
        offered => (offered, None),
    };
    let Open { socket, took, .. } = match opened {
        Ok(open) => open,
        Err(error) if !has_to_be => {
            let figure = format!("none here: {}", refused(exam, error).figure);
            exam.found(Finding::skip(Check::WebSocket, figure));
            return false;
        }
        Err(error) => {
            exam.found(refused(exam, error));
            return false;
        }
    };
    let chosen = socket.subprotocol().map_or(String::new(), |name| format!(", subprotocol {name}"));
    let figure = format!("opens over HTTP/1.1 in {}{chosen}", span(took));
    exam.found(Finding::ok(Check::WebSocket, figure).value("ms", millis(took)));
    let compression = compression(&socket, mangled);
    exam.begin(Check::StaysOpen);
    exam.found(stays_open(socket, exam.options.timeout).await);
    if !exam.options.quick {
        exam.found(compression);
    }
    true
}

/// Why a WebSocket does not open, and what to do.
fn refused(exam: &Exam<'_>, error: ConnectError) -> Finding {
    let fail = |figure: String| Finding::fail(Check::WebSocket, figure);
    match error {
        ConnectError::Response(ResponseError::Status(response)) => {
            let (figure, advice) = status(&response);
            let finding = fail(figure).value("status", response.status().as_u16());
            match advice {
                Some(advice) => finding.advice(advice),
                None => finding,
            }
        }
        ConnectError::Response(
            error @ (ResponseError::Accept | ResponseError::Connection | ResponseError::Upgrade),
        ) => fail(format!("the answer is 101, but {error}"))
            .advice("a proxy or a cache answers in the server's place, or changes its answer"),
        ConnectError::Io(error) => fail(format!(
            "the connection ends during the handshake: {error}"
        ))
        .advice(
            "if plain requests get through, something in between forbids WebSockets: try wss://, whose \
             handshake is not seen; Server-Sent Events and long polls may get through",
        ),
        ConnectError::Timeout(limit) => fail(format!("no answer to the handshake in {}", span(limit)))
            .advice("if plain requests are answered, something in between holds the handshake: try wss://"),
        error => fail((exam.target.explain)(error)),
    }
}

/// What a status means that is not 101.
fn status(response: &Response<Bytes>) -> (String, Option<String>) {
    let status = response.status();
    let problem: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let said = match (&problem["code"], &problem["detail"]) {
        (Value::String(code), Value::String(detail)) => format!(": {code}: {detail}"),
        _ => String::new(),
    };
    let figure = format!("the handshake is answered {}{said}", status.as_u16());
    let advice = match status {
        StatusCode::UPGRADE_REQUIRED | StatusCode::BAD_REQUEST | StatusCode::OK => Some(
            "either this path has none, or a proxy drops the headers Upgrade and \
             Connection (nginx: proxy_http_version 1.1, proxy_set_header Upgrade and Connection)"
                .to_owned(),
        ),
        _ if status.is_redirection() => response.headers().get(LOCATION).map(|to| {
            let to = String::from_utf8_lossy(to.as_bytes());
            format!("give the URL that it sends to: {to}; browsers follow no redirect here")
        }),
        _ => advice_on(status).map(str::to_owned),
    };
    (figure, advice)
}

/// Pings, and waits a while: what kills WebSockets does so at once or at the first frame.
async fn stays_open(socket: WebSocket, limit: Duration) -> Finding {
    let begun = Instant::now();
    let (mut reader, writer) = socket.split();
    let living = async {
        let pinged = timeout(limit, writer.ping()).await;
        let Ok(Ok(round_trip)) = pinged else {
            // Without a Pong because the connection has ended: that is told by its end.
            return if pinged.is_err() { None } else { pending().await };
        };
        sleep(ALIVE.saturating_sub(begun.elapsed())).await;
        Some(round_trip)
    };
    let (ended, round_trip) = tokio::select! {
        closed = drain(&mut reader) => (Some(closed), None),
        round_trip = living => (None, round_trip),
    };
    let lived = begun.elapsed();
    match (ended, round_trip) {
        (Some(closed), _) => Finding::fail(
            Check::StaysOpen,
            format!("ended {} after it had opened: {closed}", span(lived)),
        )
        .advice(
            "if the server's log does not say why, something in between kills WebSockets after their \
             handshake: try wss://, or let it pass them",
        )
        .value("lived_ms", millis(lived)),
        (None, None) => Finding::fail(
            Check::StaysOpen,
            format!("no Pong came to a Ping in {}", span(limit)),
        )
        .advice("frames do not get through: look at what is in between"),
        (None, Some(round_trip)) => {
            close(reader, writer).await;
            let figure = format!("a Pong after {}, open after {}", span(round_trip), span(lived));
            Finding::ok(Check::StaysOpen, figure).value("ping_ms", millis(round_trip))
        }
    }
}

fn compression(socket: &WebSocket, mangled: Option<String>) -> Finding {
    if let Some(answer) = mangled {
        return Finding::fail(
            Check::Compression,
            format!("the answer to the offer is not one: {answer:?}"),
        )
        .advice(
            "browsers offer compression, and fail: mend the server, or let it not answer the offer",
        );
    }
    match socket.deflate() {
        Some(_) => Finding::ok(Check::Compression, socket.extensions()).value("agreed", true),
        None => Finding::ok(Check::Compression, "none: the server does not agree to it")
            .value("agreed", false),
    }
}

/// `sockeye.v1`: its first message.
pub(crate) async fn v1(exam: &Exam<'_>) {
    exam.begin(Check::V1);
    let finding = match open(exam, |client| client.subprotocol("sockeye.v1")).await {
        Ok(Open { mut socket, took, .. }) if socket.subprotocol() == Some("sockeye.v1") => {
            let finding = match timeout(exam.options.timeout, socket.recv()).await {
                Ok(Some(Ok(message))) if is_hello(message.as_text()) => {
                    let figure = format!("subscribes over sockeye.v1 in {}", span(took));
                    Finding::ok(Check::V1, figure)
                }
                Ok(Some(Ok(_))) => Finding::fail(Check::V1, "the first message is not a hello"),
                Ok(_) => Finding::fail(Check::V1, "the connection ends before the hello"),
                Err(_) => Finding::fail(Check::V1, "the hello does not come"),
            };
            let (reader, writer) = socket.split();
            close(reader, writer).await;
            finding
        }
        Ok(_) => Finding::skip(Check::V1, "the server does not speak sockeye.v1"),
        Err(error) => {
            let finding = refused(exam, error);
            Finding { check: Check::V1, ..finding }
        }
    };
    exam.found(finding);
}

fn is_hello(text: Option<&str>) -> bool {
    let message: Value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    message["hello"].is_object()
}

/// Whether a page of this origin gets a WebSocket.
pub(crate) async fn opens_for(exam: &Exam<'_>, origin: &str) -> Result<(), Finding> {
    // An origin that was given is in each request anyway.
    let is_given = exam.target.headers.contains_key(ORIGIN);
    let with_origin = |client: Client| match is_given {
        true => client,
        false => client.header(ORIGIN, origin.to_owned()),
    };
    match open(exam, with_origin).await {
        Ok(Open { socket, .. }) => {
            let (reader, writer) = socket.split();
            close(reader, writer).await;
            Ok(())
        }
        Err(error) => Err(refused(exam, error)),
    }
}
