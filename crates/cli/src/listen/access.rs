//! Which requests are let in: by the name of the host, by the page, by a token.

use anyhow::ensure;
use clap::Args;
use http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, HOST, SEC_WEBSOCKET_PROTOCOL, WWW_AUTHENTICATE},
};
use sockeye::{OriginPattern, Origins, Refusal, internals};

use crate::flags::units::trimmed;

/// How a token is offered as a subprotocol, by a browser: it can set no other header.
const TOKEN_PROTOCOL: &str = "bearer.";

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct Access {
    /// Let pages of this origin connect, beside those of this server's own host: https://app.example.org,
    /// https://*.example.org, …; may be given several times
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    #[arg(value_parser = trimmed::<OriginPattern>)]
    allow_origin: Vec<OriginPattern>,

    /// Listen on addresses that other machines reach, though all of them may then connect
    #[arg(long)]
    open: bool,

    /// Let in only clients that send this token, as sockeye connect --token does (Authorization: Bearer), or
    /// that offer the subprotocol bearer.TOKEN; files are given to all
    #[arg(long, value_name = "TOKEN", env = "SOCKEYE_LISTEN_TOKEN", hide_env_values = true)]
    #[arg(value_parser = token)]
    token: Option<String>,
}

impl Access {
    /// Says what is missing for addresses that other machines reach.
    ///
    /// # Errors
    ///
    /// A line that says what to do.
    pub(super) fn check_reach(&self, addresses: &[std::net::SocketAddr]) -> anyhow::Result<()> {
        let reached = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(address) = reached {
            ensure!(
                self.open || self.token.is_some(),
                "{address} can be reached from other machines: ask for a token with --token, or let \
                 everyone connect with --open"
            );
        }
        Ok(())
    }

    /// Which pages may open a WebSocket.
    pub(super) fn origins(&self) -> Origins {
        Origins::Listed(self.allow_origin.clone())
    }

    /// Refuses a name of this server that is not a loopback name, where nothing else protects it: a page
    /// may rebind its own name to 127.0.0.1, and is then of the same host.
    pub(super) fn check_host<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        if self.open || self.token.is_some() || is_loopback(request) {
            return Ok(());
        }
        let text = "only loopback names of this server are known, such as localhost: --open lets in others";
        Err(Refusal::new(StatusCode::FORBIDDEN, text))
    }

    /// Refuses a client without the token, if there is one.
    pub(super) fn check_token<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        if tokens(request).any(|sent| is_same(sent.as_bytes(), token.as_bytes())) {
            return Ok(());
        }
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "a token is needed: see --token");
        Err(refusal.header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
    }
}

/// A subprotocol that is a token: no process is told.
pub(super) fn is_token(protocol: &str) -> bool {
    protocol.starts_with(TOKEN_PROTOCOL)
}

/// The tokens that a client shows.
fn tokens<B>(request: &Request<B>) -> impl Iterator<Item = &str> {
    let authorized = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = authorized.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offered =
        offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    bearer.into_iter().chain(offered.filter_map(|name| name.trim().strip_prefix(TOKEN_PROTOCOL)))
}

/// Compares in a time that says nothing of where two tokens of one length differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Whether the name that the request goes to can only be this machine.
fn is_loopback<B>(request: &Request<B>) -> bool {
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(HOST).and_then(|host| host.to_str().ok()),
    };
    let origin = host.and_then(|host| internals::Origin::new("http", host));
    origin.is_some_and(|origin| origin.is_loopback())
}

/// A token that can be a part of a header and of a subprotocol.
fn token(text: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("a token is letters, digits and - . _ ~ +"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let request = headers.iter().fold(Request::builder().uri("/"), |request, (name, value)| {
            request.header(*name, *value)
        });
        request.body(()).unwrap()
    }

    fn access(token: Option<&str>) -> Access {
        Access { allow_origin: Vec::new(), open: false, token: token.map(str::to_owned) }
    }

    #[test]
    fn a_token_comes_in_a_header_or_as_a_subprotocol() {
        let access = access(Some("secret"));
        for good in [
            ("authorization", "Bearer secret"),
            ("authorization", "bearer  secret"),
            ("sec-websocket-protocol", "chat, bearer.secret"),
        ] {
            assert!(access.check_token(&request(&[good])).is_ok(), "{good:?}");
        }
        for bad in [
            ("authorization", "Bearer secre"),
            ("authorization", "Basic secret"),
            ("authorization", "secret"),
            ("sec-websocket-protocol", "secret"),
            ("sec-websocket-protocol", "bearer.secrets"),
        ] {
            let refusal = access.check_token(&request(&[bad])).unwrap_err();
            assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED, "{bad:?}");
        }
    }

    #[test]
    fn without_a_token_only_loopback_names_are_known() {
        for good in ["127.0.0.1:9001", "localhost", "[::1]:9001", "app.localhost:1"] {
            assert!(access(None).check_host(&request(&[("host", good)])).is_ok(), "{good}");
        }
        for bad in ["evil.example:9001", "127.0.0.1.evil.example", "192.0.2.1", ""] {
            assert!(access(None).check_host(&request(&[("host", bad)])).is_err(), "{bad}");
            assert!(access(Some("t")).check_host(&request(&[("host", bad)])).is_ok(), "{bad}");
        }
        assert!(access(None).check_host(&request(&[])).is_err());
    }

    #[test]
    fn addresses_that_others_reach_need_a_token_or_a_word() {
        let everywhere = ["127.0.0.1:1".parse().unwrap(), "0.0.0.0:1".parse().unwrap()];
        assert!(access(None).check_reach(&everywhere).is_err());
        assert!(access(None).check_reach(&everywhere[..1]).is_ok());
        assert!(access(Some("t")).check_reach(&everywhere).is_ok());
        assert!(Access { open: true, ..access(None) }.check_reach(&everywhere).is_ok());
    }
}
