//! The claims of a token: its bearer, what the bearer may do, and when (RFC 7519 §4.1).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{Deserialize, Deserializer, IgnoredAny, Visitor};
use serde::ser::{Serialize, Serializer};

use super::grants::Grants;
use super::name::is_shown_as_it_is;
use super::token::TokenError;

/// How far the clocks of issuer and server may be apart for `nbf` and `iat`.
pub(super) const GRACE: Duration = Duration::from_mins(1);

/// The longest `sub`, in bytes.
const MAX_SUB: usize = 255;

/// The claims of a token. Other claims are ignored.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Claims {
    /// `sub`: the bearer, as presence shows it. 1 to 255 bytes without control characters, line
    /// separators and controls of the direction of text; without it the bearer has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// `exp`: when the token ends, exactly.
    pub exp: Option<NumericDate>,
    /// `nbf`: when it begins, give or take 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    /// `iat`: when it was issued; later than now, give or take 60 s, it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    /// `iss`: its issuer.
    #[serde(default, deserialize_with = "name", skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// `jti`: what it is [revoked](crate::Revocation::token) by. A number counts as its digits.
    #[serde(default, deserialize_with = "name", skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// `aud`: the audience it was issued for.
    #[serde(default, skip_serializing_if = "Audience::is_empty")]
    pub aud: Audience,
    /// `channels`: what the bearer may do. Without it, nothing.
    #[serde(default)]
    pub channels: Grants,
}

impl Claims {
    /// Whether the claims hold at this time, and have the issuer and the audience that they must have.
    pub(super) fn check(&self, now: NumericDate, expected: &Expected) -> Result<(), TokenError> {
        let NumericDate(now) = now;
        let is_later =
            |date: Option<NumericDate>| date.is_some_and(|NumericDate(date)| date > now + GRACE);
        match self.exp {
            None => return Err(TokenError::NoExpiry),
            Some(NumericDate(exp)) if exp <= now => return Err(TokenError::Expired),
            Some(_) => {}
        }
        if is_later(self.nbf) || is_later(self.iat) {
            return Err(TokenError::NotYet);
        }
        if self.sub.as_deref().is_some_and(|sub| !is_subject(sub)) {
            return Err(TokenError::Subject);
        }
        // A recipient that is not in `aud` must refuse the token (RFC 7519 §4.1.3).
        let Expected { audiences, issuers } = expected;
        let is_for_us = match audiences.is_empty() {
            false => self.aud.0.iter().any(|name| audiences.contains(name)),
            true => self.aud.is_empty(),
        };
        if !is_for_us {
            return Err(TokenError::Audience);
        }
        let is_of_them = self.iss.as_ref().is_some_and(|name| issuers.contains(name));
        if issuers.is_empty() || is_of_them { Ok(()) } else { Err(TokenError::Issuer) }
    }
}

/// The issuer and the audience that tokens must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Of these a token names one; where there are none, it has none.
    pub(super) audiences: Vec<String>,
    /// A token is of one of these; where there are none, of any issuer.
    pub(super) issuers: Vec<String>,
}

/// A claim that is a text or a number. Other values count as if it were absent, for tokens that never needed it.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Number(u64),
        Other(IgnoredAny),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::Text(text) => Some(text),
        Form::Number(number) => Some(number.to_string()),
        Form::Other(_) => None,
    })
}

pub(super) fn is_subject(sub: &str) -> bool {
    (1..=MAX_SUB).contains(&sub.len()) && is_shown_as_it_is(sub)
}

/// A time as tokens have it: seconds since 1970, UTC, perhaps with a fraction (RFC 7519 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumericDate(pub Duration);

impl NumericDate {
    /// The time by the system's clock.
    pub fn now() -> Self {
        // A clock before 1970 is wrong, and then no token is valid yet.
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl Serialize for NumericDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.as_secs())
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl Visitor<'_> for Seconds {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970 as a number")
            }

            fn visit_u64<E>(self, seconds: u64) -> Result<NumericDate, E> {
                Ok(NumericDate(Duration::from_secs(seconds)))
            }

            fn visit_i64<E>(self, seconds: i64) -> Result<NumericDate, E> {
                Ok(NumericDate(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
            }

            fn visit_f64<E>(self, seconds: f64) -> Result<NumericDate, E> {
                // Before 1970 is as past as 1970; what no clock reaches is as far as clocks go.
                let end = if seconds > 0.0 { Duration::MAX } else { Duration::ZERO };
                Ok(NumericDate(Duration::try_from_secs_f64(seconds).unwrap_or(end)))
            }
        }
        deserializer.deserialize_any(Seconds)
    }
}

/// The claim `aud`: one name, or a list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience(pub Vec<String>);

impl Audience {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [name] => name.serialize(serializer),
            names => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Form {
            One(String),
            Many(Vec<String>),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::One(name) => vec![name],
            Form::Many(names) => names,
        }))
    }
}
