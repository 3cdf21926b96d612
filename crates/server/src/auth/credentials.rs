//! Where a request shows who makes it.

use std::sync::Arc;

use axum::extract::Request;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

use super::name::is_shown_as_it_is;
use crate::problem::{Code, Problem};
use crate::{query, websocket};

/// What an offered subprotocol that carries a token begins with. It is never agreed to, so it is
/// never echoed.
const SUBPROTOCOL: &str = "bearer.";

/// What a request shows.
#[derive(Debug)]
pub(super) enum Credential<'r> {
    Token(&'r str),
    Ticket(String),
}

impl<'r> Credential<'r> {
    /// The one thing that is shown. Two are refused (RFC 6750 §2): nobody can say which one counts.
    pub(super) fn of(request: &'r Request) -> Result<Option<Self>, Problem> {
        let ticket = query::parameter(request.uri(), "ticket")?.map(Self::Ticket);
        let tokens = in_header(request).chain(in_subprotocols(request)).map(Self::Token);
        let mut shown = tokens.chain(ticket);
        match (shown.next(), shown.next()) {
            (credential, None) => Ok(credential),
            (_, Some(_)) => {
                Err(Problem::new(Code::BadRequest, "Send one token or ticket, in one place."))
            }
        }
    }
}

/// `Authorization: Bearer TOKEN` (RFC 6750 §2.1). Other schemes show nothing that counts here.
fn in_header(request: &Request) -> impl Iterator<Item = &str> {
    let lines = request.headers().get_all(AUTHORIZATION).iter();
    lines.filter_map(|line| {
        let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    })
}

/// An offered subprotocol `bearer.TOKEN`, the one header that a page can give a WebSocket.
fn in_subprotocols(request: &Request) -> impl Iterator<Item = &str> {
    let handshake = websocket::is_handshake(request).then_some(request);
    let lines =
        handshake.into_iter().flat_map(|request| request.headers().get_all(SEC_WEBSOCKET_PROTOCOL));
    let offers = lines.flat_map(|line| line.to_str()).flat_map(|line| line.split(','));
    offers.filter_map(|offer| offer.trim().strip_prefix(SUBPROTOCOL))
}

/// `?as=NAME`, the name that a caller gives himself where there are no tokens: 1 to 64 characters that
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
