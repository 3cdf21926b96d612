//! What is examined, and how it is reached.

use std::{fmt, path::PathBuf, sync::Arc};

use http::{HeaderMap, Uri};
use sockeye::{Address, Client, ConnectError, tls::ClientTls};
use url::{Position, Url};

/// Says in a sentence why there is no connection, and what to do.
pub type Explain = Arc<dyn Fn(ConnectError) -> String + Send + Sync>;

/// What connections go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// Nothing that this program knows of.
    Nothing,
    /// A proxy, without its credentials, and whether the environment names it.
    Proxy {
        /// Its URL.
        proxy: String,
        /// Whether the environment names it, and not an option.
        is_of_environment: bool,
    },
    /// A Unix socket.
    UnixSocket(PathBuf),
}

/// The server, and all that requests to it have in common.
#[derive(Clone)]
pub struct Target {
    /// Where it is.
    pub address: Address,
    /// Whether the URL has the scheme of HTTP, so that it need not be a WebSocket's.
    pub is_http: bool,
    /// What opens a WebSocket there: with its proxy, TLS, headers and subprotocols.
    pub client: Client,
    /// The same TLS.
    pub tls: ClientTls,
    /// The same headers, credentials and origin among them.
    pub headers: HeaderMap,
    /// What connections go through.
    pub via: Via,
    /// Says why there is no connection.
    pub explain: Explain,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("url", &self.name()).field("via", &self.via).finish()
    }
}

impl Target {
    /// The URL for people: as HTTP or as a WebSocket, without a password.
    #[must_use]
    pub fn name(&self) -> String {
        let mut url = self.address.url().clone();
        let _ = (url.set_username(""), url.set_password(None));
        match self.is_http {
            true => url.as_str().replacen("ws", "http", 1),
            false => url.into(),
        }
    }

    /// The host with its zone, as the system resolves it.
    pub(crate) fn host(&self) -> String {
        self.address.host_with_zone()
    }

    /// The host and port that requests name.
    pub(crate) fn authority(&self) -> &str {
        &self.address.url()[Position::BeforeHost..Position::AfterPort]
    }

    /// The origin of pages that the server itself has.
    pub(crate) fn own_origin(&self) -> String {
        let s = if self.address.is_secure() { "s" } else { "" };
        format!("http{s}://{}", self.authority())
    }

    /// The path and query, with these parameters added.
    pub(crate) fn path(&self, parameters: &[(&str, &str)]) -> Result<Uri, http::uri::InvalidUri> {
        let mut url: Url = self.address.url().clone();
        if !parameters.is_empty() {
            let is_kept = |name: &str| parameters.iter().all(|(set, _)| *set != name);
            let kept = self.address.url().query_pairs().filter(|(name, _)| is_kept(name));
            url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(parameters);
        }
        url[Position::BeforePath..Position::AfterQuery].parse()
    }

    /// Whether the path may be that of a channel of Sockeye's.
    pub(crate) fn may_be_channel(&self) -> bool {
        let name = self.address.url().path().strip_prefix("/c/").or_else(|| {
            // Nested under another path, as in a program that embeds the channels.
            self.address.url().path().split_once("/c/").map(|(_, name)| name)
        });
        name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
    }
}
