//! Certificates and keys from PEM (RFC 7468).

use std::path::Path;

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::TlsError;

/// The certificates in a text, in their order: at least one.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::NoCertificate),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError::Pem(error)),
    }
}

/// The first private key in a text: PKCS #8, PKCS #1 or SEC 1.
pub(super) fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey,
        error => TlsError::Pem(error),
    })
}

/// What `parse` finds in a file; its errors name the file.
pub(super) fn file<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, TlsError>,
) -> Result<T, TlsError> {
    let text =
        std::fs::read(path).map_err(|error| TlsError::File { path: path.to_owned(), error })?;
    parse(&text).map_err(|error| TlsError::In { path: path.to_owned(), error: Box::new(error) })
}
