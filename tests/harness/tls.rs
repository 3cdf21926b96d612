//! Certificates of an authority that only the tests trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// How two peers talk: with TLS or without, compressed or not.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Whether over TLS.
    pub tls: bool,
    /// Whether compression is offered, or agreed to.
    pub deflate: bool,
}

/// Every variant.
pub const VARIANTS: [Variant; 4] = [
    Variant { tls: false, deflate: false },
    Variant { tls: false, deflate: true },
    Variant { tls: true, deflate: false },
    Variant { tls: true, deflate: true },
];

/// A certificate and its private key as PEM files, which go when this is dropped.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes an authority, and a certificate for `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the tests' own authority");
        let authority_key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&authority_key).expect("an authority").pem();
        let issuer = Issuer::new(params, authority_key);

        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate").pem();
        Self::write(&authority, &certificate, &key)
    }

    /// Makes a certificate for this name that is its own authority, valid from the first day of one year
    /// to that of another.
    #[must_use]
    pub fn self_signed(name: &str, from: i32, until: i32) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self::write(&certificate, &certificate, &key)
    }

    fn write(authority: &str, certificate: &str, key: &KeyPair) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, pem: &str| {
            std::fs::write(folder.path().join(name), pem).expect("the folder can be written");
        };
        write("authority.pem", authority);
        write("certificate.pem", certificate);
        write("key.pem", &key.serialize_pem());
        Self { folder }
    }

    /// What a server of rustls that has the certificate goes by.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let chain = CertificateDer::from_pem_file(self.certificate()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.key()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a certificate");
        Arc::new(config)
    }

    /// The authority, for those that are to trust it.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> String {
        text(&self.folder.path().join("certificate.pem"))
    }

    /// Its private key.
    #[must_use]
    pub fn key(&self) -> String {
        text(&self.folder.path().join("key.pem"))
    }

    /// The flags with which our servers serve TLS, or none.
    #[must_use]
    pub fn flags(&self, tls: bool) -> Vec<String> {
        let flags =
            ["--tls-cert".to_owned(), self.certificate(), "--tls-key".to_owned(), self.key()];
        if tls { flags.into() } else { Vec::new() }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("temporary folders have plain names").to_owned()
}
