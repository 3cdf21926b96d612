//! Why something is refused: no credentials, invalid ones, or a right that is not granted.

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

use super::grants::Right;
use super::token::TokenError;
use crate::http::problem::{Code, Problem};

/// `401` without an error code: the request has no token (RFC 6750 §3.1).
pub(crate) fn no_token() -> Problem {
    Problem::new(
        Code::Unauthorized,
        "A token is needed: send it as `Authorization: Bearer TOKEN`. `sockeye token` makes one.",
    )
    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sockeye\""))
}

/// `401`: the program's authoriser knows no caller by the request.
pub(super) fn not_signed_in() -> Problem {
    Problem::new(
        Code::Unauthorized,
        "Sign in first: the request has no session, or one that has ended.",
    )
    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sockeye\""))
}

/// `401`: the credentials are invalid.
pub(super) fn not_identified() -> Problem {
    let challenge = "Bearer realm=\"sockeye\", error=\"invalid_token\"";
    Problem::new(Code::Unauthorized, "Sign in again: the session or token is not valid.")
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// `403`: the program's authoriser says no.
pub(super) fn not_allowed(right: Right) -> Problem {
    Problem::new(Code::Forbidden, format_args!("The right `{right}` on this channel is not yours."))
}

/// `403`: a rule for the channel says that no client publishes.
pub(super) fn not_published() -> Problem {
    let detail = "No client publishes on this channel: a rule of the server says so.";
    Problem::new(Code::Forbidden, detail)
}

/// `403`: a rule for the channel says that another caller publishes.
pub(super) fn not_the_publisher() -> Problem {
    let detail = "Another publisher has this channel to itself: a rule of the server says so.";
    Problem::new(Code::Forbidden, detail)
}

/// `403`: a rule for the channel says that it has no presence.
pub(super) fn no_presence() -> Problem {
    Problem::new(Code::Forbidden, "This channel has no presence: a rule of the server says so.")
}

/// `503`: the program's authoriser has no answer.
pub(super) fn not_decided() -> Problem {
    let detail = "It cannot be decided at present who may do this: try again in a moment.";
    Problem::new(Code::Unavailable, detail)
}

/// `401`: the token has expired.
pub(super) fn expired() -> Problem {
    not_good(&TokenError::Expired)
}

/// `401`: the token is revoked.
pub(super) fn revoked() -> Problem {
    not_good(&TokenError::Revoked)
}

/// `401`: the token is invalid (RFC 6750 §3.1).
pub(super) fn not_good(wrong: &TokenError) -> Problem {
    let challenge = match wrong {
        TokenError::Expired => {
            "Bearer realm=\"sockeye\", error=\"invalid_token\", error_description=\"The token has expired\""
        }
        _ => "Bearer realm=\"sockeye\", error=\"invalid_token\"",
    };
    Problem::new(Code::Unauthorized, format_args!("Get another token: {wrong}."))
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// `401`: the ticket is invalid.
pub(super) fn no_such_ticket() -> Problem {
    let challenge = "Bearer realm=\"sockeye\", error=\"invalid_token\"";
    let detail =
        "The ticket is unknown, used, expired or for another origin: get one by POST /tickets.";
    Problem::new(Code::Unauthorized, detail)
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// `403`: the token is valid and does not grant this.
pub(super) fn not_granted(right: Right) -> Problem {
    let challenge = "Bearer realm=\"sockeye\", error=\"insufficient_scope\"";
    Problem::new(
        Code::Forbidden,
        format_args!("The token does not grant `{right}` on this channel."),
    )
    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
