//! A connection of HTTP/2 (RFC 8441): each WebSocket on it is a client of its own.

use std::{
    fmt::Display,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Context,
};

use bytes::Bytes;
use h2::{
    RecvStream,
    ext::Protocol,
    server::{Connection, SendResponse},
};
use http::{
    Request, Response, StatusCode,
    header::{CONNECTION, UPGRADE},
};
use sockeye_proto::handshake::{Offer, Refusal};
use tokio::{
    task::JoinSet,
    time::{Instant, interval_at, timeout_at},
};

use super::{
    Incoming, PeerAddr, Settings,
    handshake::{Certificates, admit, stopping},
    pending::Pending,
    run::text,
};
use crate::{
    http2::server_builder,
    origin::log_refusal,
    socket::{Io, poll_handler},
};

/// Serves what comes on a connection until it ends; what is handled is handled to its end. When the
/// server stops, or the connection is idle, it is told to go (GOAWAY), and what goes on then is
/// finished.
pub(super) async fn serve<H, F, E>(
    io: Io,
    (peer, certificates): (PeerAddr, Certificates),
    settings: Arc<Settings>,
    handler: Arc<H>,
    deadline: Instant,
) where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let handshake = server_builder(settings.head_limits.bytes).handshake(io);
    let Ok(Ok(mut connection)) = timeout_at(deadline, handshake).await else { return };
    let mut handlers = JoinSet::new();
    let mut ticks = interval_at(deadline, settings.handshake_timeout);
    let mut idle = Idle::NeverAsked;
    let mut is_stopping = false;
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, answer))) => {
                    idle = Idle::No;
                    if let Some(incoming) = receive(request, answer, (peer, certificates.clone()), &settings) {
                        let handler = handler.clone();
                        handlers.spawn(async move {
                            let mut work = pin!(Some(handler(incoming)));
                            let poll = |cx: &mut Context<'_>| {
                                poll_handler(work.as_mut(), cx, &peer, text)
                            };
                            if let Some(refusing) = poll_fn(poll).await {
                                refusing.await;
                            }
                        });
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%peer, "an HTTP/2 connection broke: {error}");
                    break;
                }
                None => break,
            },
            // Tasks that have ended are let go of.
            Some(_) = handlers.join_next() => {}
            () = settings.connections.closing().cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.graceful_shutdown();
            }
            _ = ticks.tick() => {
                idle = idle.next(&connection);
                match idle {
                    Idle::TooLong => connection.graceful_shutdown(),
                    Idle::NotGone => break,
                    _ => {}
                }
            }
        }
    }
    drop(connection);
    while handlers.join_next().await.is_some() {}
}

/// How long nothing has gone on, counted in handshake timeouts.
#[derive(Clone, Copy)]
enum Idle {
    No,
    Perhaps,
    TooLong,
    /// It was told to go, or never asked for anything.
    NotGone,
    NeverAsked,
}

impl Idle {
    fn next(self, connection: &Connection<Io, Bytes>) -> Self {
        match self {
            _ if connection.has_streams() => Self::No,
            Self::No => Self::Perhaps,
            Self::Perhaps => Self::TooLong,
            Self::TooLong | Self::NotGone | Self::NeverAsked => Self::NotGone,
        }
    }
}

/// Checks a request; `None` if it was refused.
fn receive(
    request: Request<RecvStream>,
    answer: SendResponse<Bytes>,
    (peer, certificates): (PeerAddr, Certificates),
    settings: &Arc<Settings>,
) -> Option<Incoming> {
    let (head, receive) = request.into_parts();
    let request = Request::from_parts(head, ());
    let offer = match request.extensions().get::<Protocol>() {
        _ if settings.connections.closing().is_cancelled() => Err(stopping(settings)),
        _ if request.headers().len() > settings.head_limits.fields => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            Err(Refusal::new(status, "the head has too many header fields"))
        }
        Some(protocol) => Offer::from_extended_connect(&request, protocol.as_str()),
        None => Offer::from_request(&request),
    };
    match offer.and_then(|offer| Ok((admit(&request, peer, settings)?, offer))) {
        Ok((slot, offer)) => {
            let pending = Pending::Http2(answer, receive, settings.http2_write_timeout);
            Some(Incoming::new(
                pending,
                request,
                offer,
                (peer, certificates),
                slot,
                settings.clone(),
            ))
        }
        Err(refusal) => {
            log_refusal(&request, Some(&peer), &refusal);
            refuse(answer, &refusal);
            None
        }
    }
}

/// Sends the answer and ends the stream. The headers that are about a connection have no place here
/// (RFC 9113 §8.2.2).
pub(super) fn refuse(mut answer: SendResponse<Bytes>, refusal: &Refusal) {
    let (mut head, text) = Response::<String>::from(refusal.clone()).into_parts();
    head.headers.remove(CONNECTION);
    head.headers.remove(UPGRADE);
    // A client that does not wait for its answer does not need it.
    if let Ok(mut send) = answer.send_response(Response::from_parts(head, ()), false) {
        let _ = send.send_data(text.into(), true);
    }
}
