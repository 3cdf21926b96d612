//! The server under load, and how connections to it are opened: from many source addresses where
//! it is on loopback, because one address has no more than some 28,000 ports.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context as _, anyhow};
use clap::Args;
use http::header::AUTHORIZATION;
use sockeye::internals::Watched;
use sockeye::{Address, Client, Config, ConnectError, Direction, ResponseError, WebSocket};
use sockeye_client::internals::refusal;
use sockeye_proto::handshake::ClientRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use url::{Host, Position, Url};

use super::fanout::Resource;
use crate::flags::compression::Compression;
use crate::flags::request::url;
use crate::flags::route::Route;

/// How many connections come from one loopback address.
const PER_ADDRESS: usize = 1000;

/// A connection to the server, whatever it leads through.
pub(super) type Stream = Pin<Box<dyn Duplex>>;

/// What reads and writes.
pub(super) trait Duplex: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite> Duplex for T {}

#[derive(Debug, Clone, Args)]
pub(super) struct Target {
    /// The server: ws://HOST[:PORT]/PATH, or wss://, http://, https://
    #[arg(value_name = "URL", value_parser = url)]
    url: String,

    /// Offer compression (permessage-deflate)
    #[arg(long)]
    compressed: bool,

    /// With --compressed: let messages refer to earlier ones (context takeover)
    #[arg(long, requires = "compressed")]
    takeover: bool,

    /// Offer a subprotocol
    #[arg(long, value_name = "NAME")]
    subprotocol: Option<String>,

    #[command(flatten)]
    route: Route,

    #[arg(skip)]
    received: Arc<AtomicU64>,
}

impl Target {
    /// The server without what may be secret in its URL: a user's name and password, and the query.
    pub(super) fn shown(&self) -> String {
        Url::parse(&self.url).map_or_else(
            |_| String::new(),
            |url| format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPath]),
        )
    }

    /// Opens connection number `number`.
    pub(super) async fn open(&self, number: usize) -> anyhow::Result<WebSocket> {
        let opening = async {
            let client = self.client()?;
            match self.loopback() {
                Some(address) => {
                    let stream = source(number)?.connect(address).await?;
                    stream.set_nodelay(true)?;
                    let received = Arc::clone(&self.received);
                    let count = move |direction: Direction, bytes: &[u8]| {
                        if direction == Direction::Received {
                            received.fetch_add(bytes.len() as u64, Relaxed);
                        }
                    };
                    let opened = client.open_over(Watched::new(stream, count)).await;
                    opened.map(|opened| opened.socket)
                }
                None => client.connect().await,
            }
            .map_err(|error| match error {
                ConnectError::Response(ResponseError::Status(response)) => {
                    anyhow!("it did not open a WebSocket: {}", refusal(&response))
                }
                error => error.into(),
            })
        };
        let opened: anyhow::Result<WebSocket> = opening.await;
        opened.with_context(|| format!("cannot open a connection to {}", self.url))
    }

    /// Connects as for connection number `number`, and says nothing yet.
    pub(super) async fn stream(&self, number: usize) -> anyhow::Result<Stream> {
        match self.loopback() {
            Some(address) => {
                let stream = source(number)?.connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::pin(stream))
            }
            None => Ok(Box::pin(self.client()?.transport().await?)),
        }
    }

    /// The request for a WebSocket.
    pub(super) fn handshake(&self) -> anyhow::Result<ClientRequest> {
        let url = self.address()?.url().clone();
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let target = &url[Position::BeforePath..Position::AfterQuery];
        let mut request = ClientRequest::new(host.parse()?, target.parse()?);
        request.subprotocols.extend(self.subprotocol.clone());
        request.headers.extend(self.address()?.authorization().map(|value| (AUTHORIZATION, value)));
        request.deflate = self.compression().config();
        Ok(request)
    }

    /// The same by HTTP.
    pub(super) fn resource(&self) -> anyhow::Result<Resource> {
        let address = self.address()?;
        let url = address.url();
        let mut fields = format!("Host: {}\r\n", &url[Position::BeforeHost..Position::AfterPort]);
        if let Some(value) = address.authorization() {
            fields.push_str(&format!("Authorization: {}\r\n", value.to_str()?));
        }
        let target = url[Position::BeforePath..Position::AfterQuery].to_owned();
        Ok(Resource { target, fields })
    }

    /// The same way to another server.
    pub(super) fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// As it was written.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn address(&self) -> anyhow::Result<Address> {
        Ok(self.url.parse()?)
    }

    /// The bytes that came from the server over all connections, if they are counted: where
    /// connections are opened by hand.
    pub(super) fn received(&self) -> Option<u64> {
        self.loopback().map(|_| self.received.load(Relaxed))
    }

    fn client(&self) -> anyhow::Result<Client> {
        // The load is ours: the server's size limits are what counts, not this side's.
        let config = Config::default().max_message_size(1 << 30).keepalive(None);
        let client = Client::new(&self.url)?.config(config).deflate(self.compression().config());
        let client = self.route.apply(client)?;
        Ok(match &self.subprotocol {
            Some(name) => client.subprotocol(name),
            None => client,
        })
    }

    fn compression(&self) -> Compression {
        match (self.compressed, self.takeover) {
            (false, _) => Compression::Off,
            (true, false) => Compression::On,
            (true, true) => Compression::Takeover,
        }
    }

    /// The server's address, if it is one of IPv4 loopback without TLS.
    fn loopback(&self) -> Option<SocketAddr> {
        let address = self.address().ok().filter(|address| !address.is_secure())?;
        let Some(Host::Ipv4(ip)) = address.url().host() else { return None };
        let port = address.url().port_or_known_default()?;
        ip.is_loopback().then_some(SocketAddr::from((ip, port)))
    }
}

/// A socket that connects from the address that this connection's number falls to.
///
/// Each run has addresses of its own: for a minute after another its ports are not free, and looking
/// for one that is takes the longer the fewer there are.
fn source(number: usize) -> io::Result<TcpSocket> {
    let group = u32::try_from(number / PER_ADDRESS).unwrap_or_default();
    let run = Ipv4Addr::new(127, 1 + (std::process::id() % 250) as u8, 0, 0);
    let address = Ipv4Addr::from_bits(run.to_bits() + 1 + group % 0xFFFE);
    let socket = TcpSocket::new_v4()?;
    // Port 0 with a fixed address takes a port at once, from fewer than connect() could take.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((address, 0)))?;
    Ok(socket)
}
