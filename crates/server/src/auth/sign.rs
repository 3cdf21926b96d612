//! The key that signs tokens: a shared secret, or the private half of a key pair.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use ring::{hmac, signature};
use rustls_pki_types::pem::SectionKind;

use super::claims::Claims;
use super::key::{Algorithm, AuthKey, KeyError, read, secret, sections};

/// A key that signs tokens. Its `Debug` form shows the algorithm alone.
pub struct SigningKey(Kind);

enum Kind {
    Secret(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
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
            None => secret(bytes).map(|key| Self(Kind::Secret(key))),
            Some((SectionKind::PrivateKey, der)) => private(&der).ok_or(KeyError::Unsupported),
            Some((SectionKind::RsaPrivateKey, der)) => RsaKeyPair::from_der(&der)
                .map(|key| Self(Kind::Rsa(Box::new(key))))
                .map_err(|_| KeyError::Unsupported),
            Some((SectionKind::PublicKey, _)) => Err(KeyError::Public),
            Some(_) => Err(KeyError::Unsupported),
        }
    }

    /// The algorithm of its tokens.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Kind::Secret(_) => Algorithm::Hs256,
            Kind::Rsa(_) => Algorithm::Rs256,
            Kind::P256(_) => Algorithm::Es256,
            Kind::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// The key that verifies what this one signs.
    pub fn auth_key(&self) -> AuthKey {
        let public = |key: &[u8]| AuthKey::public(self.algorithm(), key);
        let key = match &self.0 {
            Kind::Secret(key) => Some(AuthKey::secret(key.clone())),
            Kind::Rsa(key) => public(key.public().as_ref()),
            Kind::P256(key) => public(key.public_key().as_ref()),
            Kind::Ed25519(key) => public(key.public_key().as_ref()),
        };
        key.expect("the public half of a key pair is of its algorithm")
    }

    /// Makes a token with these claims: a JWT in its compact form (RFC 7515 §3.1).
    ///
    /// # Errors
    ///
    /// When the operating system provides no random bytes.
    pub fn sign(&self, claims: &Claims) -> Result<String, SignError> {
        let header = format!("{{\"alg\":\"{}\",\"typ\":\"JWT\"}}", self.algorithm());
        let claims = serde_json::to_vec(claims).map_err(|_| SignError)?;
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.0 {
            Kind::Secret(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| SignError)?;
                Ok(signature)
            }
            Kind::P256(key) => key.sign(&random, message).map(bytes).map_err(|_| SignError),
            Kind::Ed25519(key) => Ok(bytes(key.sign(message))),
        }
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
/// without their public half, so that half cannot be compared.
fn private(der: &[u8]) -> Option<SigningKey> {
    let p256 = || {
        let random = SystemRandom::new();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).ok()
    };
    let kind = if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        Kind::Ed25519(Box::new(key))
    } else if let Some(key) = p256() {
        Kind::P256(Box::new(key))
    } else {
        Kind::Rsa(Box::new(RsaKeyPair::from_pkcs8(der).ok()?))
    };
    Some(SigningKey(kind))
}

fn bytes(signature: signature::Signature) -> Vec<u8> {
    signature.as_ref().to_vec()
}
