//! A request for a WebSocket that the handler has to answer.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use sockeye_proto::{
    Config, Connection, DeflateConfig,
    handshake::{Offer, Refusal},
};

use super::{
    PeerAddr, Settings,
    asked::Asked,
    handshake::{Certificates, stopping},
    pending::{Answer, Pending},
};
use crate::{
    AcceptError, WebSocket,
    net::{self, Permit},
    request::{Headers, first_offered},
    socket::{Agreed, ByteStream, Shared, defer_refusal, note_peer_left},
};

/// A request for a WebSocket: look at it, then accept or refuse.
///
/// Dropping it without an answer closes the connection; if a handler drops it and fails, the answer is 500.
///
/// ```no_run
/// use http::StatusCode;
/// use sockeye::{AcceptError, Incoming};
///
/// async fn handle(incoming: Incoming) -> Result<(), AcceptError> {
///     if incoming.path() != "/chat" {
///         incoming.refuse(StatusCode::NOT_FOUND, "only /chat is here").await;
///         return Ok(());
///     }
///     let socket = incoming
///         .subprotocol_of(["chat.v2", "chat.v1"])
///         .header("x-room", "lobby")
///         .accept()
///         .await?;
///     println!("speaks {:?}", socket.subprotocol());
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Incoming(Box<IncomingParts>);

#[derive(Debug)]
struct IncomingParts {
    pending: Unanswered,
    asked: Asked,
    offer: Offer,
    peer: PeerAddr,
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS has any"))]
    certificates: Certificates,
    permit: Permit,
    config: Arc<Config>,
    deflate: Option<DeflateConfig>,
    subprotocol: Option<String>,
    headers: Headers,
    settings: Arc<Settings>,
}

impl Incoming {
    pub(super) fn new(
        pending: Pending,
        asked: Asked,
        offer: Offer,
        (peer, certificates): (PeerAddr, Certificates),
        permit: Permit,
        settings: Arc<Settings>,
    ) -> Self {
        Self(Box::new(IncomingParts {
            pending: Unanswered(Some((pending, settings.pending.register_served()))),
            asked,
            offer,
            peer,
            certificates,
            permit,
            config: settings.config.clone(),
            deflate: settings.deflate.clone(),
            subprotocol: None,
            headers: Headers::default(),
            settings,
        }))
    }

    /// The request as it was received.
    ///
    /// Of HTTP/1.1 it is made when it, or [`headers`](Self::headers), is asked for first.
    pub fn request(&self) -> &Request<()> {
        self.0.asked.request()
    }

    /// The path that it asks for, without the query.
    pub fn path(&self) -> &str {
        self.0.asked.path()
    }

    /// The query, without the `?`; still percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.0.asked.query()
    }

    /// Its header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.request().headers()
    }

    /// The origin of the page that connects, if a page does. It may connect: that was checked.
    pub fn origin(&self) -> Option<&str> {
        self.0.asked.origin()
    }

    /// The subprotocols that it offers, the preferred one first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.0.offer.subprotocols()
    }

    /// Where the connection comes from; behind a proxy, from the proxy.
    pub fn peer_addr(&self) -> PeerAddr {
        self.0.peer
    }

    /// The certificates that the client has shown in its TLS handshake, its own first; `None` if it has
    /// shown none, or speaks no TLS. They were verified as the server's
    /// [configuration](crate::tls::ServerTls::from_config) asks for it; it asks for none unless told to.
    #[cfg(feature = "tls")]
    pub fn peer_certificates(&self) -> Option<&[rustls::pki_types::CertificateDer<'static>]> {
        self.0.certificates.as_deref()
    }

    /// Chooses a subprotocol, one of those offered.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.0.subprotocol = Some(name.into());
        self
    }

    /// Chooses the first of these subprotocols that the client offers; none if it offers none of
    /// them.
    pub fn subprotocol_of<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.subprotocol = first_offered(&self.0.offer, names);
        self
    }

    /// Adds a header to the answer. With an invalid one [`accept`](Self::accept) fails, with
    /// [`AcceptError::Header`].
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.0.headers.append(name, value);
        self
    }

    /// Sets limits and deadlines of this connection.
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.0.config = config.into();
        self
    }

    /// Sets whether permessage-deflate is agreed to on this connection, and how; `None` declines it.
    pub fn deflate(mut self, deflate: impl Into<Option<DeflateConfig>>) -> Self {
        self.0.deflate = deflate.into();
        self
    }

    /// Opens the WebSocket.
    ///
    /// # Errors
    ///
    /// When the client has closed, the server stops (the answer is then 503), the subprotocol
    /// chosen was not offered, or a header is invalid or one of the handshake's own (with 500).
    pub async fn accept(self) -> Result<WebSocket, AcceptError> {
        // Boxed, so that the handler's task does not keep room for it.
        Box::pin(self.0.accept()).await
    }

    /// Answers with an HTTP error and a line of text, and closes the connection, or the stream of
    /// HTTP/2.
    pub async fn refuse(self, status: StatusCode, text: &str) {
        self.refuse_with(Refusal::new(status, text)).await;
    }

    /// Answers with this refusal, and closes the connection, or the stream of HTTP/2.
    pub async fn refuse_with(self, refusal: Refusal) {
        let IncomingParts { pending, permit, .. } = *self.0;
        // Another client may come while this one is read to its end.
        drop(permit);
        pending.refuse(&refusal).await;
    }
}

impl IncomingParts {
    /// Refusals are boxed, so that a request that is accepted has no room for them.
    async fn accept(mut self: Box<Self>) -> Result<WebSocket, AcceptError> {
        if self.settings.connections.closing().is_cancelled() {
            let refusal = stopping(&self.settings);
            Box::pin(Incoming(self).refuse_with(refusal)).await;
            note_peer_left();
            return Err(AcceptError::Stopping);
        }
        let deflate = self.deflate.take().and_then(|deflate| self.offer.agree_deflate(&deflate));
        let headers = std::mem::take(&mut self.headers);
        let answer = match self.pending.answer(headers, &self.offer, self.subprotocol.as_deref()) {
            Ok(answer) => answer,
            Err(wrong) => {
                let text = format!("cannot accept: {wrong}");
                let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text);
                Box::pin(Incoming(self).refuse_with(refusal)).await;
                return Err(wrong);
            }
        };
        let accepted = self.pending.accept(answer).await;
        let (io, input) = accepted.inspect_err(|_| note_peer_left())?;
        let Self { peer, permit, config, subprotocol, settings, .. } = *self;
        let connection = Connection::server(config, Duration::ZERO);
        let agreed = Agreed { subprotocol, deflate, peer: Some(peer) };
        let socket = WebSocket::new(Shared::new(io, connection, input, agreed));
        settings.connections.insert_and_keep(&socket, (), permit);
        Ok(socket)
    }
}

/// A request until it is answered, and its connection's entry among the pending ones.
#[derive(Debug)]
struct Unanswered(Option<(Pending, net::Pending)>);

impl Unanswered {
    /// The answer that opens the WebSocket.
    fn answer(
        &self,
        headers: Headers,
        offer: &Offer,
        subprotocol: Option<&str>,
    ) -> Result<Answer, AcceptError> {
        match &self.0 {
            #[cfg(all(feature = "http2", feature = "tls"))]
            Some((Pending::Http2(..), _)) => Ok(Answer::Http2(headers.accept(offer, subprotocol)?)),
            _ => Ok(Answer::Http1(headers.accept_encoded(offer, subprotocol)?)),
        }
    }

    async fn accept(&mut self, answer: Answer) -> io::Result<(ByteStream, BytesMut)> {
        match self.0.take() {
            Some((pending, _)) => pending.accept(answer).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn refuse(mut self, refusal: &Refusal) {
        if let Some((pending, connection)) = self.0.take() {
            pending.refuse(refusal, &connection).await;
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some((pending, connection)) = self.0.take() {
            defer_refusal(|| Box::pin(async move { pending.refuse(&broken(), &connection).await }));
        }
    }
}

/// The answer for a handler that has failed before it answered.
fn broken() -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed to answer")
}
