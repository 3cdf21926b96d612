//! An attempt to open a WebSocket: the connection to the server, TLS, the handshake, and redirects.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    Response,
    header::{AUTHORIZATION, COOKIE, Entry, HOST, PROXY_AUTHORIZATION},
};
use sockeye_proto::{
    Connection,
    handshake::{Accepted, ClientHandshake, ClientRequest, ResponseError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::OwnedMutexGuard,
};

use super::{
    Client, ConnectError, Opened, redirect::redirect, refusal_body::read_body, route::Route,
};
use crate::{
    net::alpn::HTTP_11,
    random,
    socket::{Agreed, ByteStream, PeerAddr, Shared, WebSocket},
};

/// A connection to the server, before the handshake.
pub(crate) struct Established {
    pub(crate) stream: ByteStream,
    /// The protocol that the server has chosen by ALPN, with TLS.
    #[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "there is only HTTP/1.1"))]
    pub(crate) protocol: Option<Vec<u8>>,
    /// The peer of the socket: the proxy, if there is one.
    pub(crate) peer: Option<PeerAddr>,
}

impl Client {
    /// Opens the WebSocket, over as many redirects as are followed; `permit` is the place in the queue.
    pub(super) async fn attempt(
        mut self,
        mut permit: Option<OwnedMutexGuard<()>>,
    ) -> Result<Opened, ConnectError> {
        loop {
            let Established { stream, peer, .. } = self.connect_transport(&[HTTP_11]).await?;
            match self.handshake(stream, peer).await {
                Err(ConnectError::Response(ResponseError::Status(response)))
                    if self.redirects > 0 =>
                {
                    self.redirect(response)?;
                    drop(permit.take());
                    permit = self.wait_in_queue().await;
                }
                opened => return opened,
            }
        }
    }

    /// Connects to the server, to speak one of these protocols.
    pub(crate) async fn connect_transport(
        &self,
        protocols: &[&[u8]],
    ) -> Result<Established, ConnectError> {
        let stream = self.route.connect(&self.address).await?;
        let peer = match &self.route {
            Route::Unix(_) => Some(PeerAddr::Unix),
            _ => stream.peer_addr(),
        };
        let (stream, protocol) = match self.address.is_secure() {
            true => self.secure(protocols, stream).await?,
            false => (stream, None),
        };
        Ok(Established { stream, protocol, peer })
    }

    /// Does the TLS handshake on a connection to the server.
    async fn secure(
        &self,
        protocols: &[&[u8]],
        stream: ByteStream,
    ) -> Result<(ByteStream, Option<Vec<u8>>), ConnectError> {
        let host = self.address.host();
        #[cfg(feature = "tls")]
        let secured = self.tls.connect(&host, protocols, stream).await.map(|stream| {
            let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            (ByteStream::boxed(stream), protocol)
        });
        #[cfg(not(feature = "tls"))]
        let secured = {
            drop((protocols, stream));
            let without = "this program was built without TLS";
            Err(io::Error::new(io::ErrorKind::Unsupported, without))
        };
        secured.map_err(|error| ConnectError::Tls { host, error })
    }

    /// Follows the redirect of a response; an error if it is not one.
    fn redirect(&mut self, response: Box<Response<Bytes>>) -> Result<(), ConnectError> {
        let Some(redirect) = redirect(&self.address, &response)? else {
            return Err(ResponseError::Status(response).into());
        };
        self.redirects -= 1;
        self.address = redirect.address;
        if !redirect.same_origin {
            for own in [AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION] {
                self.headers.remove(own);
            }
            #[cfg(feature = "tls")]
            self.tls.forget_identity();
        }
        Ok(())
    }

    /// Sends the request of the handshake and reads the response.
    pub(super) async fn handshake(
        &self,
        mut stream: ByteStream,
        peer: Option<PeerAddr>,
    ) -> Result<Opened, ConnectError> {
        let mut handshake = ClientHandshake::new(self.request()?, random::nonce())?;
        stream.write_all(handshake.request()).await?;
        stream.flush().await?;
        let mut input = BytesMut::new();
        let Accepted { response, subprotocol, deflate, .. } = loop {
            if stream.read_buf(&mut input).await? == 0 {
                return Err(ConnectError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            match handshake.poll_response(&mut input) {
                Ok(None) => {}
                Ok(Some(accepted)) => break accepted,
                Err(ResponseError::Status(response)) => {
                    return Err(self.refused(stream, input, response).await);
                }
                Err(error) => return Err(error.into()),
            }
        };
        let masks = Box::new(random::mask_key);
        let connection = Connection::client(self.config.clone(), masks, Duration::ZERO);
        let agreed = Agreed { subprotocol, deflate, peer };
        let stream = self.inspected(stream, &input);
        let shared = Shared::new(stream, connection, input, agreed);
        let request = handshake.request().clone();
        Ok(Opened { socket: WebSocket::new(shared), request, response })
    }

    /// The error of an answer that refuses, with what the server says to it.
    async fn refused(
        &self,
        mut stream: ByteStream,
        input: BytesMut,
        mut response: Box<Response<Bytes>>,
    ) -> ConnectError {
        if self.redirects == 0 || !response.status().is_redirection() {
            *response.body_mut() = read_body(&mut stream, input, &response).await;
        }
        ResponseError::Status(response).into()
    }

    pub(crate) fn request(&self) -> Result<ClientRequest, ConnectError> {
        if let Some(wrong) = &self.wrong_header {
            return Err(ConnectError::Header(wrong.clone()));
        }
        let address = &self.address;
        let mut request = ClientRequest::new(address.authority().clone(), address.target().clone());
        request.headers = self.headers.clone();
        request.subprotocols = self.subprotocols.clone();
        request.deflate = self.deflate.clone();
        if let Some(host) = self.headers.get(HOST)
            && let Ok(host) = host.as_bytes().try_into()
        {
            request.host = host;
            request.headers.remove(HOST);
        }
        // What was set by hand wins over the user name in the URL.
        if let (Entry::Vacant(empty), Some(value)) =
            (request.headers.entry(AUTHORIZATION), address.authorization())
        {
            empty.insert(value);
        }
        Ok(request)
    }
}
