//! Verifying a token: a JSON Web Token in its compact form (RFC 7515 §3.1, RFC 7519).
//!
//! Checks are in the order of trust: the size, the form, the algorithm, the signature; the claims are
//! not even parsed before the signature is verified.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error, IgnoredAny};

use super::claims::{Claims, NumericDate};
use super::key::{Algorithm, AuthKey};

/// The longest token, in bytes.
pub(crate) const MAX_TOKEN: usize = 8 * 1024;

impl AuthKey {
    /// The claims of the token, if it is valid at this time: at most 8 KiB, signed with this key by
    /// this key's algorithm, with an `exp` in the future, `nbf` and `iat` that are not (within 60 s),
    /// and for the audience that was [set](Self::for_audience), or for none.
    ///
    /// # Errors
    ///
    /// The first of these checks that fails.
    pub fn verify(&self, token: &str, now: NumericDate) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = object(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        if header.alg != self.algorithm().name() {
            return Err(TokenError::Algorithm(self.algorithm()));
        }
        // Extensions that must be understood are not supported (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        if !self.is_signed(signed.as_bytes(), &decode(signature)?) {
            return Err(TokenError::Signature);
        }
        let mut claims: Claims =
            object(&decode(claims)?).map_err(|wrong| TokenError::Claims(wrong.to_string()))?;
        claims.check(now, self.audience())?;
        claims.channels = claims.channels.of_subject(claims.sub.as_deref());
        Ok(claims)
    }
}

/// The members of a token's header that count. Where its key could be fetched (`jku`, `x5u`, `jwk`,
/// `kid`) does not: there is one key, and it is here.
#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<IgnoredAny>,
}

/// Base64url without padding, in its one spelling (RFC 7515 §2).
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

/// A JSON object. An array, which serde would accept for a struct as well, is an error.
fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    match json.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(json),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

/// Why a token is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is signed by another algorithm than the key's, or by none.
    #[error("the token is not signed with {0}, the algorithm of this server's key")]
    Algorithm(Algorithm),
    /// Its `aud` does not name this audience.
    #[error("the token is for another audience")]
    Audience,
    /// The claims are malformed; the text says which and how.
    #[error("the token's claims are invalid: {0}")]
    Claims(String),
    /// Its header has extensions that must be understood (`crit`), and they are not.
    #[error("the token has extensions that this server does not know")]
    Critical,
    /// It was valid until `exp`.
    #[error("the token has expired")]
    Expired,
    /// It is not a JSON Web Token.
    #[error("the token is not a JSON Web Token")]
    Malformed,
    /// It would never expire.
    #[error("the token has no `exp`")]
    NoExpiry,
    /// Its `nbf` or `iat` is more than 60 s from now.
    #[error("the token is not valid yet")]
    NotYet,
    /// Its signature was not made with this server's key, or not for these claims.
    #[error("the token is not signed with this server's key")]
    Signature,
    /// Its `sub` is empty, longer than 255 bytes, or has control characters, line separators or
    /// controls of the direction of text.
    #[error(
        "the token's `sub` is not a name of 1 to 255 bytes without control characters, line \
         separators and controls of the direction of text"
    )]
    Subject,
    /// It is longer than 8 KiB.
    #[error("the token is longer than 8 KiB")]
    TooLong,
}
