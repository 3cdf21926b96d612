//! The key that verifies tokens: a shared secret, or the public half of a key pair.
//!
//! The key alone determines the algorithm of signatures. The `alg` of a token is compared with it and
//! never followed, so neither `none` nor a public key used as a secret is accepted (RFC 8725 §3.1).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use jsonwebtoken::{DecodingKey, DecodingKeyKind, Header, Validation};
use rustls_pki_types::pem::{self, PemObject, SectionKind};

use super::claims::Expected;
use super::key_set::{KeySet, NoKey};
use super::token::TokenError;

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

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::HS256,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Es256 => Self::ES256,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key that verifies tokens, or the [keys of an issuer](KeySet). Its `Debug` form does not show a secret.
#[derive(Clone, Debug)]
pub struct AuthKey {
    keys: Keys,
    expected: Expected,
}

#[derive(Clone, Debug)]
enum Keys {
    One(Arc<VerifyingKey>),
    Set(KeySet),
}

/// One key, with the algorithm that it is for.
#[derive(Clone)]
pub(super) struct VerifyingKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// What is left to the library: the algorithm and the signature. The claims are checked here, because they
    /// have other rules ([`Claims::check`](super::Claims)).
    pub(super) validation: Validation,
}

impl VerifyingKey {
    pub(super) fn new(algorithm: Algorithm, key: DecodingKey) -> Self {
        let mut validation = Validation::new(algorithm.into());
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self { algorithm, key, validation }
    }

    /// The public key in a `SubjectPublicKeyInfo` (RFC 5280 §4.1), if it is of one of the algorithms.
    fn public(der: &[u8]) -> Option<Self> {
        Some(if ParsedPublicKey::new(&ED25519, der).is_ok() {
            Self::new(Algorithm::EdDsa, DecodingKey::from_ed_der(der))
        } else if ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der).is_ok() {
            Self::new(Algorithm::Es256, DecodingKey::from_ec_der(der))
        } else {
            // It refuses fewer than 2048 bits, and more than 8192.
            PublicEncryptingKey::from_der(der).ok()?;
            Self::new(Algorithm::Rs256, DecodingKey::from_rsa_der(der))
        })
    }

    /// Whether it accepts the same signatures.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let is_same = match (self.key.kind(), other.key.kind()) {
            (DecodingKeyKind::SecretOrDer(one), DecodingKeyKind::SecretOrDer(other)) => {
                verify_slices_are_equal(one, other).is_ok()
            }
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: other_n, e: other_e },
            ) => n == other_n && e == other_e,
            _ => false,
        };
        self.algorithm == other.algorithm && is_same
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&self.algorithm).finish()
    }
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
            None => secret(bytes).and_then(Self::secret),
            // A `SubjectPublicKeyInfo` (RFC 7468 §13).
            Some((SectionKind::PublicKey, der)) => {
                VerifyingKey::public(&der).map(Self::of).ok_or(KeyError::Unsupported)
            }
            Some((
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey,
                _,
            )) => Err(KeyError::Private),
            Some(_) => Err(KeyError::Unsupported),
        }
    }

    /// The keys of an issuer. A token says by `kid` which of them it is signed with; one without `kid` is accepted
    /// where there is one key.
    pub fn from_set(keys: KeySet) -> Self {
        Self { keys: Keys::Set(keys), expected: Expected::default() }
    }

    /// The same for tokens that name this audience in `aud`, or another that was given. A key without an audience
    /// accepts only tokens without `aud`: one issued for another audience must be refused.
    #[must_use]
    pub fn for_audience(mut self, name: impl Into<String>) -> Self {
        self.expected.audiences.push(name.into());
        self
    }

    /// The same for tokens whose `iss` is this, or another that was given. A key without an issuer accepts any.
    #[must_use]
    pub fn from_issuer(mut self, name: impl Into<String>) -> Self {
        self.expected.issuers.push(name.into());
        self
    }

    /// The algorithm of tokens that it accepts; `None` for a set, each of whose keys has its own.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match &self.keys {
            Keys::One(key) => Some(key.algorithm),
            Keys::Set(_) => None,
        }
    }

    /// The set of keys, if it is one.
    pub(super) fn set(&self) -> Option<&KeySet> {
        match &self.keys {
            Keys::One(_) => None,
            Keys::Set(keys) => Some(keys),
        }
    }

    /// The key that a token with this header is verified with.
    pub(super) fn key_for(&self, header: &Header) -> Result<Arc<VerifyingKey>, TokenError> {
        match &self.keys {
            Keys::One(key) if header.alg == key.algorithm.into() => Ok(Arc::clone(key)),
            Keys::One(key) => Err(TokenError::Algorithm(key.algorithm)),
            Keys::Set(keys) => {
                keys.find(header.kid.as_deref(), header.alg).map_err(|none| match none {
                    NoKey::Unknown => TokenError::UnknownKey,
                    NoKey::OtherAlgorithm(algorithm) => TokenError::Algorithm(algorithm),
                })
            }
        }
    }

    /// Why a token is refused that names an algorithm which no key has.
    pub(super) fn other_algorithm(&self) -> TokenError {
        self.algorithm().map_or(TokenError::Algorithms, TokenError::Algorithm)
    }

    /// Has a key looked for that is missing, and waits. Whether that was done.
    pub(super) async fn look_again(&self) -> bool {
        match &self.keys {
            Keys::One(_) => false,
            Keys::Set(keys) => keys.look_again().await,
        }
    }

    /// Whether it accepts the same tokens.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let has_same_keys = match (&self.keys, &other.keys) {
            (Keys::One(one), Keys::One(other)) => one.is_same_as(other),
            (Keys::Set(one), Keys::Set(other)) => one.is_same_as(other),
            _ => false,
        };
        has_same_keys && self.expected == other.expected
    }

    fn of(key: VerifyingKey) -> Self {
        Self { keys: Keys::One(Arc::new(key)), expected: Expected::default() }
    }

    /// The key that verifies what is signed with this secret.
    pub(super) fn secret(secret: &[u8]) -> Result<Self, KeyError> {
        let key = DecodingKey::from_secret(secret).map_err(|_| KeyError::Unsupported)?;
        Ok(Self::of(VerifyingKey::new(Algorithm::Hs256, key)))
    }

    /// The key that verifies what the private key signs whose public half this is, in the form that the library of
    /// the private key gives it.
    pub(super) fn half_of(algorithm: Algorithm, public: &[u8]) -> Self {
        let key = match algorithm {
            Algorithm::Rs256 | Algorithm::Hs256 => DecodingKey::from_rsa_der(public),
            Algorithm::Es256 => DecodingKey::from_ec_der(public),
            Algorithm::EdDsa => DecodingKey::from_ed_der(public),
        };
        Self::of(VerifyingKey::new(algorithm, key))
    }

    /// The issuer and the audience that tokens must have.
    pub(super) fn expected(&self) -> &Expected {
        &self.expected
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
    /// A JSON Web Key, a set of them or a key of OpenSSH where a secret belongs: others may know it.
    #[error(
        "it is a key in JSON or of OpenSSH, not a secret: give the keys of an issuer as `jwks`, or a \
         public key in PEM"
    )]
    NoSecret,
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

/// The secret in the file: without the line break at the end that editors and `openssl rand -hex`
/// add to text. Random bytes are taken as they are.
pub(super) fn secret(bytes: &[u8]) -> Result<&[u8], KeyError> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let is_text = line.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let secret = if is_text { line } else { bytes };
    let is_public = |begin: &[u8]| bytes.trim_ascii_start().starts_with(begin);
    if [&b"{"[..], b"ssh-", b"ecdsa-sha2-"].into_iter().any(is_public)
        && str::from_utf8(bytes).is_ok()
    {
        return Err(KeyError::NoSecret);
    }
    match secret.len() {
        length if length < AuthKey::MIN_SECRET => Err(KeyError::Short { length }),
        _ => Ok(secret),
    }
}
