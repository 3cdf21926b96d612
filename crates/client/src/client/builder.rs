//! The settings of a client.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, USER_AGENT},
};

use super::Client;
use crate::{
    Error, Status, Transport,
    connection::Core,
    endpoint::Endpoint,
    platform::{Address, AddressError, MaybeSend, MaybeSync, Told},
    token::{TokenSource, Tokens},
};

/// The settings of a [`Client`].
#[must_use = "a client is made by build()"]
pub struct ClientBuilder {
    url: String,
    headers: HeaderMap,
    wrong: Option<Error>,
    tokens: TokenSource,
    transports: Vec<Transport>,
    poll_interval: Duration,
    connect_timeout: Duration,
    answer_timeout: Duration,
    max_message: usize,
    #[cfg(not(target_family = "wasm"))]
    connector: Box<dyn Fn(sockeye::Client) -> sockeye::Client + Send + Sync>,
    on_status: Told<Status>,
}

impl ClientBuilder {
    pub(crate) fn new(url: String) -> Self {
        let mut headers = HeaderMap::new();
        // A browser has its own, and asks the server of another origin whether it may send this one.
        if !cfg!(target_family = "wasm") {
            let agent = concat!("sockeye-client/", env!("CARGO_PKG_VERSION"));
            headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        }
        Self {
            url,
            headers,
            wrong: None,
            tokens: TokenSource::None,
            transports: Transport::DEFAULT.to_vec(),
            poll_interval: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            max_message: 16 << 20,
            #[cfg(not(target_family = "wasm"))]
            connector: Box::new(|client| client),
            on_status: Box::new(|_| {}),
        }
    }

    /// Sends this access token with each request.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens = TokenSource::Fixed(token.into());
        self
    }

    /// Asks this function for an access token: when one is needed, before it expires, and when the server refuses one.
    /// The date of expiry is that of a JSON Web Token (RFC 7519 §4.1.4); a fresh one is asked for when a fifth of its time is
    /// left. The function may take 30 s.
    ///
    /// ```
    /// let client = sockeye_client::Client::builder("https://live.example.org/")
    ///     .token_with(|| async { std::fs::read_to_string("token") })
    ///     .build()?;
    /// # Ok::<(), sockeye_client::Error>(())
    /// ```
    pub fn token_with<F, T, E>(mut self, token: F) -> Self
    where
        F: Fn() -> T + MaybeSend + MaybeSync + 'static,
        T: Future<Output = Result<String, E>> + MaybeSend + 'static,
        E: std::fmt::Display,
    {
        self.tokens = TokenSource::Asked(Arc::new(move || {
            let token = token();
            Box::pin(async move { token.await.map_err(|error| error.to_string()) })
        }));
        self
    }

    /// Sets the transports that may be used, the best first. Default: [`Transport::DEFAULT`]: `v1`, `sse`, `longpoll`,
    /// `poll`.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.transports = transports.into_iter().collect();
        self
    }

    /// Sets how long polling waits between two requests of a channel while there is nothing new. Default 5 s.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets how long connecting may take, with the head of the answer, and how long the first event of a stream.
    /// Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long the rest of an answer may take: a page, an acknowledgement. Default 30 s.
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Sets the largest message to accept, in bytes as the server encodes it. Default 16 MiB. A page of polls may have
    /// 8 MiB more.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets the header `User-Agent`. Default `sockeye-client/` and the version.
    pub fn user_agent(mut self, agent: &str) -> Self {
        self.headers.remove(USER_AGENT);
        self.header("user-agent", agent)
    }

    /// Adds a header to each request. One that cannot be sent is an error of [`build`](Self::build).
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => _ = self.headers.append(name, value),
            _ => {
                _ = self.wrong.get_or_insert(Error::Option(format!(
                    "{name:?} is not a header, or its value is not one"
                )))
            }
        }
        self
    }

    /// Sets how connections are made, with the library's own client: certificates to trust, a proxy, a Unix socket. It is
    /// called for each connection, of WebSockets and of requests alike. Default: the authorities that the system
    /// trusts, and the proxy of the environment.
    ///
    /// ```no_run
    /// # #[cfg(feature = "tls")]
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockeye_client::{Client, sockeye::tls::ClientTls};
    ///
    /// let tls = ClientTls::new().root_file("our-own-authority.pem")?;
    /// let client = Client::builder("https://live.internal/")
    ///     .connect_with(move |client| client.tls(tls.clone()).no_proxy())
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(not(target_family = "wasm"))]
    pub fn connect_with(
        mut self,
        connector: impl Fn(sockeye::Client) -> sockeye::Client + Send + Sync + 'static,
    ) -> Self {
        self.connector = Box::new(connector);
        self
    }

    /// Calls this when a connection begins, works, or waits. It must not block. Default: nothing is called.
    pub fn on_status(mut self, call: impl Fn(&Status) + MaybeSend + MaybeSync + 'static) -> Self {
        self.on_status = Box::new(call);
        self
    }

    /// The client. It connects when it is used.
    ///
    /// # Errors
    ///
    /// When the URL is not one of a server, a header cannot be sent, or there is no transport.
    pub fn build(self) -> Result<Client, Error> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if self.transports.is_empty() {
            return Err(Error::Option("there is no transport: name one at least".to_owned()));
        }
        let address: Address =
            self.url.parse().map_err(|error: AddressError| Error::Url(error.to_string()))?;
        let path = address.url().path().trim_end_matches('/');
        if path.rsplit('/').nth(1) == Some("c") {
            let name = Endpoint::new(&address, HeaderMap::new()).name();
            let why = format!("{name} is a channel, and its name is for subscribe and publish");
            return Err(Error::Url(why));
        }
        let mut headers = self.headers;
        if let Some(basic) = address.authorization() {
            headers.entry(AUTHORIZATION).or_insert(basic);
        }
        let endpoint = Endpoint::new(&address, headers)
            .connect_timeout(self.connect_timeout)
            .answer_timeout(self.answer_timeout)
            .max_message(self.max_message);
        #[cfg(not(target_family = "wasm"))]
        let endpoint = endpoint.connect_with(self.connector);
        Ok(Client::of(Core {
            endpoint,
            tokens: Tokens::new(self.tokens),
            transports: self.transports,
            poll_interval: self.poll_interval,
            on_status: self.on_status,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_no_password() {
        for url in ["http://ann:secret@host/c/chat", "http://ann:secret@host:99999/"] {
            let error = Client::new(url).unwrap_err().to_string();
            assert!(error.contains("host") && !error.contains("secret"), "{error}");
        }
    }
}
