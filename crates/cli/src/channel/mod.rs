//! A channel as a client sees it: where it is, how it is reached, and what is said of it there.

pub(crate) mod backoff;
pub(crate) mod feed;
pub(crate) mod follow;
pub(crate) mod http;
pub(crate) mod message;
pub(crate) mod ndjson;
pub(crate) mod poll;
pub(crate) mod sse;
pub(crate) mod transport;
pub(crate) mod websocket;

use std::{convert::Infallible, fmt, time::Duration};

use ::http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use clap::Args;
use sockeye::{Address, AddressError, Client};
use tokio::time::timeout;
use url::Url;

use crate::{
    flags::request::{authorization, header},
    flags::route::Route,
    flags::units::{Size, Time, deadline, some_size},
    terminal::output::OutputError,
};

/// Where the channel is, and the credentials to send.
#[derive(Debug, Args)]
pub(crate) struct ChannelArgs {
    /// The channel: http://HOST[:PORT]/c/NAME, or https, ws, wss
    #[arg(value_parser = single)]
    url: Address,

    /// Send this access token
    #[arg(long, value_name = "TOKEN", env = "SOCKEYE_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Authenticate with a name and a password (basic authentication)
    #[arg(short, long, value_name = "NAME:PASSWORD", conflicts_with = "token")]
    user: Option<String>,

    /// Add a header to every request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// How long connecting may take, with the head of the answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = deadline)]
    connect_timeout: Time,

    /// How long the rest of an answer may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = deadline)]
    answer_timeout: Time,

    /// The largest message to accept, as the server encodes it
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = some_size)]
    max_message: Size,

    #[command(flatten)]
    route: Route,
}

/// A channel with all that requests to it have in common.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    url: Url,
    /// The zone of an IPv6 address, which is not a part of the URL.
    zone: Option<String>,
    headers: HeaderMap,
    /// How long connecting may take, with the head of the answer.
    timeout: Duration,
    /// How long the rest of an answer may take.
    answer_timeout: Duration,
    /// The largest message, in bytes as they are received.
    max_message: usize,
    route: Route,
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

    /// As the error that the program ends with.
    pub(crate) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Unreachable(error) => error,
            Self::Refused(why) | Self::Broken { why, .. } => anyhow::anyhow!(why),
            Self::Output(error) => error.into(),
            Self::Enough => anyhow::anyhow!("nothing more is wanted"),
        }
    }
}

/// The URL of a channel.
pub(crate) fn address(text: &str) -> Result<Address, String> {
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

/// The URL of one channel.
fn single(text: &str) -> Result<Address, String> {
    let address = address(text)?;
    match several(&address) {
        Some(wrong) => Err(wrong),
        None => Ok(address),
    }
}

/// What is wrong with a URL of several channels: they have a position in common, which is not that of a message.
pub(crate) fn several(address: &Address) -> Option<String> {
    let name = address.url().path().rsplit('/').next().unwrap_or_default();
    let is_several = name.contains(',') || name.to_ascii_lowercase().contains("%2c");
    is_several.then(|| {
        format!("{name} names several channels: give one, and start the program once for each")
    })
}

impl ChannelArgs {
    /// The channel that the arguments name.
    pub(crate) fn open(&self) -> anyhow::Result<Channel> {
        let mut headers: HeaderMap = self.headers.iter().cloned().collect();
        if let Some(credentials) = self.credentials()? {
            headers.insert(AUTHORIZATION, credentials);
        }
        let mut channel = Channel::new(&self.url, self.route.clone(), headers)
            .connect_timeout(self.connect_timeout.0)
            .max_message(self.max_message.in_memory());
        channel.answer_timeout = self.answer_timeout.0;
        channel.checked()
    }

    fn credentials(&self) -> anyhow::Result<Option<HeaderValue>> {
        let given = authorization(self.token.as_deref(), self.user.as_deref())?;
        Ok(given.or_else(|| self.url.authorization()))
    }
}

impl Channel {
    /// The channel at that address, with the limits that are the defaults of the flags.
    pub(crate) fn new(address: &Address, route: Route, headers: HeaderMap) -> Self {
        Self {
            url: address.url().clone(),
            zone: address.zone().map(str::to_owned),
            headers,
            timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            max_message: 16 << 20,
            route,
        }
    }

    /// Sets how long connecting may take.
    pub(crate) fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the largest message to accept, in bytes.
    pub(crate) fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// The channel, unless its certificates, say, are wrong from the start.
    pub(crate) fn checked(self) -> anyhow::Result<Self> {
        self.client(&[])?;
        Ok(self)
    }

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

    /// Where it is, for people to read: without a password.
    pub(crate) fn name(&self) -> String {
        let mut url = self.url.clone();
        let _ = (url.set_username(""), url.set_password(None));
        self.zoned(&url).replacen("ws", "http", 1)
    }

    /// Says that this is not a channel of Sockeye's, and why.
    pub(crate) fn is_none_for(&self, why: impl fmt::Display) -> String {
        let name = self.name();
        match self.url.path().starts_with("/c/") {
            true => format!("{name} is not a channel of Sockeye's: {why}"),
            false => format!("{name} is not a channel: its path would be /c/NAME: {why}"),
        }
    }

    /// Where a channel is, for a URL that is not one of a channel.
    fn hint(&self) -> String {
        if self.url.path().starts_with("/c/") {
            return String::new();
        }
        let mut url = self.url.clone();
        url.set_path("/c/NAME");
        url.set_query(None);
        format!("; a channel of Sockeye's is at {}", Self { url, ..self.clone() }.name())
    }

    /// Waits for the rest of an answer, as long as it may take.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let limit = self.answer_timeout;
        let late =
            |_| Failure::broken(format!("the server takes more than {} to answer", Time(limit)));
        timeout(limit, answer).await.map_err(late)?
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
        let client = self.route.apply(client)?;
        let headers = self.headers.iter();
        Ok(headers.fold(client, |client, (name, value)| client.header(name.clone(), value.clone())))
    }
}
