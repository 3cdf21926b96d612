//! A token and whether it is good: a JSON Web Token in its compact form (RFC 7515 §3.1, RFC 7519).
//!
//! The order is that of trust: the size, then the form, then the algorithm, then the signature;
//! the claims are not even parsed before they are known to come from whoever has the key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error, IgnoredAny};

use super::claims::{Claims, NumericDate};
use super::key::{Algorithm, AuthKey};

/// The longest token, in bytes.
pub(crate) const MAX_TOKEN: usize = 8 * 1024;

impl AuthKey {
    /// The claims of the token, if it is good at this time: of at most 8 KiB, signed with this key by
    /// this key's algorithm, with an `exp` that is to come, `nbf` and `iat` that are not (give or
    /// take 60 s), and meant for the audience that was [set](Self::for_audience), or for none.
    ///
    /// # Errors
    ///
    /// The first of these that it is not.
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
        // What must be understood is not understood here (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        if !self.is_signed(signed.as_bytes(), &decode(signature)?) {
            return Err(TokenError::Signature);
        }
        let claims: Claims =
            object(&decode(claims)?).map_err(|wrong| TokenError::Claims(wrong.to_string()))?;
        claims.check(now, self.audience())?;
        Ok(claims)
    }
}

/// What of a token's header counts. Where its key is to be had (`jku`, `x5u`, `jwk`, `kid`) does not:
/// there is one key, and it is here.
#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<IgnoredAny>,
}

/// Base64url without padding, in its one spelling (RFC 7515 §2).
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

/// A JSON object. A list, which serde would fill a struct from as well, is none.
fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    match json.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(json),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

/// Why a token is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is signed by another algorithm than the key's, or by none.
    #[error("the token is not signed with {0}, the algorithm of this server's key")]
    Algorithm(Algorithm),
    /// Its `aud` names others.
    #[error("the token is for another audience")]
    Audience,
    /// The claims are not what they should be; the text says which and how.
    #[error("the token's claims can not be used: {0}")]
    Claims(String),
    /// Its header says that something must be understood (`crit`), and it is not.
    #[error("the token has extensions that this server does not know")]
    Critical,
    /// It was good until `exp`.
    #[error("the token has expired")]
    Expired,
    /// It is no JSON Web Token.
    #[error("the token is no JSON Web Token")]
    Malformed,
    /// It would never end.
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
    /// It has more than 8 KiB.
    #[error("the token is longer than 8 KiB")]
    TooLong,
}
