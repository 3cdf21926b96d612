//! The server under load, and how connections to it are opened: from many source addresses where
//! it is on loopback, because one address has no more than some 28,000 ports.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use anyhow::Context as _;
use clap::Args;
use sockeye::{Client, Config, DeflateConfig, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::connect::url;
use crate::way::Way;

/// How many connections come from one loopback address.
const PER_ADDRESS: usize = 10_000;

#[derive(Debug, Clone, Args)]
pub(super) struct Target {
    /// The server: ws://HOST[:PORT]/PATH, or wss://
    #[arg(value_name = "URL", value_parser = url)]
    url: String,

    /// Offer compression (permessage-deflate)
    #[arg(long)]
    compressed: bool,

    /// Offer a subprotocol
    #[arg(long, value_name = "NAME")]
    subprotocol: Option<String>,

    #[command(flatten)]
    way: Way,

    #[arg(skip)]
    received: Arc<AtomicU64>,
}

impl Target {
    /// Opens connection number `number`.
    pub(super) async fn open(&self, number: usize) -> anyhow::Result<WebSocket> {
        let opening = async {
            let client = self.client()?;
            match self.loopback() {
                Some(address) => {
                    let stream = source(number)?.connect(address).await?;
                    stream.set_nodelay(true)?;
                    let stream = Counted { stream, received: Arc::clone(&self.received) };
                    Ok(client.open_over(stream).await?.socket)
                }
                None => Ok(client.connect().await?),
            }
        };
        let opened: anyhow::Result<WebSocket> = opening.await;
        opened.with_context(|| format!("cannot open a connection to {}", self.url))
    }

    /// The bytes that came from the server over all connections, if they are counted: where
    /// connections are opened by hand.
    pub(super) fn received(&self) -> Option<u64> {
        self.loopback().map(|_| self.received.load(Relaxed))
    }

    fn client(&self) -> anyhow::Result<Client> {
        // The load is ours: the server's size limits are what counts, not this side's.
        let config = Config::default().max_message_size(1 << 30).keepalive(None);
        let client = Client::new(&self.url)?
            .config(config)
            .deflate(self.compressed.then(DeflateConfig::default));
        let client = self.way.apply(client)?;
        Ok(match &self.subprotocol {
            Some(name) => client.subprotocol(name),
            None => client,
        })
    }

    /// The server's address, if it is a plain WebSocket on an IPv4 loopback address.
    fn loopback(&self) -> Option<SocketAddr> {
        let rest = self.url.strip_prefix("ws://")?;
        let authority = rest.split(['/', '?']).next()?;
        let address: SocketAddr = authority.parse().ok()?;
        (address.is_ipv4() && address.ip().is_loopback()).then_some(address)
    }
}

/// A connection whose incoming bytes are counted.
struct Counted {
    stream: TcpStream,
    received: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.received.fetch_add((buffer.filled().len() - before) as u64, Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A socket that connects from the address that this connection's number falls to.
fn source(number: usize) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    let host = u8::try_from(2 + number / PER_ADDRESS % 250).unwrap_or(2);
    // Port 0 with a fixed address takes a port at once, from fewer than connect() could take.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)))?;
    Ok(socket)
}
