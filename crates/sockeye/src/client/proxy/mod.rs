//! Proxies: what a client's connections go through on their way to the server.

mod environment;

use std::{fmt, io, net::IpAddr, str::FromStr};

use bytes::BytesMut;
use percent_encoding::percent_decode_str;
use sockeye_proto::proxy::{
    Credentials, HttpConnect, HttpConnectError, InvalidSocks5, Socks5, Socks5Error, Socks5Target,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::lookup_host,
};
use url::{Host, Url};

pub(crate) use self::environment::from_environment;
use super::{Address, ConnectError};
use crate::{net::dial::dial, socket::ByteStream};

/// A proxy for a [`Client`](crate::Client): HTTP (CONNECT, RFC 9110 §9.3.6) or SOCKS5 (RFC 1928).
///
/// It is read from a URL: `http://`, `https://` (TLS to the proxy itself), `socks5://` (the host's
/// name is looked up here) or `socks5h://` (there), with `NAME:PASSWORD@` before the host if it
/// wants to know its user. Without a scheme it is HTTP; the default ports are 80, 443 and 1080.
/// Both `ws://` and `wss://` go through a tunnel: the proxy sees the host and port, nothing else,
/// and the server sees nothing of the credentials for the proxy.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let proxy = "http://ann:secret@proxy.example:3128".parse()?;
/// let socket = sockeye::Client::new("wss://example.org/")?.proxy(proxy).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    #[cfg(feature = "tls")]
    tls: crate::tls::ClientTls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Https,
    Socks5,
    Socks5h,
}

impl Proxy {
    /// Sets the certificate authorities for an `https://` proxy, and the client certificate. Default: the authorities that the system trusts,
    /// whatever is set for the server.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::ClientTls) -> Self {
        self.tls = tls;
        self
    }

    /// The proxy that the environment names for this address, by the rules of
    /// [`Client::proxy`](crate::Client::proxy); `None` if it names none.
    ///
    /// # Errors
    ///
    /// When what it names is not the URL of a proxy.
    pub fn from_environment(address: &Address) -> Result<Option<Self>, ConnectError> {
        from_environment(address)
    }

    /// Opens a tunnel to the host (an IPv6 address without brackets) and port.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<ByteStream, ConnectError> {
        let stream = dial(&self.host, self.port).await;
        let stream = stream.map_err(|error| self.error(ProxyError::Connect(error)))?;
        let opening = async {
            match self.kind {
                Kind::Http => {
                    open_http(ByteStream::Tcp(stream), host, port, self.credentials.as_ref()).await
                }
                Kind::Https => {
                    let stream = self.secure(stream).await.map_err(ProxyError::Tls)?;
                    open_http(stream, host, port, self.credentials.as_ref()).await
                }
                Kind::Socks5 | Kind::Socks5h => {
                    let target = self.target(host, port).await?;
                    let socks = Socks5::new(target, port, self.credentials.clone())?;
                    open_socks5(ByteStream::Tcp(stream), socks).await
                }
            }
        };
        opening.await.map_err(|error| self.error(error))
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, stream: tokio::net::TcpStream) -> io::Result<ByteStream> {
        self.tls
            .connect(&self.host, &[crate::net::alpn::HTTP_11], stream)
            .await
            .map(ByteStream::boxed)
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "with TLS it waits")]
    async fn secure(&self, _stream: tokio::net::TcpStream) -> io::Result<ByteStream> {
        Err(io::Error::other("this program was built without TLS"))
    }

    /// What a SOCKS5 proxy is told: addresses as such, names looked up where the scheme says.
    async fn target(&self, host: &str, port: u16) -> Result<Socks5Target, ProxyError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Socks5Target::Ip(address));
        }
        if self.kind == Kind::Socks5h {
            return Ok(Socks5Target::Name(host.to_owned()));
        }
        let mut found = lookup_host((host, port)).await.map_err(ProxyError::Lookup)?;
        let address =
            found.next().ok_or_else(|| ProxyError::Lookup(io::ErrorKind::NotFound.into()))?;
        Ok(Socks5Target::Ip(address.ip()))
    }

    fn error(&self, error: ProxyError) -> ConnectError {
        ConnectError::Proxy { proxy: self.to_string(), error }
    }
}

/// Asks an HTTP proxy for a tunnel.
async fn open_http(
    mut stream: ByteStream,
    host: &str,
    port: u16,
    credentials: Option<&Credentials>,
) -> Result<ByteStream, ProxyError> {
    let target =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let target = target.parse().map_err(io::Error::other)?;
    let mut connect = HttpConnect::new(&target, credentials);
    stream.write_all(connect.request()).await?;
    stream.flush().await?;
    let mut input = BytesMut::new();
    while connect.poll_response(&mut input)?.is_none() {
        receive(&mut stream, &mut input).await?;
    }
    Ok(rewound(stream, input))
}

/// Asks a SOCKS5 proxy for a connection.
async fn open_socks5(mut stream: ByteStream, mut socks: Socks5) -> Result<ByteStream, ProxyError> {
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    while !socks.poll(&mut input, &mut output)? {
        if output.is_empty() {
            receive(&mut stream, &mut input).await?;
        } else {
            stream.write_all_buf(&mut output).await?;
        }
    }
    Ok(rewound(stream, input))
}

async fn receive(stream: &mut ByteStream, input: &mut BytesMut) -> io::Result<()> {
    match stream.read_buf(input).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// A stream that begins with what was read too much of it.
fn rewound(stream: ByteStream, read: BytesMut) -> ByteStream {
    if read.is_empty() {
        return stream;
    }
    let (reader, writer) = tokio::io::split(stream);
    ByteStream::boxed(tokio::io::join(io::Cursor::new(read).chain(reader), writer))
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let invalid = |reason: &str| ProxyError::Invalid(reason.to_owned());
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&url).map_err(|error| invalid(&error.to_string()))?;
        let (kind, default_port) = match url.scheme() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" => (Kind::Socks5, 1080),
            "socks5h" => (Kind::Socks5h, 1080),
            _ => return Err(invalid("it must begin with http, https, socks5 or socks5h")),
        };
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) if !host.to_string().is_empty() => host.to_string(),
            _ => return Err(invalid("it has no host")),
        };
        let (user, password) = (url.username(), url.password());
        let decode = |text| percent_decode_str(text).collect();
        let credentials = (!user.is_empty() || password.is_some()).then(|| Credentials {
            user: decode(user),
            password: decode(password.unwrap_or_default()),
        });
        Ok(Self {
            kind,
            host,
            port: url.port().unwrap_or(default_port),
            credentials,
            #[cfg(feature = "tls")]
            tls: crate::tls::ClientTls::new(),
        })
    }
}

impl fmt::Display for Proxy {
    /// The URL without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks5 => "socks5",
            Kind::Socks5h => "socks5h",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// Why a connection through a proxy failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy itself was not reached.
    #[error("it was not reached: {0}")]
    Connect(io::Error),
    /// An HTTP proxy opened no tunnel.
    #[error(transparent)]
    Http(#[from] HttpConnectError),
    /// Text that is not the address of a proxy.
    #[error("not a proxy URL: {0}")]
    Invalid(String),
    /// The connection to the proxy was lost.
    #[error("the connection to it was lost: {0}")]
    Io(io::Error),
    /// The server's name was not found; `socks5h` leaves that to the proxy.
    #[error("the server's name was not found: {0}")]
    Lookup(io::Error),
    /// A SOCKS5 proxy opened no connection.
    #[error(transparent)]
    Socks5(#[from] Socks5Error),
    /// Names or passwords that cannot be expressed in SOCKS5.
    #[error(transparent)]
    Socks5Request(#[from] InvalidSocks5),
    /// TLS with the proxy was not agreed on.
    #[error("the TLS handshake with it failed: {0}")]
    Tls(io::Error),
}

impl From<io::Error> for ProxyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let proxy: Proxy = "socks5h://ann:s%20ecret@[::1]".parse().unwrap();
        assert_eq!(proxy.to_string(), "socks5h://[::1]:1080");
        assert_eq!(proxy.credentials.as_ref().unwrap().password, b"s ecret");
        assert!(!format!("{proxy:?}").contains("ecret"));
        assert_eq!("proxy:3128".parse::<Proxy>().unwrap().to_string(), "http://proxy:3128");
        assert_eq!("https://proxy".parse::<Proxy>().unwrap().to_string(), "https://proxy:443");
        for text in ["ftp://h", "http://", "", "socks4://h", "socks5://", "http://a b"] {
            assert!(matches!(text.parse::<Proxy>(), Err(ProxyError::Invalid(_))), "{text}");
        }
    }
}
