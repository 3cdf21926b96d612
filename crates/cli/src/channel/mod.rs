//! A channel as a client sees it: where it is, how it is reached, and what is said of it there.

pub(crate) mod backoff;
pub(crate) mod feed;
pub(crate) mod follow;
pub(crate) mod transport;

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};
use clap::Args;
use sockeye::{Address, AddressError};
use sockeye_client::{
    Problem,
    internals::{self, Endpoint},
};
use tokio::time::timeout;

use crate::{
    errors::explain,
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
    endpoint: Endpoint,
    /// How long the rest of an answer may take.
    answer_timeout: Duration,
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
        Channel::new(&self.url, self.route.clone(), headers)
            .connect_timeout(self.connect_timeout.0)
            .max_message(self.max_message.in_memory())
            .answer_timeout(self.answer_timeout.0)
            .checked()
    }

    fn credentials(&self) -> anyhow::Result<Option<HeaderValue>> {
        let given = authorization(self.token.as_deref(), self.user.as_deref())?;
        Ok(given.or_else(|| self.url.authorization()))
    }
}

impl Channel {
    /// The channel at that address, with the limits that are the defaults of the flags.
    pub(crate) fn new(address: &Address, route: Route, headers: HeaderMap) -> Self {
        let endpoint = Endpoint::new(address, headers);
        Self { endpoint, answer_timeout: Duration::from_secs(30), route }
    }

    /// Sets how long connecting may take.
    pub(crate) fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.endpoint = self.endpoint.connect_timeout(timeout);
        self
    }

    /// Sets how long the rest of an answer may take.
    fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.endpoint = self.endpoint.answer_timeout(timeout);
        self.answer_timeout = timeout;
        self
    }

    /// Sets the largest message to accept, in bytes.
    pub(crate) fn max_message(mut self, bytes: usize) -> Self {
        self.endpoint = self.endpoint.max_message(bytes);
        self
    }

    /// The channel, reached by its route, unless its certificates, say, are wrong from the start.
    pub(crate) fn checked(mut self) -> anyhow::Result<Self> {
        self.endpoint = self.endpoint.connect_with(self.route.connector()?);
        self.endpoint.client(&[])?;
        Ok(self)
    }

    /// What requests to it go to.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where it is, for people to read: without a password.
    pub(crate) fn name(&self) -> String {
        self.endpoint.name()
    }

    /// A failure, with what to do where that is known.
    pub(crate) fn failure(&self, failure: internals::Failure) -> Failure {
        match failure {
            internals::Failure::Unreachable(error) => {
                Failure::Unreachable(explain::connect_error(*error, &self.route))
            }
            internals::Failure::Refused(problem) => Failure::Refused(said(problem)),
            internals::Failure::Broken { cause: Some(error), retry, .. } => {
                let why = explain::connect_error(*error, &self.route).to_string();
                Failure::Broken { why, retry }
            }
            internals::Failure::Broken { problem, retry, .. } => {
                Failure::Broken { why: said(problem), retry }
            }
            internals::Failure::Enough => Failure::Enough,
        }
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
}

/// What is wrong, and how this program is given a token.
fn said(problem: Problem) -> String {
    match problem.status {
        Some(StatusCode::UNAUTHORIZED) => {
            let why = problem.message.trim_end_matches('.');
            format!("{why}; a token is sent with --token, or in SOCKEYE_TOKEN")
        }
        _ => problem.message,
    }
}
