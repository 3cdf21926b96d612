//! The client's side of TLS: the authorities to trust, and the client certificate.

use std::{
    io,
    path::Path,
    sync::{Arc, LazyLock, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{TlsError, pem, pinned::TrustPinned, provider, unverified::AcceptAnything};

/// How a client authenticates servers, and itself.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::{Client, tls::ClientTls};
///
/// let tls = ClientTls::new()
///     .root_file("our-own-authority.pem")?
///     .identity_files("client.pem", "client.key")?;
/// let socket = Client::new("wss://internal.example/")?.tls(tls).connect().await?;
/// # Ok(())
/// # }
/// ```
///
/// Clones share the sessions that make later connections to the same server quicker (RFC 8446
/// §2.2). The authorities that the system trusts are read once, when they are first needed;
/// the environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
#[derive(Debug, Clone)]
pub struct ClientTls {
    settings: Settings,
    /// What rustls makes of the settings, once it was needed.
    built: Arc<OnceLock<Arc<ClientConfig>>>,
}

#[derive(Debug, Clone, Default)]
struct Settings {
    roots: Vec<CertificateDer<'static>>,
    without_system_roots: bool,
    identity: Option<Arc<Identity>>,
    accept_anything: bool,
}

#[derive(Debug)]
struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientTls {
    /// Trusts the authorities that the system trusts, and presents no certificate.
    pub fn new() -> Self {
        static BUILT: LazyLock<Arc<OnceLock<Arc<ClientConfig>>>> = LazyLock::new(Arc::default);
        Self { settings: Settings::default(), built: BUILT.clone() }
    }

    /// Uses a configuration of rustls. Its ALPN names are replaced by those of the
    /// protocols that a WebSocket can be opened with.
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self { settings: Settings::default(), built: Arc::new(OnceLock::from(config)) }
    }

    /// Trusts the certificate authorities in this PEM text, too, and these certificates themselves: a
    /// server's own may stand here, such as one that `openssl req -x509` makes. Its name and its time
    /// are checked like those of any other.
    ///
    /// # Errors
    ///
    /// When there is none in it.
    pub fn root_pem(self, text: &[u8]) -> Result<Self, TlsError> {
        let roots = pem::certificates(text)?;
        Ok(self.change(|settings| settings.roots.extend(roots)))
    }

    /// Trusts the certificate authorities in this PEM file, too.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or there is none in it.
    pub fn root_file(self, path: impl AsRef<Path>) -> Result<Self, TlsError> {
        let roots = pem::file(path.as_ref(), pem::certificates)?;
        Ok(self.change(|settings| settings.roots.extend(roots)))
    }

    /// Trusts none of the authorities that the system trusts: only those that were added.
    pub fn without_system_roots(self) -> Self {
        self.change(|settings| settings.without_system_roots = true)
    }

    /// Presents this certificate to servers that ask for one: PEM texts of the certificate, followed
    /// by those between it and the authority, and of its private key.
    ///
    /// # Errors
    ///
    /// When one is missing.
    pub fn identity_pem(self, certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let identity =
            Identity { certificates: pem::certificates(certificates)?, key: pem::key(key)? };
        Ok(self.change(|settings| settings.identity = Some(Arc::new(identity))))
    }

    /// As [`identity_pem`](Self::identity_pem), from files. They may be one and the same.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or does not have what it should.
    pub fn identity_files(
        self,
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let identity = Identity {
            certificates: pem::file(certificates.as_ref(), pem::certificates)?,
            key: pem::file(key.as_ref(), pem::key)?,
        };
        Ok(self.change(|settings| settings.identity = Some(Arc::new(identity))))
    }

    /// Accepts any certificate of the server.
    ///
    /// Danger: an attacker between this program and the server can then read and change everything. To
    /// reach a server with a certificate of your own making, trust that with
    /// [`root_file`](Self::root_file) instead.
    pub fn danger_accept_invalid_certificates(self) -> Self {
        self.change(|settings| settings.accept_anything = true)
    }

    /// Presents no certificate any more, but one that a configuration of rustls has.
    pub(crate) fn forget_identity(&mut self) {
        if self.settings.identity.take().is_some() {
            self.built = Arc::default();
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self.built = Arc::default();
        self
    }

    /// Makes TLS of a connection that leads to `host` (a name, or an IP address without brackets):
    /// its certificate must be for that. A name is sent along (SNI, RFC 6066 §3), and the protocols
    /// to choose from, the preferred one first (ALPN, RFC 7301).
    pub(crate) async fn connect<T>(
        &self,
        host: &str,
        protocols: &[&[u8]],
        stream: T,
    ) -> io::Result<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut config = ClientConfig::clone(&*self.to_config().await?);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// What rustls makes of these settings, for a program that does the TLS handshake itself. It has no ALPN names.
    ///
    /// # Errors
    ///
    /// When the system's authorities cannot be read, or rustls does not take the settings.
    pub async fn to_config(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.built.get() {
            return Ok(config.clone());
        }
        let settings = self.settings.clone();
        // The system's authorities are a hundred files on some systems.
        let config = tokio::task::spawn_blocking(move || settings.build()).await?;
        let config = Arc::new(config.map_err(io::Error::other)?);
        Ok(self.built.get_or_init(|| config).clone())
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        Self::new()
    }
}

impl Settings {
    fn build(self) -> Result<ClientConfig, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = builder.dangerous();
        let builder = if self.accept_anything {
            builder.with_custom_certificate_verifier(Arc::new(AcceptAnything(provider())))
        } else {
            let (roots, certificates) = self.roots()?;
            let verifier = TrustPinned::new(roots, certificates)?;
            builder.with_custom_certificate_verifier(Arc::new(verifier))
        };
        Ok(match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.certificates.clone(), identity.key.clone_key())?,
        })
    }

    /// The authorities to trust, and the certificates that were given or read for that.
    fn roots(&self) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
        let mut store = RootCertStore::empty();
        for root in &self.roots {
            store.add(root.clone())?;
        }
        if self.without_system_roots {
            return Ok((store, self.roots.clone()));
        }
        let system = rustls_native_certs::load_native_certs();
        // One that rustls does not understand does no harm but to servers that need it.
        let (_, ignored) = store.add_parsable_certificates(system.certs.iter().cloned());
        if ignored > 0 {
            tracing::debug!(ignored, "authorities of the system are not understood");
        }
        if store.is_empty() {
            let reasons = system.errors.iter().map(|error| format!("; {error}"));
            return Err(TlsError::NoRoots(reasons.collect()));
        }
        Ok((store, [&self.roots[..], &system.certs[..]].concat()))
    }
}
