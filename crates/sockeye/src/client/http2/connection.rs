//! The client: one connection to a server, and the WebSockets on it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{Ping, RecvStream, client::SendRequest, ext::Protocol};
use http::{Request, Response};
use sockeye_proto::handshake::{Accepted, ExtendedConnect, ResponseError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::{
    client::{
        Address, Client, ConnectError, Opened,
        connect::Established,
        refusal_body::{BODY_TIMEOUT, MAX_BODY},
    },
    net::{
        alpn::{HTTP_2, HTTP_11},
        http2::{Http2Stream, WriteDeadline, io_error},
    },
    random,
    socket::{Agreed, ByteStream, PeerAddr, Shared, WebSocket},
};

/// How much a server may send on a stream that is not read.
const STREAM_WINDOW: u32 = 256 << 10;
/// As large as can be: what streams may hold in all is bounded by their own windows, so that none
/// takes the room of another.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// What unread DATA frames may cost beyond their contents, in all: 256 bytes for each small one.
const FRAME_OVERHEAD: usize = 64 << 20;

/// An HTTP/2 connection to a server, on which WebSockets are opened.
///
/// ```no_run
/// use sockeye::{Client, http2};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new("ws://127.0.0.1:8080/c/chat")?;
/// let connection = http2::Connection::connect(&client).await?;
/// let mut chat = connection.open(client).await?.socket;
/// let mut news = connection.open(Client::new("ws://127.0.0.1:8080/c/news")?).await?.socket;
/// # Ok(())
/// # }
/// ```
///
/// Clones are the same connection. It ends when the last clone is dropped and the last WebSocket on
/// it has ended. How many WebSockets it takes at once is the server's to say; further ones wait for
/// their turn, at most for the [timeout](Client::timeout) of their client.
///
/// A stream that the application does not read holds up to 256 KiB, besides what a WebSocket takes in
/// by itself.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `None` if the server has no HTTP/2, so that there is nothing to share.
    sender: Option<SendRequest<Bytes>>,
    /// The address it was connected to; `None` for an existing transport.
    address: Option<Address>,
    /// Where the transport leads to.
    peer: Option<PeerAddr>,
}

impl Connection {
    /// Connects to the client's server with HTTP/2: for `wss://` as TLS negotiates it (ALPN), for
    /// `ws://` with prior knowledge (RFC 9113 §3.3). Nothing is opened yet.
    ///
    /// # Errors
    ///
    /// When the server is not reached, takes too long, or opens no WebSockets over HTTP/2
    /// ([`ConnectError::NoExtendedConnect`]).
    pub async fn connect(client: &Client) -> Result<Self, ConnectError> {
        let limit = client.timeout;
        let _permit = client.wait_in_queue().await;
        let connecting = async {
            let Established { stream, protocol, peer } =
                client.connect_transport(&[HTTP_2, HTTP_11]).await?;
            if client.address.is_secure() && protocol.as_deref() != Some(HTTP_2) {
                return Err(ConnectError::NoExtendedConnect);
            }
            Self::handshake(stream, peer).await
        };
        let connected =
            timeout(limit, connecting).await.map_err(|_| ConnectError::Timeout(limit))?;
        connected.map(|connection| Self { address: Some(client.address.clone()), ..connection })
    }

    /// Connects to the client's server with HTTP/2 if that is what TLS (ALPN) and the server's settings
    /// come to. If not, every WebSocket has a connection of its own, with HTTP/1.1; for `ws://` that is
    /// always so, because nothing is negotiated there.
    ///
    /// # Errors
    ///
    /// When the server is not reached, or takes too long.
    pub async fn negotiate(client: &Client) -> Result<Self, ConnectError> {
        if !client.address.is_secure() {
            return Ok(Self { sender: None, address: None, peer: None });
        }
        match Self::connect(client).await {
            Err(ConnectError::NoExtendedConnect) => {
                Ok(Self { sender: None, address: None, peer: None })
            }
            connected => connected,
        }
    }

    /// Whether WebSockets share this connection; if not, see [`negotiate`](Self::negotiate).
    pub fn is_shared(&self) -> bool {
        self.sender.is_some()
    }

    /// Whether it leads to the scheme, host and port of this address.
    pub(crate) fn leads_to(&self, address: &Address) -> bool {
        let to = |address: &Address| (address.is_secure(), address.host(), address.port());
        self.address.as_ref().is_none_or(|own| to(own) == to(address))
    }

    /// Whether a WebSocket can be opened on it: it is shared, has not ended, and is not about to.
    pub(crate) async fn is_open(&self) -> bool {
        match self.sender.clone() {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        }
    }

    /// Speaks HTTP/2 over an existing transport to the server.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); it may take 10 s.
    pub async fn over<T>(transport: T) -> Result<Self, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limit = Duration::from_secs(10);
        let connecting = Self::handshake(transport, None);
        timeout(limit, connecting).await.map_err(|_| ConnectError::Timeout(limit))?
    }

    async fn handshake<T>(transport: T, peer: Option<PeerAddr>) -> Result<Self, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .data_frame_budget(FRAME_OVERHEAD)
            .enable_push(false)
            .handshake(transport)
            .await
            .map_err(io_error)?;
        let pings = connection.ping_pong();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("an HTTP/2 connection ended: {error}");
            }
        });
        // The server's settings come before anything else it sends (RFC 9113 §3.4): with the answer
        // to a ping they are there, and only then may it be asked (RFC 8441 §3).
        if let Some(mut pings) = pings {
            pings.ping(Ping::opaque()).await.map_err(io_error)?;
        }
        if !sender.is_extended_connect_protocol_enabled() {
            return Err(ConnectError::NoExtendedConnect);
        }
        Ok(Self { sender: Some(sender), address: None, peer })
    }

    /// Opens a WebSocket on a stream of this connection. How to connect, TLS included, was decided by
    /// the client that connected.
    ///
    /// # Errors
    ///
    /// When the server does not agree, or takes too long, or the connection has ended.
    pub async fn open(&self, client: Client) -> Result<Opened, ConnectError> {
        let Some(sender) = self.sender.clone() else { return client.open().await };
        let limit = client.timeout;
        let opening = self.open_stream(sender, &client);
        timeout(limit, opening).await.map_err(|_| ConnectError::Timeout(limit))?
    }

    async fn open_stream(
        &self,
        sender: SendRequest<Bytes>,
        client: &Client,
    ) -> Result<Opened, ConnectError> {
        let handshake = ExtendedConnect::new(client.request()?, client.address.is_secure())?;
        let mut request = handshake.request().clone();
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let mut sender = sender.ready().await.map_err(io_error)?;
        let (response, send) = sender.send_request(request, false).map_err(io_error)?;
        let (head, receive) = response.await.map_err(io_error)?.into_parts();
        let Accepted { response, subprotocol, deflate, .. } =
            match handshake.check(Response::from_parts(head, ())) {
                Ok(accepted) => accepted,
                Err(ResponseError::Status(mut response)) => {
                    *response.body_mut() = read_body(receive).await;
                    return Err(ResponseError::Status(response).into());
                }
                Err(error) => return Err(error.into()),
            };
        let masks = Box::new(random::mask_key);
        let connection =
            sockeye_proto::Connection::client(client.config.clone(), masks, Duration::ZERO);
        let stream = Http2Stream::new(send, receive, None);
        let io = ByteStream::boxed(WriteDeadline::new(stream, client.http2_write_timeout));
        let io = client.inspected(io, &[]);
        let agreed = Agreed { subprotocol, deflate, peer: self.peer };
        let shared = Shared::new(io, connection, BytesMut::new(), agreed);
        let request = text(handshake.request()).into();
        Ok(Opened { socket: WebSocket::new(shared), request, response })
    }
}

/// The beginning of the body of an answer that refuses. What does not come in a second is left out.
async fn read_body(mut body: RecvStream) -> Bytes {
    let mut read = BytesMut::new();
    let reading = async {
        while read.len() < MAX_BODY
            && let Some(Ok(data)) = body.data().await
        {
            let _ = body.flow_control().release_capacity(data.len());
            read.extend_from_slice(&data);
        }
    };
    let _ = timeout(BODY_TIMEOUT, reading).await;
    read.truncate(MAX_BODY);
    read.freeze()
}

/// A request as a reader would write it down: HTTP/2 has no text form.
fn text(request: &Request<()>) -> Vec<u8> {
    let uri = request.uri();
    let mut text = format!(
        ":method: CONNECT\r\n:protocol: websocket\r\n:scheme: {}\r\n:authority: {}\r\n:path: {}\r\n",
        uri.scheme_str().unwrap_or_default(),
        uri.authority().map_or("", |authority| authority.as_str()),
        uri.path_and_query().map_or("/", |target| target.as_str()),
    )
    .into_bytes();
    for (name, value) in request.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}
