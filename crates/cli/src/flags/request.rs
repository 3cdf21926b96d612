//! What a user adds to the request for a WebSocket: headers, subprotocols, an origin, credentials.

use std::env;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use http::{
    HeaderName, HeaderValue,
    header::{AUTHORIZATION, ORIGIN},
};
use sockeye::{Address, AddressError};

/// The flags of each command that opens a WebSocket at any URL. They are curl's where curl has them.
#[derive(Debug, Args)]
pub(crate) struct Request {
    /// Add a header to the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// Offer a subprotocol; may be given several times, the preferred one first
    #[arg(short, long, value_name = "NAME")]
    subprotocol: Vec<String>,

    /// Say which page this pretends to be on
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<HeaderValue>,

    /// Send this access token; for a channel (/c/NAME) it may be in SOCKEYE_TOKEN, too
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,

    /// Authenticate with a name and a password (basic authentication)
    #[arg(short, long, value_name = "NAME:PASSWORD", conflicts_with = "token")]
    user: Option<String>,
}

impl Request {
    /// The headers for a request to that address. They say nothing of the user name in its URL.
    pub(crate) fn headers(
        &self,
        address: &Address,
    ) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
        let mut headers = self.headers.clone();
        headers.extend(self.origin.clone().map(|origin| (ORIGIN, origin)));
        let authorization = match authorization(self.token.as_deref(), self.user.as_deref())? {
            None => authorization(self.token_of_environment(address).as_deref(), None)?,
            given => given,
        };
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        Ok(headers)
    }

    pub(crate) fn subprotocols(&self) -> &[String] {
        &self.subprotocol
    }

    /// The token of the environment belongs to a channel server: no other server gets it. Other credentials
    /// win over it.
    fn token_of_environment(&self, address: &Address) -> Option<String> {
        let is_free = address.authorization().is_none()
            && self.headers.iter().all(|(name, _)| name != AUTHORIZATION);
        let is_channel = address.url().path().starts_with("/c/");
        let token = env::var("SOCKEYE_TOKEN").ok().filter(|token| !token.is_empty());
        token.filter(|_| is_free && is_channel)
    }
}

/// The value of `Authorization` for a token, or else for a name and a password.
pub(crate) fn authorization(
    token: Option<&str>,
    user: Option<&str>,
) -> anyhow::Result<Option<HeaderValue>> {
    let credentials = match (token, user) {
        (Some(token), _) => format!("Bearer {token}"),
        (None, Some(user)) => format!("Basic {}", STANDARD.encode(user)),
        (None, None) => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&credentials)
        .context("a token has visible characters and nothing else")?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Parses the URL of a WebSocket, and says what to write instead.
pub(crate) fn url(text: &str) -> Result<String, String> {
    match text.parse::<Address>() {
        Ok(_) => Ok(text.to_owned()),
        Err(AddressError::Scheme(_)) => Err(match text.split_once("://") {
            Some((scheme, _)) => {
                format!("{scheme}:// is not the scheme of a WebSocket: write ws:// or wss://")
            }
            None => format!("the scheme is missing: write ws://{text}"),
        }),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses a header as curl's `-H` takes it.
pub(crate) fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':').context("write a header as 'Name: value'")?;
    Ok((name.trim().parse()?, value.trim().parse()?))
}
