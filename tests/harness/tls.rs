//! An authority that nobody but the tests trusts, and its certificate for this machine.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// How two peers are to talk: with TLS or without, compressed or not.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Whether over TLS.
    pub tls: bool,
    /// Whether compression is offered, or agreed to.
    pub deflate: bool,
}

/// Every way there is.
pub const WAYS: [Way; 4] = [
    Way { tls: false, deflate: false },
    Way { tls: false, deflate: true },
    Way { tls: true, deflate: false },
    Way { tls: true, deflate: true },
];

/// The certificates as PEM files, which go when this is dropped.
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

        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, pem: String| {
            std::fs::write(folder.path().join(name), pem).expect("the folder can be written");
        };
        write("authority.pem", authority);
        write("certificate.pem", certificate);
        write("key.pem", key.serialize_pem());
        Self { folder }
    }

    /// The authority: whom to trust.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The server's certificate.
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

/// A certificate that has signed itself, with its key, as PEM files that go when this is dropped.
#[derive(Debug)]
pub struct SelfSigned {
    folder: TempDir,
}

impl SelfSigned {
    /// One for this name, valid from the first day of one year to that of another.
    #[must_use]
    pub fn new(name: &str, from: i32, until: i32) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let folder = tempfile::tempdir().expect("a folder");
        for (file, pem) in [("certificate.pem", certificate), ("key.pem", key.serialize_pem())] {
            std::fs::write(folder.path().join(file), pem).expect("the folder can be written");
        }
        Self { folder }
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
}

fn text(path: &Path) -> String {
    path.to_str().expect("temporary folders have plain names").to_owned()
}
