//! A channel as a client sees it: where it is, how it is reached, and what is said of it there.

pub(crate) mod backoff;
pub(crate) mod feed;
pub(crate) mod http;
pub(crate) mod message;
pub(crate) mod poll;
pub(crate) mod sse;
pub(crate) mod websocket;

use std::{convert::Infallible, fmt, time::Duration};

use ::http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, ValueEnum};
use sockeye::{Address, AddressError, Client};
use url::Url;

use crate::{
    connect::header,
    output::OutputError,
    units::{Time, deadline},
    way::Way,
};

/// Where the channel is, and who asks.
#[derive(Debug, Args)]
pub(crate) struct ChannelArgs {
    /// The channel: http://HOST[:PORT]/c/NAME, or https, ws, wss
    #[arg(value_parser = address)]
    url: Address,

    /// Show this access token
    #[arg(long, value_name = "TOKEN", env = "SOCKEYE_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Authenticate with a name and a password (basic authentication)
    #[arg(short, long, value_name = "NAME:PASSWORD", conflicts_with = "token")]
    user: Option<String>,

    /// Add a header to every request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// How long connecting may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = deadline)]
    connect_timeout: Time,

    #[command(flatten)]
    way: Way,
}

/// How to read or write a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// A WebSocket that speaks sockeye.v1
    Ws,
    /// Server-Sent Events
    Sse,
    /// Requests that wait for messages
    Longpoll,
    /// Requests in an interval
    Poll,
}

impl Transport {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Sse => "sse",
            Self::Longpoll => "longpoll",
            Self::Poll => "poll",
        }
    }

    /// As it is explained.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Ws => "WebSocket (ws)",
            Self::Sse => "Server-Sent Events (sse)",
            Self::Longpoll => "long polling (longpoll)",
            Self::Poll => "polling (poll)",
        }
    }
}

/// A channel with all that requests to it have in common.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    url: Url,
    /// The zone of an IPv6 address, which is no part of the URL.
    zone: Option<String>,
    headers: HeaderMap,
    timeout: Duration,
    way: Way,
}

/// Why nothing more comes.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no way to the server.
    Unreachable(anyhow::Error),
    /// The server will not, and asking again changes nothing.
    Refused(String),
    /// It does not work like this, or does not any more.
    Broken {
        why: String,
        /// How long to leave the server alone.
        retry: Duration,
    },
    /// What came could not be passed on.
    Output(OutputError),
    /// Nothing more is wanted.
    Enough,
}

/// What a feed comes to: it goes on until something ends it.
pub(crate) type Ended = Result<Infallible, Failure>;

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    /// It does not work, and may be tried again.
    pub(crate) fn broken(why: impl ToString) -> Self {
        Self::Broken { why: why.to_string(), retry: Duration::ZERO }
    }
}

/// The URL of a channel.
fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error| match error {
        AddressError::Scheme(_) => match text.split_once("://") {
            Some((scheme, _)) => format!(
                "{scheme}:// is not how a channel is reached: write http://, https://, ws:// or wss://"
            ),
            None => format!("the scheme is missing: write http://{text}"),
        },
        error => error.to_string(),
    })
}

impl ChannelArgs {
    /// The channel that the arguments name.
    pub(crate) fn open(&self) -> anyhow::Result<Channel> {
        let mut headers: HeaderMap = self.headers.iter().cloned().collect();
        if let Some(credentials) = self.credentials()? {
            headers.insert(AUTHORIZATION, credentials);
        }
        let channel = Channel {
            url: self.url.url().clone(),
            zone: self.url.zone().map(str::to_owned),
            headers,
            timeout: self.connect_timeout.0,
            way: self.way.clone(),
        };
        // What is wrong with the certificates, say, is wrong from the start.
        channel.client(&[])?;
        Ok(channel)
    }

    fn credentials(&self) -> anyhow::Result<Option<HeaderValue>> {
        let credentials = match (&self.token, &self.user) {
            (Some(token), _) => format!("Bearer {token}"),
            (None, Some(user)) => format!("Basic {}", STANDARD.encode(user)),
            (None, None) => return Ok(self.url.authorization()),
        };
        let mut value = HeaderValue::from_str(&credentials)
            .context("a token has visible characters and nothing else")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Channel {
    /// The channel's URL, with these parameters set.
    fn url(&self, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        if !parameters.is_empty() {
            let is_kept = |name: &str| parameters.iter().all(|(set, _)| *set != name);
            let pairs = self.url.query_pairs().filter(|(name, _)| is_kept(name));
            url.query_pairs_mut().clear().extend_pairs(pairs).extend_pairs(parameters);
        }
        url
    }

    /// Where it is, as one writes it down: without a password.
    pub(crate) fn name(&self) -> String {
        let mut url = self.url.clone();
        let _ = (url.set_username(""), url.set_password(None));
        self.zoned(&url).replacen("ws", "http", 1)
    }

    /// Says that there is no channel of Sockeye's, and for what reason.
    pub(crate) fn is_none_for(&self, why: impl fmt::Display) -> String {
        let name = self.name();
        match self.url.path().starts_with("/c/") {
            true => format!("{name} is not a channel of Sockeye's: {why}"),
            false => format!("{name} is not a channel: its path would be /c/NAME: {why}"),
        }
    }

    /// Where a channel is, for a URL that is none of one.
    fn hint(&self) -> String {
        if self.url.path().starts_with("/c/") {
            return String::new();
        }
        let mut url = self.url.clone();
        url.set_path("/c/NAME");
        url.set_query(None);
        format!("; a channel of Sockeye's is at {}", Self { url, ..self.clone() }.name())
    }

    /// A URL with the zone of its address.
    fn zoned(&self, url: &Url) -> String {
        match &self.zone {
            Some(zone) => url.as_str().replacen(']', &format!("%25{zone}]"), 1),
            None => url.as_str().to_owned(),
        }
    }

    /// What opens a WebSocket there, or connects as for one.
    fn client(&self, parameters: &[(&str, &str)]) -> anyhow::Result<Client> {
        let client = Client::new(self.zoned(&self.url(parameters)))?.timeout(self.timeout);
        let client = self.way.apply(client)?;
        let headers = self.headers.iter();
        Ok(headers.fold(client, |client, (name, value)| client.header(name.clone(), value.clone())))
    }
}
