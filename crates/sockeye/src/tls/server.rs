//! The server's side of TLS: its certificate.

use std::{fmt, io, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    server::ResolvesServerCert,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{StartHandshake, server::TlsStream};

use super::{TlsError, hello, pem, provider, reload::Reloaded};
use crate::net::alpn::HTTP_11;

/// What a server needs to serve `wss://`: a certificate and its private key.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::{Server, tls::ServerTls};
///
/// let server = Server::bind("0.0.0.0:443").await?.tls(ServerTls::from_files("chain.pem", "key.pem")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// Whether the ALPN names are those of [`ServerTls::from_config`].
    #[cfg(feature = "http2")]
    has_own_alpn: bool,
    /// The files, where it is made of files.
    files: Option<Arc<Reloaded>>,
}

impl ServerTls {
    /// Reads PEM files: the certificate, followed by those between it and the authority; and its
    /// private key. They may be one and the same.
    ///
    /// When they change, connections from then on get the new certificate, within two seconds, and
    /// those that are open stay. While the new files are broken, or do not fit together, the old
    /// certificate stays in use and a warning is logged (`tracing`).
    ///
    /// Clients resume their sessions by tickets (RFC 8446 §2.2, RFC 5077), however many there are, for
    /// six to twelve hours, as long as this value or a clone of it is in use.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or they cannot be used.
    pub fn from_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let files = Arc::new(Reloaded::open(certificates.as_ref(), key.as_ref())?);
        Ok(Self { files: Some(files.clone()), ..Self::resolving(files)? })
    }

    /// Reads the files of [`from_files`](Self::from_files) now, without waiting for the first connection
    /// and they look changed. It does nothing for what was made otherwise. Clones share the files.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or they cannot be used: then the certificate stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.files.as_ref().map_or(Ok(()), |files| files.reload_now())
    }

    /// Uses PEM texts, as [`from_files`](Self::from_files) without looking for changes.
    ///
    /// # Errors
    ///
    /// When they cannot be used.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let certificates = pem::certificates(certificates)?;
        let certified = CertifiedKey::from_der(certificates, pem::key(key)?, &provider())?;
        Self::resolving(Arc::new(SingleCertAndKey::from(certified)))
    }

    /// Uses a configuration of rustls, for example to ask clients for certificates. How sessions
    /// are resumed is up to it: by default rustls remembers 256 of them. Its ALPN
    /// names are kept, if there are any; `http/1.1` should be among them.
    pub fn from_config(mut config: ServerConfig) -> Self {
        let has_own_alpn = !config.alpn_protocols.is_empty();
        if !has_own_alpn {
            config.alpn_protocols = vec![HTTP_11.to_vec()];
        }
        Self {
            config: Arc::new(config),
            #[cfg(feature = "http2")]
            has_own_alpn,
            files: None,
        }
    }

    /// Offers HTTP/2 before HTTP/1.1 (ALPN), for a server that speaks both;
    /// [`negotiated_http2`](Self::negotiated_http2) says what a client has chosen. ALPN names given to
    /// [`from_config`](Self::from_config) stay as they are.
    #[cfg(feature = "http2")]
    pub fn http2(mut self) -> Self {
        if !self.has_own_alpn {
            let names = vec![crate::net::alpn::HTTP_2.to_vec(), HTTP_11.to_vec()];
            Arc::make_mut(&mut self.config).alpn_protocols = names;
        }
        self
    }

    /// Whether this connection's client and the server agreed on HTTP/2.
    #[cfg(feature = "http2")]
    pub fn negotiated_http2<T>(stream: &TlsStream<T>) -> bool {
        stream.get_ref().1.alpn_protocol() == Some(crate::net::alpn::HTTP_2)
    }

    fn resolving(resolver: Arc<dyn ResolvesServerCert>) -> Result<Self, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        // What a session needs is in its ticket, so any number of clients comes back without a full
        // handshake. The key changes every six hours, and one before it is still good.
        config.ticketer = Ticketer::new()?;
        Ok(Self::from_config(config))
    }

    /// Makes TLS of a connection that was accepted. It has no deadline of its own.
    ///
    /// # Errors
    ///
    /// When the client speaks something else, or does not like the certificate.
    pub async fn accept<T>(&self, stream: T) -> io::Result<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        self.begin(stream).await?.finish().await
    }

    /// Reads the client's first message (ClientHello): the part of a handshake that takes no
    /// cryptography, for a server that limits how many handshakes it works on. Until that message is
    /// whole, nothing is held but what has arrived of it. It has no deadline of its own.
    ///
    /// # Errors
    ///
    /// When the client speaks something else.
    pub async fn begin<T>(&self, stream: T) -> io::Result<TlsHandshake<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        self.begin_with(Vec::new(), stream).await
    }

    /// The same behind what has arrived: nothing, a part of the message, or all of it and some of what follows.
    pub(crate) async fn begin_with<T>(
        &self,
        arrived: Vec<u8>,
        mut stream: T,
    ) -> io::Result<TlsHandshake<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = hello::read(arrived, &mut stream).await?;
        let refused = match hello::accept(&hello) {
            Ok(accepted) => {
                let start = StartHandshake::from_parts(accepted, stream);
                return Ok(TlsHandshake { start, config: self.config.clone() });
            }
            Err(refused) => refused,
        };
        // Whether the client is told why changes nothing.
        let _ = stream.write_all(&refused.alert).await;
        let _ = stream.flush().await;
        Err(refused.error)
    }
}

/// A handshake whose first message has arrived.
pub struct TlsHandshake<T> {
    start: StartHandshake<T>,
    config: Arc<ServerConfig>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> TlsHandshake<T> {
    /// Does the rest of the handshake. It has no deadline of its own.
    ///
    /// # Errors
    ///
    /// When client and server do not agree, or the client does not like the certificate.
    pub async fn finish(self) -> io::Result<TlsStream<T>> {
        self.start.into_stream(self.config).await
    }
}

impl<T> fmt::Debug for TlsHandshake<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsHandshake").finish_non_exhaustive()
    }
}
