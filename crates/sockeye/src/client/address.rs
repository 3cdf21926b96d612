//! The address of a WebSocket: `ws://` and `wss://` URLs (RFC 6455 §3).

use std::{borrow::Cow, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderValue,
    uri::{Authority, PathAndQuery},
};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::AddressError;

/// A URL that a WebSocket can be opened at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
    /// Through which interface an IPv6 address is reached.
    zone: Option<String>,
    authority: Authority,
    target: PathAndQuery,
}

impl Address {
    /// The URL in its normal form, with the scheme `ws` or `wss`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the connection is to be encrypted (`wss`).
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "wss"
    }

    /// The host: IPv6 addresses without brackets.
    pub fn host(&self) -> String {
        match self.url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    /// The zone of an IPv6 address, the interface through which it is reached: `eth0` in
    /// `ws://[fe80::1%25eth0]/` (RFC 6874). It is not a part of [`url`](Self::url), and is not sent.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The host with its zone, as the system's resolver wants it.
    pub fn host_with_zone(&self) -> String {
        match &self.zone {
            Some(zone) => format!("{}%{zone}", self.host()),
            None => self.host(),
        }
    }

    /// The port, which is 80 or 443 where the URL has none.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// The `Host` header: with the port if it is not the scheme's own.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// The `Authorization` header for a URL with a user name in it (RFC 7617).
    pub fn authorization(&self) -> Option<HeaderValue> {
        let (user, password) = (self.url.username(), self.url.password());
        if user.is_empty() && password.is_none() {
            return None;
        }
        let mut credentials: Vec<u8> = percent_decode_str(user).collect();
        credentials.push(b':');
        credentials.extend(percent_decode_str(password.unwrap_or_default()));
        let mut value =
            HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads a `ws`, `wss`, `http` or `https` URL; the latter two mean the former two. An IPv6 address
    /// may have a zone, as in `[fe80::1%25eth0]` or `[fe80::1%eth0]`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let given = || without_credentials(text);
        let invalid = |reason: &dyn ToString| AddressError::Invalid {
            url: given(),
            reason: reason.to_string(),
        };
        let (without_zone, zone) = split_zone(text);
        let mut url = Url::parse(&without_zone).map_err(|error| match error {
            url::ParseError::RelativeUrlWithoutBase => AddressError::Scheme(given()),
            error => invalid(&error),
        })?;
        if url.fragment().is_some() {
            return Err(AddressError::Fragment(given()));
        }
        let scheme = match url.scheme() {
            "ws" | "http" => "ws",
            "wss" | "https" => "wss",
            _ => return Err(AddressError::Scheme(given())),
        };
        url.set_scheme(scheme).map_err(|()| AddressError::Scheme(given()))?;
        let authority = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(invalid(&"it has no host")),
        };
        let authority = authority.parse().map_err(|error| invalid(&error))?;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let target = target.parse().map_err(|error| invalid(&error))?;
        Ok(Self { url, zone, authority, target })
    }
}

/// The URL for people to read: a name and a password in it are for the server alone.
fn without_credentials(url: &str) -> String {
    let begin = url.find("//").map_or(url.len(), |slashes| slashes + 2);
    let authority = url[begin..].split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{}{}", &url[..begin], &url[begin + at + 1..]),
        None => url.to_owned(),
    }
}

/// A URL without the zone of its IPv6 address, and the zone.
fn split_zone(text: &str) -> (Cow<'_, str>, Option<String>) {
    let zone = || {
        let host = text.find("//")? + 2;
        let authority =
            &text[host..][..text[host..].find(['/', '?', '#']).unwrap_or(text.len() - host)];
        let begin = host + authority.find('[')?;
        let end = host + authority.find(']')?;
        let percent = begin + text.get(begin..end)?.find('%')?;
        let zone = &text[percent + 1..end];
        let zone = zone.strip_prefix("25").filter(|rest| !rest.is_empty()).unwrap_or(zone);
        (!zone.is_empty())
            .then(|| (format!("{}{}", &text[..percent], &text[end..]), zone.to_owned()))
    };
    match zone() {
        Some((url, zone)) => (Cow::Owned(url), Some(zone)),
        None => (Cow::Borrowed(text), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        text.parse().unwrap()
    }

    /// Rule: W6.
    #[test]
    fn an_address_gives_host_port_target_and_security() {
        let address = parse("ws://example.org");
        assert_eq!((address.host().as_str(), address.port()), ("example.org", 80));
        assert_eq!((address.target().as_str(), address.is_secure()), ("/", false));
        let address = parse("wss://example.org:444/a%20b?c=d%23");
        assert_eq!((address.port(), address.is_secure()), (444, true));
        assert_eq!(address.target().as_str(), "/a%20b?c=d%23");
    }

    /// Rule: W22.
    #[test]
    fn the_host_header_has_the_port_only_if_it_is_not_the_default() {
        assert_eq!(parse("ws://h:80/").authority(), "h");
        assert_eq!(parse("wss://h:443/").authority(), "h");
        assert_eq!(parse("ws://h:443/").authority(), "h:443");
        assert_eq!(parse("ws://[::1]:9001/").authority(), "[::1]:9001");
        assert_eq!(parse("ws://[::1]:9001/").host(), "::1");
    }

    #[test]
    fn the_zone_of_an_address_is_for_the_way_there_alone() {
        for text in ["ws://[fe80::1%25eth0]:9001/a?b", "http://u:p@[fe80::1%eth0]:9001/a?b"] {
            let address = parse(text);
            assert_eq!((address.host().as_str(), address.zone()), ("fe80::1", Some("eth0")));
            assert_eq!(address.host_with_zone(), "fe80::1%eth0");
            assert_eq!(address.authority(), "[fe80::1]:9001");
            assert_eq!(address.target().as_str(), "/a?b");
        }
        assert_eq!(parse("ws://h/[a%25b]").zone(), None);
        assert_eq!(parse("ws://[fe80::1%252]/").zone(), Some("2"));
        assert!("ws://[fe80::1%]/".parse::<Address>().is_err());
    }

    /// Rules: W3, W4.
    #[test]
    fn a_fragment_is_refused_even_if_empty() {
        for url in ["ws://h/#a", "ws://h/#"] {
            assert_eq!(url.parse::<Address>(), Err(AddressError::Fragment(url.to_owned())));
        }
    }

    #[test]
    fn errors_have_no_password() {
        for url in ["ws://ann:se@cret@h:99999/", "ftp://ann:se@cret@h/", "ws://ann:se@cret@h/#a"] {
            let error = url.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("//h") && !error.contains("cret"), "{error}");
        }
    }

    /// Rule: W7.
    #[test]
    fn what_is_no_address_of_a_websocket_is_refused() {
        for url in ["ftp://h/", "mailto:a@b", "localhost", "/c/chat", "localhost:8080/c/chat"] {
            assert_eq!(url.parse::<Address>(), Err(AddressError::Scheme(url.to_owned())));
        }
        for url in ["ws://", "ws://h:99999/", "ws://a b/", "ws://[::1/"] {
            let error = url.parse::<Address>();
            assert!(matches!(error, Err(AddressError::Invalid { .. })), "{url}: {error:?}");
        }
    }

    /// Rules: W124, W125, W126, W127.
    #[test]
    fn other_characters_are_encoded() {
        let address = parse("ws://bücher.example/ä b?ü");
        assert_eq!(address.host(), "xn--bcher-kva.example");
        assert_eq!(address.target().as_str(), "/%C3%A4%20b?%C3%BC");
    }

    /// Rule: A5.
    #[test]
    fn http_urls_mean_websocket_urls() {
        assert_eq!(parse("http://h/a").url().as_str(), "ws://h/a");
        assert_eq!(parse("https://h/a").url().as_str(), "wss://h/a");
    }

    /// Rule: A20.
    #[test]
    fn a_user_name_in_the_url_is_sent_as_basic_authentication() {
        let header = parse("ws://ann:p%40ss@h/").authorization().unwrap();
        assert_eq!(header, format!("Basic {}", STANDARD.encode("ann:p@ss")).as_str());
        assert_eq!(parse("ws://ann@h/").authority(), "h");
        assert_eq!(parse("ws://h/").authorization(), None);
    }
}
