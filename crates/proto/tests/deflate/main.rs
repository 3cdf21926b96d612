//! permessage-deflate (RFC 7692) as a peer and an application see it. Each test carries the number of
//! the rule that it shows.
#![allow(clippy::unwrap_used, reason = "a failing helper is to fail its test")]

mod budget;
mod limits;
mod messages;
mod negotiation;
mod parts;
mod prepared;
mod support;
