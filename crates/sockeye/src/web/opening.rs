//! From the arguments of the constructor to an open connection.

use std::time::Duration;

use http::{HeaderMap, Response};
use sockeye_proto::{Config, DeflateConfig};
use url::Url;

use super::{Cause, DomException, cookies::Cookies, ports};
use crate::{
    Address, Client, ConnectError, ConnectQueue, WebSocket,
    client::{self, route::Route},
};

/// The subprotocols that a constructor takes: none, `()`; one, `"chat"`; or a list,
/// `["chat", "superchat"]`.
pub trait Protocols {
    /// The subprotocols, the preferred one first.
    fn into_list(self) -> Vec<String>;
}

impl Protocols for () {
    fn into_list(self) -> Vec<String> {
        Vec::new()
    }
}

impl Protocols for &str {
    fn into_list(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl Protocols for String {
    fn into_list(self) -> Vec<String> {
        vec![self]
    }
}

impl<S: Into<String>, const N: usize> Protocols for [S; N] {
    fn into_list(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<S: Into<String>> Protocols for Vec<S> {
    fn into_list(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<S: AsRef<str>> Protocols for &[S] {
    fn into_list(self) -> Vec<String> {
        self.iter().map(|name| name.as_ref().to_owned()).collect()
    }
}

/// Reads a URL as a script's would be read: relative to a base, `http` meaning `ws`.
pub(super) fn parse_url(url: &str, base: Option<&Url>) -> Result<Address, DomException> {
    let url = Url::options()
        .base_url(base)
        .parse(url)
        .map_err(|error| DomException::Syntax(format!("{url:?} is not a URL: {error}")))?;
    url.as_str().parse().map_err(|error| DomException::Syntax(format!("{error}")))
}

/// Checks subprotocols: tokens, none twice, whatever the case of their letters.
pub(super) fn check_protocols(protocols: &[String]) -> Result<(), DomException> {
    for (i, name) in protocols.iter().enumerate() {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(DomException::Syntax(format!("the subprotocol {name:?} is not a token")));
        }
        if protocols[..i].iter().any(|before| before.eq_ignore_ascii_case(name)) {
            return Err(DomException::Syntax(format!("the subprotocol {name:?} occurs twice")));
        }
    }
    Ok(())
}

/// RFC 2616 §2.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

/// All that is known when the constructor returns.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) address: Address,
    pub(super) protocols: Vec<String>,
    pub(super) headers: HeaderMap,
    pub(super) cookies: Cookies,
    /// Whether the page may open it.
    pub(super) is_allowed: bool,
    pub(super) config: Config,
    pub(super) timeout: Duration,
    pub(super) connect_queue: Option<ConnectQueue>,
    pub(super) deflate: Option<DeflateConfig>,
    pub(super) route: Route,
    #[cfg(feature = "http2")]
    pub(super) http2: Vec<crate::http2::Connection>,
    #[cfg(feature = "tls")]
    pub(super) tls: crate::tls::ClientTls,
}

/// An open connection with what was agreed on.
pub(super) struct OpenSocket {
    pub(super) socket: WebSocket,
    pub(super) extensions: String,
    pub(super) protocol: String,
    pub(super) response: Response<()>,
}

impl Opening {
    /// Opens the connection, when it is its turn. Dropped, it gives the attempt up.
    pub(super) async fn run(mut self) -> Result<OpenSocket, Cause> {
        let port = self.address.port();
        if ports::is_blocked(port) {
            return Err(Cause::BlockedPort(port));
        }
        if !self.is_allowed {
            return Err(Cause::MixedContent);
        }
        self.cookies.add_to(&mut self.headers, &self.address);
        let opened = self.open().await;
        self.cookies.keep(&opened, &self.address);
        let client::Opened { socket, response, .. } = opened?;
        let protocol = socket.subprotocol().unwrap_or_default().to_owned();
        if protocol.is_empty() && !self.protocols.is_empty() {
            socket.split().1.abort();
            return Err(Cause::NoProtocol);
        }
        let extensions = socket.extensions();
        Ok(OpenSocket { socket, extensions, protocol, response })
    }

    /// Opens it on an HTTP/2 connection that leads there, or on one of its own.
    async fn open(&self) -> Result<client::Opened, ConnectError> {
        let client = self.client()?;
        #[cfg(feature = "http2")]
        for connection in &self.http2 {
            if connection.leads_to(&self.address) && connection.is_open().await {
                return connection.open(client).await;
            }
        }
        client.open().await
    }

    fn client(&self) -> Result<Client, ConnectError> {
        let mut client = Client::new(self.address.url().as_str())?
            .config(self.config.clone())
            .timeout(self.timeout)
            .deflate(self.deflate.clone())
            .route(self.route.clone())
            .connect_queue(self.connect_queue.clone());
        #[cfg(feature = "tls")]
        {
            client = client.tls(self.tls.clone());
        }
        for protocol in &self.protocols {
            client = client.subprotocol(protocol);
        }
        for (name, value) in &self.headers {
            client = client.header(name.clone(), value.clone());
        }
        Ok(client)
    }
}
