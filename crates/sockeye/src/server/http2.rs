//! A connection of HTTP/2 (RFC 8441): each WebSocket on it counts as a client.

use std::{
    fmt::Display,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
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
    asked::Asked,
    handshake::{Certificates, admit, stopping},
    pending::Pending,
    run::text,
};
use crate::{
    net::{self, http2::server_builder},
    request::log_refusal,
    socket::{ByteStream, poll_handler},
};

/// Serves the requests of a connection until it ends, and waits for their handlers. When the server stops,
/// or the connection is idle, it sends GOAWAY and completes the streams that are open. While none is open
/// the connection may be evicted for another.
pub(super) async fn serve<H, F, E>(
    io: ByteStream,
    (peer, certificates): (PeerAddr, Certificates),
    settings: Arc<Settings>,
    handler: Arc<H>,
    (deadline, pending): (Instant, net::Pending),
) where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let handshake = server_builder(settings.head_limits.bytes).handshake(io);
    let handshake = pending.or_evicted(timeout_at(deadline, handshake)).await;
    let Some(Ok(Ok(mut connection))) = handshake else { return };
    let in_use = Arc::new(());
    let mut handlers = JoinSet::new();
    let mut ticks = interval_at(deadline, settings.handshake_timeout);
    let (mut idle, mut is_stopping) = (Idle::NeverAsked, false);
    loop {
        tokio::select! {
            accepted = accept(&mut connection, &pending, &in_use) => match accepted {
                Some(Ok((request, mut answer))) => {
                    if !pending.settle() {
                        // The client may send it again on another connection (RFC 9113 §8.7).
                        answer.send_reset(Reason::REFUSED_STREAM);
                        continue;
                    }
                    idle = Idle::No;
                    let from = (peer, certificates.clone());
                    let incoming = receive(request, answer, from, &settings, &in_use);
                    handlers.extend(incoming.map(|it| handle(it, handler.clone(), peer)));
                }
                Some(Err(error)) => {
                    tracing::debug!(%peer, "an HTTP/2 connection failed: {error}");
                    break;
                }
                None => break,
            },
            // Frees the tasks that have ended.
            Some(_) = handlers.join_next() => {}
            () = settings.connections.closing().cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.graceful_shutdown();
            }
            _ = ticks.tick() => {
                idle = idle.next(is_used(&connection, &in_use));
                match idle {
                    Idle::TooLong => connection.graceful_shutdown(),
                    Idle::NotGone => break,
                    _ => {}
                }
            }
        }
    }
    if !pending.settle() {
        evict(&mut connection).await;
    }
    drop(connection);
    while handlers.join_next().await.is_some() {}
}

/// Tells the client which requests have had no answer, if it reads at once.
async fn evict(connection: &mut Connection<ByteStream, Bytes>) {
    connection.abrupt_shutdown(Reason::NO_ERROR);
    poll_fn(|cx| Poll::Ready(connection.poll_closed(cx).is_ready())).await;
}

/// Runs the handler of one request to its end, and answers if it has refused the request.
async fn handle<H, F, E>(incoming: Incoming, handler: Arc<H>, peer: PeerAddr)
where
    H: Fn(Incoming) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let mut work = pin!(Some(handler(incoming)));
    let poll = |cx: &mut Context<'_>| poll_handler(work.as_mut(), cx, &peer, text);
    if let Some(refusing) = poll_fn(poll).await {
        refusing.await;
    }
}

/// The next request; `None` when the connection is to end, by the client or for another connection.
async fn accept(
    connection: &mut Connection<ByteStream, Bytes>,
    pending: &net::Pending,
    in_use: &Arc<()>,
) -> Option<Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>> {
    poll_fn(|cx| {
        let accepted = connection.poll_accept(cx);
        if accepted.is_pending() {
            let evicted = match is_used(connection, in_use) {
                true => pending.poll_evicted(cx),
                false => pending.poll_idle(false, cx),
            };
            return evicted.map(|()| None);
        }
        accepted
    })
    .await
}

/// Whether there is a request that was not answered, or a WebSocket. A stream whose refusal the client does
/// not read is neither: it would keep the connection for as long as the client likes.
fn is_used(connection: &Connection<ByteStream, Bytes>, in_use: &Arc<()>) -> bool {
    connection.has_streams() && Arc::strong_count(in_use) > 1
}

/// How long no stream was in use, counted in handshake timeouts.
#[derive(Clone, Copy)]
enum Idle {
    No,
    Perhaps,
    TooLong,
    /// GOAWAY was sent, or the client never opened a stream.
    NotGone,
    NeverAsked,
}

impl Idle {
    fn next(self, is_used: bool) -> Self {
        match self {
            _ if is_used => Self::No,
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
    in_use: &Arc<()>,
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
    let asked = Asked::Request(request);
    match offer.and_then(|offer| Ok((admit(&asked, peer, settings)?, offer))) {
        Ok((permit, offer)) => {
            let limit = settings.http2_write_timeout;
            let pending = Pending::Http2(in_use.clone(), answer, receive, limit);
            Some(Incoming::new(
                pending,
                asked,
                offer,
                (peer, certificates),
                permit,
                settings.clone(),
            ))
        }
        Err(refusal) => {
            log_refusal(asked.request(), Some(&peer), &refusal);
            refuse(answer, &refusal);
            None
        }
    }
}

/// Sends the answer and ends the stream. Connection headers are not allowed here (RFC 9113 §8.2.2).
pub(super) fn refuse(mut answer: SendResponse<Bytes>, refusal: &Refusal) {
    let (mut head, text) = Response::<String>::from(refusal.clone()).into_parts();
    head.headers.remove(CONNECTION);
    head.headers.remove(UPGRADE);
    // A client that does not wait for its answer does not need it.
    if let Ok(mut send) = answer.send_response(Response::from_parts(head, ()), false) {
        let _ = send.send_data(text.into(), true);
    }
}
