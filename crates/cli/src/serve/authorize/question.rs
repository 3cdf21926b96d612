//! What the application is asked.

use std::{net::IpAddr, sync::Arc};

use http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL},
    request::Parts,
};
use serde::Serialize;
use sockeye_server::{AuthorizeError, ChannelName, ClientAddress, Right};

/// The most that the credentials of one caller may take, in bytes: they are kept as long as what it has open.
pub(super) const MAX_CREDENTIALS: usize = 8 << 10;

/// A question. Without a channel and a right it is: whose credentials are these?
#[derive(Debug, Serialize)]
pub(super) struct Question<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    right: Option<&'a str>,
}

impl Question<'_> {
    /// The address of the client, if there is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

/// The client that asks for something, as far as its request tells.
pub(super) struct Caller {
    /// As the header of that name has it.
    authorization: Option<Box<str>>,
    cookie: Option<Box<str>>,
    address: Option<IpAddr>,
    /// Its name, as the application says.
    pub(super) subject: Option<Arc<str>>,
}

impl Caller {
    /// The caller of the request.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError::Invalid`] for credentials in two places, of which it would be ambiguous which one counts
    /// (RFC 6750 §2), that are not UTF-8, or that are too long.
    pub(super) fn of(request: &Parts) -> Result<Self, AuthorizeError> {
        let headers = &request.headers;
        let mut lines = headers.get_all(AUTHORIZATION).iter().map(|line| text(line.as_bytes()));
        let (first, second) = (lines.next().transpose()?, lines.next());
        let mut tokens = in_subprotocols(headers).map(|token| format!("Bearer {token}"));
        let (token, another) = (tokens.next(), tokens.next());
        if second.is_some() || another.is_some() || (first.is_some() && token.is_some()) {
            return Err(AuthorizeError::Invalid);
        }
        // HTTP/2 may have a header for each cookie (RFC 9113 §8.2.3).
        let cookies = headers.get_all(COOKIE).iter().map(|line| text(line.as_bytes()));
        let cookies = cookies.collect::<Result<Vec<_>, _>>()?.join("; ");
        let address = request.extensions.get().map(|ClientAddress(address)| *address);
        Self {
            authorization: first.map(Into::into).or(token.map(Into::into)),
            cookie: (!cookies.is_empty()).then(|| cookies.into()),
            address,
            subject: None,
        }
        .checked()
    }

    /// The caller that a connection of `sockeye.v1` authenticates as.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError::Invalid`] for one that no header could have.
    pub(super) fn with_token(token: &str) -> Result<Self, AuthorizeError> {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AuthorizeError::Invalid);
        }
        let authorization = Some(format!("Bearer {token}").into());
        Self { authorization, cookie: None, address: None, subject: None }.checked()
    }

    fn checked(self) -> Result<Self, AuthorizeError> {
        let length = |credential: &Option<Box<str>>| credential.as_ref().map_or(0, |it| it.len());
        let is_short = length(&self.authorization) + length(&self.cookie) <= MAX_CREDENTIALS;
        if is_short { Ok(self) } else { Err(AuthorizeError::Invalid) }
    }

    /// The same with the name that the application has for it.
    pub(super) fn named(self, subject: Option<Arc<str>>) -> Self {
        Self { subject, ..self }
    }

    /// Whether it shows anything at all.
    pub(super) fn has_credentials(&self) -> bool {
        self.authorization.is_some() || self.cookie.is_some()
    }

    /// Whose credentials are these?
    pub(super) fn who(&self) -> Question<'_> {
        Question {
            authorization: self.authorization.as_deref(),
            cookie: self.cookie.as_deref(),
            address: self.address,
            subject: None,
            channel: None,
            right: None,
        }
    }

    /// Has this caller the right on the channel?
    pub(super) fn may<'a>(&'a self, right: Right, channel: &'a ChannelName) -> Question<'a> {
        Question {
            subject: self.subject.as_deref(),
            channel: Some(channel.as_str()),
            right: Some(right.name()),
            ..self.who()
        }
    }
}

fn text(line: &[u8]) -> Result<&str, AuthorizeError> {
    str::from_utf8(line).map_err(|_| AuthorizeError::Invalid)
}

/// An offered subprotocol `bearer.TOKEN`, in the one header of a handshake that a page can set.
fn in_subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offers = lines.flat_map(|line| line.to_str()).flat_map(|line| line.split(','));
    offers.filter_map(|offer| offer.trim().strip_prefix("bearer."))
}
