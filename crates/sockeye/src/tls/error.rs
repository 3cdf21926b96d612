//! What can be wrong with certificates and keys before any connection is made.

use std::{io, path::PathBuf};

use rustls::pki_types::pem;

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// No certificate where one was to be, in PEM.
    #[error("it has no certificate in PEM format")]
    NoCertificate,
    /// No private key where one was to be, in PEM and not encrypted.
    #[error("it has no unencrypted private key in PEM format")]
    NoKey,
    /// Not PEM.
    #[error("it is not PEM: {0}")]
    Pem(pem::Error),
    /// A certificate, or a certificate with a key, that cannot be used.
    #[error(transparent)]
    Unusable(#[from] rustls::Error),
    /// A private key that is not the certificate's.
    #[error(
        "the key in {} does not belong to the certificate in {}",
        key.display(),
        certificates.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificates: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// What is wrong is in this file.
    #[error("{}: {error}", path.display())]
    In {
        /// Which one.
        path: PathBuf,
        /// What is wrong in it.
        error: Box<Self>,
    },
    /// The system has no list of authorities to trust, and no other was given.
    #[error("the system trusts no certificate authority{0}")]
    NoRoots(String),
}
