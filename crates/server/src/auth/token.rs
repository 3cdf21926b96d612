//! Verifying a token: a JSON Web Token in its compact form (RFC 7515 §3.1, RFC 7519).
//!
//! Checks are in the order of trust: the size, the form, the algorithm, the signature; the claims are
//! not even parsed before the signature is verified. `jsonwebtoken` parses and verifies; what the claims must be is
//! [`Claims::check`]'s.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

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
        let header = header(token).map_err(|wrong| match wrong {
            NoHeader::OtherAlgorithm => self.other_algorithm(),
            NoHeader::Malformed => TokenError::Malformed,
        })?;
        let key = self.key_for(&header)?;
        // Extensions that must be understood are not supported (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let decoded = jsonwebtoken::decode::<Object<Claims>>(token, &key.key, &key.validation);
        let Object(mut claims) = decoded
            .map_err(|wrong| match wrong.into_kind() {
                ErrorKind::Json(wrong) => TokenError::Claims(wrong.to_string()),
                ErrorKind::Base64(_) | ErrorKind::InvalidToken => TokenError::Malformed,
                _ => TokenError::Signature,
            })?
            .claims;
        claims.check(now, self.expected())?;
        claims.channels = claims.channels.of_subject(claims.sub.as_deref());
        Ok(claims)
    }
}

impl AuthKey {
    /// The claims of the token now, as [`verify`](Self::verify) gives them. A key of an issuer that is missing is
    /// looked for first.
    pub(super) async fn verify_soon(&self, token: &str) -> Result<Claims, TokenError> {
        match self.verify(token, NumericDate::now()) {
            Err(TokenError::UnknownKey) if self.look_again().await => {
                self.verify(token, NumericDate::now())
            }
            claims => claims,
        }
    }
}

/// Why a token has no header that can be used.
enum NoHeader {
    Malformed,
    /// Its `alg` is a name that `jsonwebtoken` does not know, `none` for example.
    OtherAlgorithm,
}

/// The header of the token. Where its key could be fetched (`jku`, `x5u`, `jwk`) does not count.
fn header(token: &str) -> Result<Header, NoHeader> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "alg")]
        _alg: String,
    }
    jsonwebtoken::decode_header(token).map_err(|wrong| {
        let ErrorKind::Json(wrong) = wrong.into_kind() else { return NoHeader::Malformed };
        let part = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let named = part.and_then(|json| serde_json::from_slice::<Object<Named>>(&json).ok());
        match named {
            Some(_) if wrong.is_data() => NoHeader::OtherAlgorithm,
            _ => NoHeader::Malformed,
        }
    })
}

/// A JSON object. An array, which serde would accept for a struct as well, is an error.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, members: M) -> Result<Object<T>, M::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(std::marker::PhantomData))
    }
}

/// Why a token is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is signed by another algorithm than the key's, or by none.
    #[error("the token is not signed with {0}, the algorithm of this server's key")]
    Algorithm(Algorithm),
    /// It is signed by another algorithm than the keys of its issuer, or by none.
    #[error(
        "the token is signed with none of RS256, ES256 and EdDSA, the algorithms of its issuer's keys"
    )]
    Algorithms,
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
    /// Its `iss` is not one of the issuers that are accepted, or it has none.
    #[error("the token is of another issuer")]
    Issuer,
    /// It is not a JSON Web Token.
    #[error("the token is not a JSON Web Token")]
    Malformed,
    /// It would never expire.
    #[error("the token has no `exp`")]
    NoExpiry,
    /// Its `nbf` or `iat` is more than 60 s from now.
    #[error("the token is not valid yet")]
    NotYet,
    /// It was revoked before its `exp`.
    #[error("the token has been revoked")]
    Revoked,
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
    /// Its `kid` is that of no key of the issuer; or it has none, and the issuer has several keys.
    #[error("the token does not name a key of its issuer (`kid`)")]
    UnknownKey,
}
