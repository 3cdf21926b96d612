//! The key that verifies tokens: a shared secret, or the public half of a key pair.
//!
//! The key alone determines the algorithm of signatures. The `alg` of a token is compared with it and
//! never followed, so neither `none` nor a public key used as a secret is accepted (RFC 8725 §3.1).

use std::fmt;
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::pem::{self, PemObject, SectionKind};

use super::der;

/// The algorithm of a token's signature, as `alg` names it (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256: a secret of at least 32 bytes, shared with the issuer of tokens.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256: an RSA key of 2048 to 8192 bits.
    Rs256,
    /// ECDSA with SHA-256 on the curve P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The name in a token's header: `HS256`, `RS256`, `ES256` or `EdDSA`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key that verifies tokens. Its `Debug` form does not show a secret.
#[derive(Clone, Debug)]
pub struct AuthKey {
    kind: Kind,
    audience: Option<String>,
}

#[derive(Clone, Debug)]
enum Kind {
    Secret(hmac::Key),
    Public(Algorithm, UnparsedPublicKey<Vec<u8>>),
}

impl AuthKey {
    /// The shortest secret, in bytes: as long as the hash (RFC 7518 §3.2).
    pub const MIN_SECRET: usize = 32;

    /// Reads the key from a file: see [`from_bytes`](Self::from_bytes).
    ///
    /// # Errors
    ///
    /// [`KeyError::Read`] if the file cannot be read, else as `from_bytes`.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        Self::from_bytes(&read(path.as_ref())?)
    }

    /// The key in these bytes: a public key in PEM (`BEGIN PUBLIC KEY`: RSA, P-256 or Ed25519), or else
    /// a secret for HMAC. A line break at the end of a secret that is text does not belong to it.
    ///
    /// # Errors
    ///
    /// When a secret is shorter than [`MIN_SECRET`](Self::MIN_SECRET), or PEM does not hold a public
    /// key of those kinds. PEM is never used as a secret.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        match sections(bytes)? {
            None => secret(bytes).map(Self::secret),
            // A `SubjectPublicKeyInfo` (RFC 7468 §13).
            Some((SectionKind::PublicKey, der)) => der::public_key(&der)
                .and_then(|(algorithm, key)| Self::public(algorithm, key))
                .ok_or(KeyError::Unsupported),
            Some((
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey,
                _,
            )) => Err(KeyError::Private),
            Some(_) => Err(KeyError::Unsupported),
        }
    }

    /// The same key for tokens that name this audience in `aud`. A key without an audience accepts only
    /// tokens without `aud`: one issued for another audience must be refused.
    #[must_use]
    pub fn for_audience(mut self, name: impl Into<String>) -> Self {
        self.audience = Some(name.into());
        self
    }

    /// The algorithm of tokens that it accepts.
    pub fn algorithm(&self) -> Algorithm {
        match &self.kind {
            Kind::Secret(_) => Algorithm::Hs256,
            Kind::Public(algorithm, _) => *algorithm,
        }
    }

    /// Whether it accepts the same tokens.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let same_key = match (&self.kind, &other.kind) {
            // `ring` cannot compare keys; two keys do not give the same code by chance.
            (Kind::Secret(one), Kind::Secret(other)) => {
                hmac::verify(other, b"same", hmac::sign(one, b"same").as_ref()).is_ok()
            }
            (Kind::Public(one, key), Kind::Public(other, other_key)) => {
                one == other && key.as_ref() == other_key.as_ref()
            }
            _ => false,
        };
        same_key && self.audience == other.audience
    }

    pub(super) fn secret(key: hmac::Key) -> Self {
        Self { kind: Kind::Secret(key), audience: None }
    }

    /// A public key in the form that the algorithm has for it; `None` for an algorithm of secrets.
    pub(super) fn public(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::EdDsa => &signature::ED25519,
            Algorithm::Hs256 => return None,
        };
        let key = UnparsedPublicKey::new(verification, key.to_vec());
        Some(Self { kind: Kind::Public(algorithm, key), audience: None })
    }

    pub(super) fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// Whether `signature` over `message` was made with the key. A secret is compared in constant time.
    pub(super) fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            Kind::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Kind::Public(_, key) => key.verify(message, signature).is_ok(),
        }
    }
}

/// Why a key cannot verify or sign tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A private key where a public one belongs: the server needs none, and should have none.
    #[error(
        "it is a private key, which the server should not have: give it the public one, \
         `openssl pkey -in PRIVATE -pubout -out PUBLIC`"
    )]
    Private,
    /// A public key where a private one belongs.
    #[error("it is a public key, and only a private key or a secret signs tokens")]
    Public,
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A secret shorter than [`AuthKey::MIN_SECRET`], which can be guessed.
    #[error(
        "a secret has at least {min} bytes, this one has {length}: `openssl rand -hex 32` makes one",
        min = AuthKey::MIN_SECRET
    )]
    Short {
        /// Its length in bytes.
        length: usize,
    },
    /// PEM that is malformed, or holds something else than one key of a supported kind.
    #[error(
        "it cannot be used as a key: give a secret of 32 bytes or more, or in PEM an RSA key of \
         2048 to 8192 bits, a P-256 or an Ed25519 key (private ones as `BEGIN PRIVATE KEY`, which \
         `openssl pkcs8 -topk8 -nodes` makes of others)"
    )]
    Unsupported,
    /// The file is text in UTF-16.
    #[error("it is text in UTF-16: save it as UTF-8 or ASCII")]
    Utf16,
}

/// The file's bytes, without the byte order mark that some editors put before a text.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    let mut bytes =
        std::fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    match is_utf16(&bytes) {
        true => Err(KeyError::Utf16),
        false => Ok(bytes),
    }
}

/// Whether it is text in UTF-16 with its mark, as `>` of `PowerShell` writes it: every second byte of
/// ASCII text is zero, and of random bytes hardly ever.
fn is_utf16(bytes: &[u8]) -> bool {
    let has_zeros = |first: usize| bytes.iter().skip(first).step_by(2).all(|byte| *byte == 0);
    let is_long = bytes.len() > 8;
    is_long
        && (bytes.starts_with(b"\xff\xfe") && has_zeros(3)
            || bytes.starts_with(b"\xfe\xff") && has_zeros(2))
}

/// The first section of a PEM file, `None` of a file that is not PEM. A file with any line that begins
/// as PEM does is PEM, however malformed: a public key used as a secret would be a secret that
/// is known to all.
pub(super) fn sections(bytes: &[u8]) -> Result<Option<(SectionKind, Vec<u8>)>, KeyError> {
    const MARK: &[u8] = b"-----BEGIN";
    if !bytes.windows(MARK.len()).any(|window| window == MARK) {
        return Ok(None);
    }
    // `openssl ecparam -genkey` writes the curve's parameters before the key: they are skipped.
    let mut found = <(SectionKind, Vec<u8>) as PemObject>::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|_| KeyError::Unsupported)?
        .into_iter();
    match (found.next(), found.next()) {
        (Some(section), None) => Ok(Some(section)),
        _ => Err(KeyError::Unsupported),
    }
}

/// The HMAC key in the file: without the line break at the end that editors and `openssl rand -hex`
/// add to text. Random bytes are taken as they are.
pub(super) fn secret(bytes: &[u8]) -> Result<hmac::Key, KeyError> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let is_text = line.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let secret = if is_text { line } else { bytes };
    match secret.len() {
        length if length < AuthKey::MIN_SECRET => Err(KeyError::Short { length }),
        _ => Ok(hmac::Key::new(hmac::HMAC_SHA256, secret)),
    }
}
