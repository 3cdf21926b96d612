//! A client: a connection over TLS with one request, which is answered and stays open.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Result;

/// How many connections come from one address: each has some 28,000 ports.
const PER_ADDRESS: usize = 1000;
/// The longest head of an answer.
const MAX_HEAD: usize = 8 << 10;
/// A Close with the code 1000, masked with zeros (RFC 6455 §5.5.1).
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];

/// Whether sessions are resumed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tickets {
    Used,
    Refused,
}

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    WebSocket,
    Events,
}

/// Clients that are all alike.
pub(crate) struct Clients {
    address: SocketAddr,
    request: String,
    asks: Asks,
    tickets: Tickets,
    tls: TlsConnector,
}

/// All tickets, each for one use: the store of rustls keeps eight.
#[derive(Debug, Default)]
struct Store(Mutex<VecDeque<Tls13ClientSessionValue>>);

impl Store {
    fn tickets(&self) -> MutexGuard<'_, VecDeque<Tls13ClientSessionValue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Store {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.tickets().push_back(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets().pop_front()
    }
}

/// A client whose request was answered.
pub(crate) struct Connection(TlsStream<TcpStream>);

impl Clients {
    pub(crate) fn new(
        address: &str,
        path: &str,
        certificate: &str,
        tickets: Tickets,
        asks: Asks,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate)?)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(Arc::new(provider));
        let config = config.with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.resumption = match tickets {
            Tickets::Used => Resumption::store(Arc::new(Store::default())),
            Tickets::Refused => Resumption::disabled(),
        };
        let fields = match asks {
            Asks::WebSocket => {
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
            Asks::Events => "Accept: text/event-stream\r\n",
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self { address: address.parse()?, request, asks, tickets, tls })
    }

    /// Opens connection number `number` and has its request answered.
    pub(crate) async fn open(&self, number: usize) -> Result<Connection> {
        let stream = source(number)?.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut stream = self.tls.connect(ServerName::try_from("localhost")?, stream).await?;
        if self.tickets == Tickets::Refused
            && stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
        {
            return Err("a session was resumed that was to be new".into());
        }
        stream.write_all(self.request.as_bytes()).await?;
        // With many clients in one task tokio's budget ends here and there: what rustls could not write then it keeps,
        // and the server waits for a request until its deadline.
        stream.flush().await?;
        let status = read_status(&mut stream).await?;
        let wanted = if self.asks == Asks::WebSocket { "101" } else { "200" };
        if status != wanted {
            return Err(format!("the answer is {status}").into());
        }
        Ok(Connection(stream))
    }
}

impl Connection {
    /// Whether its session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        self.0.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Closes the WebSocket, and waits until the server has closed the connection.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.0.write_all(&CLOSE).await?;
        self.0.flush().await?;
        let mut rest = [0; 256];
        // Some servers end the connection without the end of TLS.
        while matches!(self.0.read(&mut rest).await, Ok(1..)) {}
        Ok(())
    }
}

/// The status of the answer, when its head is complete.
async fn read_status(stream: &mut TlsStream<TcpStream>) -> Result<String> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Err("there is no answer".into());
        }
    }
    let status = head.get(9..12).ok_or("the answer has no status")?;
    Ok(String::from_utf8_lossy(status).into_owned())
}

/// A socket that connects from the address that this connection's number falls to, another in each run.
fn source(number: usize) -> Result<TcpSocket> {
    let group = u32::try_from(number / PER_ADDRESS)?;
    let run = Ipv4Addr::new(127, 1 + (std::process::id() % 250) as u8, 0, 0);
    let address = Ipv4Addr::from_bits(run.to_bits() + 1 + group % 0xFFFE);
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((address, 0)))?;
    Ok(socket)
}
