//! A URL of a server, with all that requests to it have in common.

#[cfg(not(target_family = "wasm"))]
use std::sync::Arc;
use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
#[cfg(not(target_family = "wasm"))]
use sockeye::{Client, ConnectError};
use url::Url;

use crate::{
    failure::Failure,
    platform::{Address, timeout},
};

/// How much longer a page may be than the longest message: the server puts 1 MiB of payload into one, which may
/// grow sixfold in JSON, and has something to say of each message.
pub(crate) const PAGE: usize = 8 << 20;

/// Longer than that is as good as for ever.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What sets how a connection is made: TLS, a proxy, a Unix socket.
#[cfg(not(target_family = "wasm"))]
type Connector = Arc<dyn Fn(Client) -> Client + Send + Sync>;

/// A URL of a server, with all that requests to it have in common.
#[derive(Clone)]
pub struct Endpoint {
    url: Url,
    /// The zone of an IPv6 address, which is not a part of the URL.
    zone: Option<String>,
    headers: HeaderMap,
    timeout: Duration,
    answer_timeout: Duration,
    max_message: usize,
    #[cfg(not(target_family = "wasm"))]
    connector: Connector,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may have a token.
        out.debug_struct("Endpoint").field("url", &self.name()).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// What is at that address, with the default limits.
    pub fn new(address: &Address, headers: HeaderMap) -> Self {
        Self {
            url: address.url().clone(),
            zone: address.zone().map(str::to_owned),
            headers,
            timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            max_message: 16 << 20,
            #[cfg(not(target_family = "wasm"))]
            connector: Arc::new(|client| client),
        }
    }

    /// Sets how connecting is done.
    #[cfg(not(target_family = "wasm"))]
    pub fn connect_with(
        mut self,
        connector: impl Fn(Client) -> Client + Send + Sync + 'static,
    ) -> Self {
        self.connector = Arc::new(connector);
        self
    }

    /// Sets how long connecting may take, with the head of the answer. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(LONGEST);
        self
    }

    /// Sets how long the rest of an answer may take. Default 30 s.
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout.min(LONGEST);
        self
    }

    /// Sets the largest message to accept, in bytes as they are received. Default 16 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// The same server at another path, below the one of this URL.
    pub(crate) fn below(&self, path: &str) -> Self {
        let mut endpoint = self.clone();
        let above = self.url.path().trim_end_matches('/');
        endpoint.url.set_path(&format!("{above}/{path}"));
        endpoint
    }

    /// The same with this token.
    pub(crate) fn bearer(mut self, token: Option<&HeaderValue>) -> Self {
        if let Some(token) = token {
            self.headers.insert(AUTHORIZATION, token.clone());
        }
        self
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn answers_within(&self) -> Duration {
        self.answer_timeout
    }

    pub(crate) fn max(&self) -> usize {
        self.max_message
    }

    /// The longest page, in bytes.
    pub(crate) fn max_page(&self) -> usize {
        self.max_message.saturating_add(PAGE)
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn is_secure(&self) -> bool {
        self.url.scheme() == "wss"
    }

    /// The URL, as it is addressed.
    pub fn address(&self) -> &Url {
        &self.url
    }

    /// The URL, with these parameters set.
    pub(crate) fn url(&self, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        if !parameters.is_empty() {
            let is_kept = |name: &str| parameters.iter().all(|(set, _)| *set != name);
            let pairs = self.url.query_pairs().filter(|(name, _)| is_kept(name));
            url.query_pairs_mut().clear().extend_pairs(pairs).extend_pairs(parameters);
        }
        url
    }

    /// The URL as one of HTTP, with these parameters set.
    #[cfg(target_family = "wasm")]
    pub(crate) fn http_url(&self, parameters: &[(&str, &str)]) -> String {
        self.url(parameters).as_str().replacen("ws", "http", 1)
    }

    /// Where it is, for people to read: without a password.
    pub fn name(&self) -> String {
        let mut url = self.url.clone();
        let _ = (url.set_username(""), url.set_password(None));
        self.zoned(&url).replacen("ws", "http", 1)
    }

    /// Says that this is not a channel of Sockeye's, and why.
    pub fn is_none_for(&self, why: impl fmt::Display) -> String {
        let name = self.name();
        match self.is_of_sockeye() {
            true => format!("{name} is not a channel of Sockeye's: {why}"),
            false => format!("{name} is not a channel: its path would be /c/NAME: {why}"),
        }
    }

    /// Where a channel is, for a URL that is not one of a channel.
    pub(crate) fn hint(&self) -> String {
        if self.is_of_sockeye() {
            return String::new();
        }
        let mut url = self.url.clone();
        url.set_path("/c/NAME");
        url.set_query(None);
        format!("; a channel of Sockeye's is at {}", Self { url, ..self.clone() }.name())
    }

    fn is_of_sockeye(&self) -> bool {
        let path = self.url.path();
        path.contains("/c/") || path.ends_with("/connect") || path.ends_with("/publish")
    }

    /// Waits for the rest of an answer, as long as it may take.
    pub async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let limit = self.answer_timeout;
        let late = |_| Failure::broken(format!("the server takes more than {limit:?} to answer"));
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
    ///
    /// # Errors
    ///
    /// When the URL cannot be connected to.
    #[cfg(not(target_family = "wasm"))]
    pub fn client(&self, parameters: &[(&str, &str)]) -> Result<Client, ConnectError> {
        let client = Client::new(self.zoned(&self.url(parameters)))?.timeout(self.timeout);
        let headers = self.headers.iter();
        let client = headers
            .fold(client, |client, (name, value)| client.header(name.clone(), value.clone()));
        Ok((self.connector)(client))
    }
}
