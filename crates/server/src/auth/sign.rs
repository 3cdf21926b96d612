//! The key that signs tokens: a shared secret, or the private half of a key pair.

use std::fmt;
use std::path::Path;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use jsonwebtoken::{EncodingKey, Header};
use rustls_pki_types::pem::SectionKind;

use super::claims::Claims;
use super::key::{Algorithm, AuthKey, KeyError, read, secret, sections};

/// A key that signs tokens. Its `Debug` form shows the algorithm alone.
pub struct SigningKey {
    algorithm: Algorithm,
    kid: Option<String>,
    key: EncodingKey,
    /// What verifies its tokens.
    auth_key: AuthKey,
}

impl SigningKey {
    /// Reads the key from a file: see [`from_bytes`](Self::from_bytes).
    ///
    /// # Errors
    ///
    /// [`KeyError::Read`] if the file cannot be read, else as `from_bytes`.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        Self::from_bytes(&read(path.as_ref())?)
    }

    /// The key in these bytes: a private key in PEM (`BEGIN PRIVATE KEY`: RSA, P-256 or Ed25519;
    /// `BEGIN RSA PRIVATE KEY`), or else a secret, as [`AuthKey`] reads it.
    ///
    /// # Errors
    ///
    /// When it is neither, or a secret that is too short.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        match sections(bytes)? {
            None => {
                let secret = secret(bytes)?;
                let key = EncodingKey::from_secret(secret).map_err(|_| KeyError::Unsupported)?;
                Ok(Self {
                    algorithm: Algorithm::Hs256,
                    kid: None,
                    key,
                    auth_key: AuthKey::secret(secret)?,
                })
            }
            Some((SectionKind::PrivateKey, der)) => {
                private(bytes, &der).ok_or(KeyError::Unsupported)
            }
            Some((SectionKind::RsaPrivateKey, der)) => RsaKeyPair::from_der(&der)
                .map(|pair| Self::pair(Algorithm::Rs256, EncodingKey::from_rsa_der(&der), &pair))
                .map_err(|_| KeyError::Unsupported),
            Some((SectionKind::PublicKey, _)) => Err(KeyError::Public),
            Some(_) => Err(KeyError::Unsupported),
        }
    }

    fn pair(algorithm: Algorithm, key: EncodingKey, pair: &impl KeyPair) -> Self {
        let auth_key = AuthKey::half_of(algorithm, pair.public_key().as_ref());
        Self { algorithm, kid: None, key, auth_key }
    }

    /// The same, whose tokens say by `kid` that they are signed with it: for a server with a [set of
    /// keys](super::KeySet).
    #[must_use]
    pub fn named(self, kid: impl Into<String>) -> Self {
        Self { kid: Some(kid.into()), ..self }
    }

    /// The algorithm of its tokens.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key that verifies what this one signs.
    pub fn auth_key(&self) -> AuthKey {
        self.auth_key.clone()
    }

    /// Makes a token with these claims: a JWT in its compact form (RFC 7515 §3.1).
    ///
    /// # Errors
    ///
    /// When the operating system provides no random bytes.
    pub fn sign(&self, claims: &Claims) -> Result<String, SignError> {
        let header = Header { kid: self.kid.clone(), ..Header::new(self.algorithm.into()) };
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| SignError)
    }
}

/// A token could not be signed: the operating system provides no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SignError;

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.algorithm()).finish()
    }
}

/// The one kind of key that accepts these bytes (PKCS #8, RFC 5208). OpenSSL writes Ed25519 keys
/// without their public half, so that half is made of the private one.
fn private(pem: &[u8], der: &[u8]) -> Option<SigningKey> {
    Some(if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
        SigningKey::pair(Algorithm::EdDsa, EncodingKey::from_ed_der(der), &pair)
    } else if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
        SigningKey::pair(Algorithm::Es256, EncodingKey::from_ec_der(der), &pair)
    } else {
        let pair = RsaKeyPair::from_pkcs8(der).ok()?;
        // It takes the form of PKCS #1 out of the other.
        let key = EncodingKey::from_rsa_pem(pem).ok()?;
        SigningKey::pair(Algorithm::Rs256, key, &pair)
    })
}
