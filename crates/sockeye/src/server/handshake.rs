//! From an accepted connection to a request in order, or to its refusal.

use std::{io, sync::Arc};

use bytes::BytesMut;
use http::{Request, StatusCode};
use sockeye_proto::handshake::{Offer, Refusal, ServerHandshake};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, timeout_at},
};

use super::{Incoming, PeerAddr, Settings, limits::Slot, pending::Pending};
use crate::{
    AcceptError,
    origin::{Page, log_refusal},
    socket::Io,
};

/// How much of a request is read at once: most come whole.
const HEAD_SIZE: usize = 1024;

/// What a client has shown of itself in its TLS handshake.
#[cfg(feature = "tls")]
pub(super) type Certificates = Option<Arc<[rustls::pki_types::CertificateDer<'static>]>>;
/// Nothing, without TLS.
#[cfg(not(feature = "tls"))]
pub(super) type Certificates = Option<std::convert::Infallible>;

/// What is spoken on a connection.
pub(super) enum Spoken {
    Http1(Io, Certificates),
    #[cfg(all(feature = "http2", feature = "tls"))]
    Http2(Io, Certificates),
}

/// A connection on which the client has begun.
pub(super) enum Begun {
    Plain(Io),
    /// Boxed, so that connections without TLS have no room for it.
    #[cfg(feature = "tls")]
    Tls(Box<crate::tls::TlsHandshake<Io>>),
}

/// Reads the first message of TLS, if that is what is served here. `None` if it is none: there is
/// then no way to answer anything.
#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "only TLS can fail"))]
pub(super) async fn begin(
    io: Io,
    peer: PeerAddr,
    settings: &Settings,
    deadline: Instant,
) -> Option<Begun> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &settings.tls {
        let beginning = Box::pin(tls.begin(io));
        let begun = tokio::select! {
            biased;
            begun = timeout_at(deadline, beginning) => begun.ok()?,
            () = settings.connections.closing().cancelled() => return None,
        };
        return match begun {
            Ok(begun) => Some(Begun::Tls(Box::new(begun))),
            Err(error) => {
                tracing::debug!(%peer, "the TLS handshake failed: {error}");
                None
            }
        };
    }
    Some(Begun::Plain(io))
}

/// Does the rest of the handshake of TLS, if there is one. `None` if that fails.
#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "only TLS can fail"))]
pub(super) async fn secure(
    begun: Begun,
    peer: PeerAddr,
    settings: &Settings,
    deadline: Instant,
) -> Option<Spoken> {
    match begun {
        Begun::Plain(io) => Some(Spoken::Http1(io, Certificates::default())),
        #[cfg(feature = "tls")]
        Begun::Tls(handshake) => {
            let finishing = Box::pin(handshake.finish());
            let secured = tokio::select! {
                biased;
                secured = timeout_at(deadline, finishing) => secured.ok()?,
                () = settings.connections.closing().cancelled() => return None,
            };
            match secured {
                #[cfg(feature = "http2")]
                Ok(stream) if crate::tls::ServerTls::negotiated_http2(&stream) => {
                    let certificates = certificates(&stream);
                    Some(Spoken::Http2(Io::boxed(stream), certificates))
                }
                Ok(stream) => {
                    let certificates = certificates(&stream);
                    Some(Spoken::Http1(Io::boxed(stream), certificates))
                }
                Err(error) => {
                    tracing::debug!(%peer, "the TLS handshake failed: {error}");
                    None
                }
            }
        }
    }
}

#[cfg(feature = "tls")]
fn certificates<T>(stream: &tokio_rustls::server::TlsStream<T>) -> Certificates {
    stream.get_ref().1.peer_certificates().map(Arc::from)
}

/// Reads and checks the one request of a connection of HTTP/1.1. An error if it was refused, or never
/// came.
pub(super) async fn receive(
    mut io: Io,
    (peer, certificates): (PeerAddr, Certificates),
    settings: Arc<Settings>,
    deadline: Instant,
) -> Result<Incoming, AcceptError> {
    let mut input = BytesMut::new();
    let request = tokio::select! {
        biased;
        () = settings.connections.closing().cancelled() => Err(stopping(&settings)),
        request = timeout_at(deadline, read(&mut io, &mut input, &settings)) => {
            request.unwrap_or_else(|_| {
                Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long"))
            })
        }
    };
    let request = request.inspect_err(|refusal| {
        tracing::debug!(%peer, "refused with {}: {}", refusal.status(), refusal.text());
    });
    let checked = request.and_then(|request| {
        let Some(request) = request else { return Ok(None) };
        let offered = Offer::from_request(&request);
        let admitted = offered.and_then(|offer| Ok((offer, admit(&request, peer, &settings)?)));
        let (offer, slot) =
            admitted.inspect_err(|refusal| log_refusal(&request, Some(&peer), refusal))?;
        Ok(Some((request, offer, slot)))
    });
    let pending = Pending::Http1(io, input);
    match checked {
        Ok(None) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        Ok(Some((request, offer, slot))) => {
            Ok(Incoming::new(pending, request, offer, (peer, certificates), slot, settings))
        }
        Err(refusal) => {
            Box::pin(pending.refuse(&refusal)).await;
            Err(AcceptError::Refused(refusal))
        }
    }
}

/// A place for one more client, if its page may connect.
pub(super) fn admit(
    request: &Request<()>,
    peer: PeerAddr,
    settings: &Settings,
) -> Result<Slot, Refusal> {
    settings.origins.check(Page::of(request).as_ref())?;
    settings.limits.admit(peer.ip())
}

/// The answer while the server stops.
pub(super) fn stopping(settings: &Settings) -> Refusal {
    settings.limits.unavailable("the server is stopping")
}

/// The request; `None` if the client goes away before it is whole.
async fn read(
    io: &mut Io,
    input: &mut BytesMut,
    settings: &Settings,
) -> Result<Option<Request<()>>, Refusal> {
    let mut handshake = ServerHandshake::new(settings.head_limits);
    loop {
        if let Some(request) = handshake.poll_request(input)? {
            return Ok(Some(request));
        }
        input.reserve(HEAD_SIZE);
        if !matches!(io.read_buf(input).await, Ok(1..)) {
            return Ok(None);
        }
    }
}
