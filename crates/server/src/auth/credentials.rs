//! Where a request has its token or ticket.

use std::sync::Arc;

use axum::extract::Request;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

use super::name::is_shown_as_it_is;
use crate::http::problem::{Code, Problem};
use crate::http::query;
use crate::http::upgrade::is_handshake;

/// The prefix of an offered subprotocol that carries a token. It is never agreed to, so it is never
/// echoed.
const SUBPROTOCOL: &str = "bearer.";

/// What a request is authenticated by.
#[derive(Debug)]
pub(super) enum Credential<'r> {
    Token(&'r str),
    Ticket(String),
}

impl<'r> Credential<'r> {
    /// The one credential. Two are refused (RFC 6750 §2): it would be ambiguous which one counts.
    pub(super) fn of(request: &'r Request) -> Result<Option<Self>, Problem> {
        let ticket = query::parameter(request.uri(), "ticket")?.map(Self::Ticket);
        let tokens = tokens(request.headers(), is_handshake(request)).map(Self::Token);
        let mut shown = tokens.chain(ticket);
        match (shown.next(), shown.next()) {
            (credential, None) => Ok(credential),
            (_, Some(_)) => {
                Err(Problem::new(Code::BadRequest, "Send one token or ticket, in one place."))
            }
        }
    }
}

/// The tokens in the headers, those that a handshake offers as subprotocols among them.
pub(super) fn tokens(headers: &HeaderMap, is_handshake: bool) -> impl Iterator<Item = &str> {
    in_authorization(headers).chain(in_subprotocols(is_handshake.then_some(headers)))
}

/// `Authorization: Bearer TOKEN` (RFC 6750 §2.1). Other schemes are ignored.
fn in_authorization(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(AUTHORIZATION).iter();
    lines.filter_map(|line| {
        let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    })
}

/// An offered subprotocol `bearer.TOKEN`, in the one header of a handshake that a page can set.
fn in_subprotocols(handshake: Option<&HeaderMap>) -> impl Iterator<Item = &str> {
    let lines = handshake.into_iter().flat_map(|headers| headers.get_all(SEC_WEBSOCKET_PROTOCOL));
    let offers = lines.flat_map(|line| line.to_str()).flat_map(|line| line.split(','));
    offers.filter_map(|offer| offer.trim().strip_prefix(SUBPROTOCOL))
}

/// `?as=NAME`, the name that a caller gives itself where there are no tokens: 1 to 64 characters that
/// are [shown as they are](is_shown_as_it_is), and not blank at either end.
pub(super) fn name(request: &Request) -> Result<Option<Arc<str>>, Problem> {
    let Some(name) = query::parameter(request.uri(), "as")? else { return Ok(None) };
    let is_name =
        (1..=64).contains(&name.chars().count()) && is_shown_as_it_is(&name) && name.trim() == name;
    if is_name {
        Ok(Some(name.into()))
    } else {
        Err(Problem::new(
            Code::BadRequest,
            "`as` is a name of 1 to 64 visible characters, none of which turns the direction of text.",
        ))
    }
}
