//! From an accepted connection to a request in order, or to its refusal.

use std::{io, sync::Arc};

use bytes::BytesMut;
use http::{HeaderMap, Request, StatusCode};
use sockeye_proto::handshake::{Offer, Refusal, ServerHandshake};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, timeout_at},
};

use super::{
    PeerAddr, Settings,
    incoming::{Incoming, Waiting},
    refuse::refuse,
};
use crate::{origin::Page, socket::Io};

/// Secures the connection, reads and checks the request. `None` if it was refused, or never came.
pub(super) async fn receive(io: Io, peer: PeerAddr, settings: Arc<Settings>) -> Option<Incoming> {
    let deadline = Instant::now() + settings.handshake_timeout;
    let stop = settings.connections.closing();
    // Before it is secured there is no way to answer anything.
    let mut io = tokio::select! {
        biased;
        secured = timeout_at(deadline, secure(io, &settings)) => match secured {
            Ok(Ok(io)) => io,
            Ok(Err(error)) => {
                tracing::debug!(%peer, "the TLS handshake failed: {error}");
                return None;
            }
            Err(_) => return None,
        },
        () = stop.cancelled() => return None,
    };
    let mut input = BytesMut::new();
    let request = tokio::select! {
        biased;
        () = stop.cancelled() => Err(stopping(&settings)),
        request = timeout_at(deadline, read(&mut io, &mut input, &settings)) => {
            let too_slow = Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long");
            request.unwrap_or(Err(too_slow))
        }
    };
    let checked = request.and_then(|request| {
        let Some(request) = request else { return Ok(None) };
        let offer = Offer::from_request(&request)?;
        settings.origins.check(Page::of(&request).as_ref())?;
        let slot = settings.limits.admit(peer.ip())?;
        Ok(Some((request, offer, slot)))
    });
    match checked {
        Ok(None) => None,
        Ok(Some((request, offer, slot))) => Some(Incoming(Box::new(Waiting {
            io,
            input,
            request,
            offer,
            peer,
            slot,
            config: settings.config.clone(),
            deflate: settings.deflate.clone(),
            subprotocol: None,
            headers: HeaderMap::new(),
            settings,
        }))),
        Err(refusal) => {
            tracing::debug!(%peer, "refused with {}: {}", refusal.status(), refusal.text());
            refuse(io, &refusal).await;
            None
        }
    }
}

/// Makes TLS of a connection, if that is what is served here.
#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "only TLS has settings"))]
async fn secure(io: Io, settings: &Settings) -> io::Result<Io> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &settings.tls {
        return Ok(Io::boxed(tls.accept(io).await?));
    }
    Ok(io)
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
        if !matches!(io.read_buf(input).await, Ok(1..)) {
            return Ok(None);
        }
    }
}
