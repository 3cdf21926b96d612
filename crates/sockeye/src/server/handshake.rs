//! From an accepted connection to a valid request, or to its refusal.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
};

use bytes::BytesMut;
use http::StatusCode;
use sockeye_proto::handshake::{Offer, Refusal, RequestHead, ServerHandshake};
use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, ReadBuf},
    time::{Instant, timeout_at},
};

use super::{Incoming, PeerAddr, Settings, asked::Asked, pending::Pending};
use crate::{
    AcceptError,
    net::{self, Permit},
    request::log_refusal,
    socket::ByteStream,
};

/// How much is read first: most requests, and most first messages of TLS, arrive whole.
const FIRST_READ: usize = 2048;
/// How much of the rest of a request is read at once.
const HEAD_SIZE: usize = 1024;

/// The certificates of the client, if it sent any.
#[cfg(feature = "tls")]
pub(super) type Certificates = Option<Arc<[rustls::pki_types::CertificateDer<'static>]>>;
/// None without TLS.
#[cfg(not(feature = "tls"))]
pub(super) type Certificates = Option<std::convert::Infallible>;

/// The protocol of a connection.
pub(super) enum Negotiated {
    /// And what has arrived of the request.
    Http1((ByteStream, BytesMut), Certificates),
    #[cfg(all(feature = "http2", feature = "tls"))]
    Http2(ByteStream, Certificates),
}

/// A connection on which the client has sent its first bytes.
pub(super) enum Begun {
    /// And what has arrived.
    Plain(ByteStream, BytesMut),
    /// Boxed, so that connections without TLS do not reserve space for it.
    #[cfg(feature = "tls")]
    Tls(Box<crate::tls::TlsHandshake<ByteStream>>),
}

/// Waits for the first bytes of a client, and gives them: none at its end. Nothing is held meanwhile.
pub(super) async fn first_bytes(io: &mut ByteStream) -> BytesMut {
    poll_fn(|cx| {
        let mut buffer = [MaybeUninit::uninit(); FIRST_READ];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        // The end comes again when more is read, and it comes after an error.
        let _ = ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer));
        Poll::Ready(BytesMut::from(buffer.filled()))
    })
    .await
}

/// Reads the first TLS message, if the server has TLS: what is missing of it behind these bytes. `None` if it is not
/// one: no answer is possible then.
#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "only TLS can fail"))]
pub(super) async fn begin(
    io: ByteStream,
    input: BytesMut,
    peer: PeerAddr,
    settings: &Settings,
    deadline: Instant,
) -> Option<Begun> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &settings.tls {
        let beginning = Box::pin(tls.begin_with(input.into(), io));
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
    Some(Begun::Plain(io, input))
}

/// Completes the TLS handshake. `None` if it fails.
#[cfg(feature = "tls")]
pub(super) async fn secure(
    handshake: Box<crate::tls::TlsHandshake<ByteStream>>,
    peer: PeerAddr,
    settings: &Settings,
    deadline: Instant,
) -> Option<Negotiated> {
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
            Some(Negotiated::Http2(ByteStream::boxed(stream), certificates))
        }
        Ok(stream) => {
            let certificates = certificates(&stream);
            let begun = (ByteStream::Tls(Box::new(stream)), BytesMut::new());
            Some(Negotiated::Http1(begun, certificates))
        }
        Err(error) => {
            tracing::debug!(%peer, "the TLS handshake failed: {error}");
            None
        }
    }
}

#[cfg(feature = "tls")]
fn certificates<T>(stream: &tokio_rustls::server::TlsStream<T>) -> Certificates {
    stream.get_ref().1.peer_certificates().map(Arc::from)
}

/// Reads and checks the request of an HTTP/1.1 connection, of which some has arrived. An error if it was refused, or
/// did not arrive. The connection lingers as `connection` after a refusal.
pub(super) async fn receive(
    (mut io, mut input): (ByteStream, BytesMut),
    (peer, certificates): (PeerAddr, Certificates),
    settings: Arc<Settings>,
    deadline: Instant,
    connection: &net::Pending,
) -> Result<Incoming, AcceptError> {
    let mut handshake = ServerHandshake::new(settings.head_limits);
    let arrived = match settings.connections.closing().is_cancelled() {
        true => Err(stopping(&settings)),
        false => handshake.poll_head(&mut input),
    };
    let request = match arrived {
        Ok(Some(head)) => Ok(Some(head)),
        // Boxed: most requests have arrived whole.
        Ok(None) => Box::pin(read(&mut io, &mut input, handshake, &settings, deadline)).await,
        Err(refusal) => Err(refusal),
    };
    let request = request.inspect_err(|refusal| {
        tracing::debug!(%peer, "refused with {}: {}", refusal.status(), refusal.text());
    });
    let checked = request.and_then(|request| {
        let Some(head) = request else { return Ok(None) };
        let offered = Offer::from_head(&head);
        let asked = Asked::from(head);
        let admitted = offered.and_then(|offer| Ok((offer, admit(&asked, peer, &settings)?)));
        let (offer, permit) =
            admitted.inspect_err(|refusal| log_refusal(asked.request(), Some(&peer), refusal))?;
        Ok(Some((asked, offer, permit)))
    });
    let pending = Pending::Http1(io, input);
    match checked {
        Ok(None) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        Ok(Some((asked, offer, permit))) => {
            Ok(Incoming::new(pending, asked, offer, (peer, certificates), permit, settings))
        }
        Err(refusal) => {
            Box::pin(pending.refuse(&refusal, connection)).await;
            Err(AcceptError::Refused(refusal))
        }
    }
}

/// A permit for one more client, if its origin is allowed.
pub(super) fn admit(asked: &Asked, peer: PeerAddr, settings: &Settings) -> Result<Permit, Refusal> {
    settings.origins.check(asked.page().as_ref())?;
    settings.limits.admit(peer.ip())
}

/// The answer while the server stops.
pub(super) fn stopping(settings: &Settings) -> Refusal {
    settings.limits.unavailable("the server is stopping")
}

/// The rest of the request; `None` if the client closes before it is complete.
async fn read(
    io: &mut ByteStream,
    input: &mut BytesMut,
    mut handshake: ServerHandshake,
    settings: &Settings,
    deadline: Instant,
) -> Result<Option<RequestHead>, Refusal> {
    let reads = async {
        loop {
            input.reserve(HEAD_SIZE);
            if !matches!(io.read_buf(input).await, Ok(1..)) {
                return Ok(None);
            }
            if let Some(head) = handshake.poll_head(input)? {
                return Ok(Some(head));
            }
        }
    };
    tokio::select! {
        biased;
        () = settings.connections.closing().cancelled() => Err(stopping(settings)),
        request = timeout_at(deadline, reads) => request.unwrap_or_else(|_| {
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long"))
        }),
    }
}
