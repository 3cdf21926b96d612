//! Origins as browsers write them, and the patterns that allow them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest host that is taken for one, in bytes: a name of the DNS has at most 253.
const MAX_HOST: usize = 255;

/// The origin of a page: scheme, host and port (RFC 6454 §4). Parsed from the form in which a browser sends
/// it, such as `https://example.com`, `http://localhost:5173` or `tauri://localhost`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: String,
    /// `None` for the scheme's default.
    port: Option<u16>,
}

impl Origin {
    /// `None` when `scheme` is not a scheme, or `authority` not a host with, perhaps, a port.
    pub fn new(scheme: &str, authority: &str) -> Option<Self> {
        let (host, port) = split(authority)?;
        let scheme = is_scheme(scheme).then(|| scheme.to_ascii_lowercase())?;
        let host = normal(host)?;
        let port = port.filter(|port| Some(*port) != default_port(&scheme));
        Some(Self { scheme, host, port })
    }

    /// Whether pages of it come over TLS.
    pub fn is_secure(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether it is the same host, on the same port or a default one.
    pub fn is_same_host(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }

    /// Whether the host can only be this machine: `localhost` and names under it (RFC 6761
    /// §6.3), `127.0.0.0/8`, `[::1]`.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.as_str();
        if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return v6.parse().is_ok_and(|ip: Ipv6Addr| ip.is_loopback());
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        name == "localhost"
            || name.ends_with(".localhost")
            || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
    }

    /// Whether the host is whole labels and then the other's host; scheme and port are the same.
    fn is_below(&self, domain: &Self) -> bool {
        let labels = self.host.strip_suffix(&domain.host).and_then(|rest| rest.strip_suffix('.'));
        let are_labels =
            labels.is_some_and(|labels| labels.split('.').all(|each| !each.is_empty()));
        are_labels && self.scheme == domain.scheme && self.port == domain.port
    }
}

/// Text that is not an [`OriginPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an origin: {fault}write scheme and host as in https://example.com, http://localhost:5173, \
     https://*.example.com or capacitor://localhost, or null for files and sandboxed frames",
    fault = path_in(.0)
)]
pub struct BadOrigin(String);

/// What is wrong where a URL was written.
fn path_in(text: &str) -> &'static str {
    match text.split_once("://").and_then(|(_, rest)| rest.split_once('/')) {
        Some((_, "")) => "it has no / at the end: ",
        Some(_) => "it has no path: ",
        None => "",
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let parts = text.split_once("://");
        let origin = parts.and_then(|(scheme, authority)| Self::new(scheme, authority));
        origin.ok_or_else(|| BadOrigin(text.to_owned()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// An origin that is allowed, or many. Parsed from one of these forms:
///
/// - `https://example.com`, `http://localhost:5173`: this origin. A default port may be written or left out.
/// - `https://*.example.com`: every name below `example.com`, of one label or more; `example.com` itself is
///   not. With `http` and `https` only.
/// - `capacitor://localhost`, `tauri://localhost`, `app://name`, `chrome-extension://id`: pages of apps and
///   extensions, by any scheme but those that no page has (`ws`, `wss`, `ftp`, `file`).
/// - `null`: every page without an origin of its own. Dangerous: local files and sandboxed frames
///   are such pages, and any site may contain a sandboxed frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginPattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    One(Origin),
    Below(Origin),
    Opaque,
}

impl OriginPattern {
    /// Whether a page that is sent with this `Origin` is allowed.
    pub fn matches(&self, sent: &str) -> bool {
        match &self.0 {
            Kind::One(origin) => sent.parse().is_ok_and(|sent: Origin| sent == *origin),
            Kind::Below(domain) => sent.parse().is_ok_and(|sent: Origin| sent.is_below(domain)),
            Kind::Opaque => is_opaque(sent),
        }
    }

    /// Whether it is `null`, the origin of sandboxed pages and files.
    pub fn is_null(&self) -> bool {
        self.0 == Kind::Opaque
    }
}

impl FromStr for OriginPattern {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin(text.to_owned());
        if text == "null" {
            return Ok(Self(Kind::Opaque));
        }
        let (scheme, authority) = text.split_once("://").ok_or_else(bad)?;
        let scheme = scheme.to_ascii_lowercase();
        let is_web = matches!(scheme.as_str(), "http" | "https");
        if matches!(scheme.as_str(), "ws" | "wss" | "ftp" | "file") {
            return Err(bad());
        }
        let of = |authority: &str| {
            let ascii = if is_web { to_ascii(authority) } else { None };
            Origin::new(&scheme, ascii.as_deref().unwrap_or(authority)).ok_or_else(bad)
        };
        match authority.strip_prefix("*.") {
            Some(domain) if is_web => {
                let domain = of(domain)?;
                let is_name = !is_address(&domain.host) && !domain.host.starts_with('.');
                is_name.then_some(Self(Kind::Below(domain))).ok_or_else(bad)
            }
            Some(_) => Err(bad()),
            None => of(authority).map(|origin| Self(Kind::One(origin))),
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::One(origin) => origin.fmt(f),
            Kind::Below(Origin { scheme, host, port }) => {
                write!(f, "{scheme}://*.{host}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
            Kind::Opaque => f.write_str("null"),
        }
    }
}

/// Whether a browser sends this for a page without an origin of its own. Chromium sends `file://` with a WebSocket of a
/// local file, and `null` with everything else of it.
pub fn is_opaque(sent: &str) -> bool {
    matches!(sent, "null" | "file://")
}

/// `scheme` of RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_part)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Host and port.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_host = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[after_host..].find(':') {
        None => Some((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_host + colon);
            let port = &port[1..];
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            Some((host, Some(is_number.then(|| port.parse().ok())??)))
        }
    }
}

/// The host as a browser writes it. What a shell would take for more than a word is none: origins are shown to operators
/// to be typed.
fn normal(host: &str) -> Option<String> {
    if let Some(v6) = host.strip_prefix('[') {
        let address: Ipv6Addr = v6.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_host = !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(is_part);
    is_host.then(|| host.to_ascii_lowercase())
}

/// Whether a browser reads the host as an address: its last label is a number (WHATWG URL §3.6).
fn is_address(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    host.starts_with('[') || last.starts_with(|first: char| first.is_ascii_digit())
}

/// A name in other letters as browsers write it: `bücher.example` is `xn--bcher-kva.example`.
fn to_ascii(authority: &str) -> Option<String> {
    if authority.is_ascii() {
        return None;
    }
    let (host, port) = split(authority)?;
    let host = url::Host::parse(host).ok()?;
    Some(port.map_or_else(|| host.to_string(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    fn pattern(text: &str) -> OriginPattern {
        text.parse().unwrap()
    }

    #[test]
    fn origins_compare_by_scheme_host_and_port() {
        assert_eq!(origin("http://LocalHost"), origin("HTTP://localhost:80"));
        assert_eq!(origin("https://example.com:443").to_string(), "https://example.com");
        assert_eq!(origin("http://[0::1]:80").to_string(), "http://[::1]");
        assert_ne!(origin("http://localhost:8080"), origin("http://localhost:8081"));
        assert_ne!(origin("http://localhost:443"), origin("https://localhost"));
        assert_ne!(origin("http://example.com"), origin("http://example.com.evil.net"));
    }

    #[test]
    fn a_slash_or_a_path_is_told_to_be_the_fault() {
        for (text, fault) in [
            ("https://a.example/", "it has no / at the end"),
            ("https://a.example/path", "it has no path"),
        ] {
            let told = text.parse::<OriginPattern>().unwrap_err().to_string();
            assert!(told.contains(fault), "{told}");
        }
        assert!(!"a.example".parse::<Origin>().unwrap_err().to_string().contains("it has no"));
    }

    #[test]
    fn what_is_no_origin_does_not_parse() {
        let long = format!("http://{}", "a".repeat(256));
        let bad = [
            "",
            "*",
            "localhost",
            "http://",
            "http://:80",
            "://host",
            "1http://host",
            "http://example.com/",
            "http://a@b",
            "http://example.com:",
            "http://example.com:99999",
            "http://example.com:+80",
            "http://example.com?x",
            "http://[::1",
            "http://[::1]x",
            "http://::1",
            "http://two hosts",
            "http://a;b",
            "http://$(a)",
            "http://a*.example",
            long.as_str(),
        ];
        for text in bad {
            assert!(text.parse::<Origin>().is_err(), "{text:?} parsed as an origin");
            assert!(text.parse::<OriginPattern>().is_err(), "{text:?} parsed as a pattern");
        }
        assert!("null".parse::<Origin>().is_err());
        assert!("https://*.example.com".parse::<Origin>().is_err());
    }

    #[test]
    fn patterns_that_no_page_has_do_not_parse() {
        let bad = [
            "ws://example.com",
            "wss://example.com",
            "ftp://example.com",
            "file://",
            "https://*",
            "https://*.",
            "https://*..example.com",
            "https://*.0.0.1",
            "https://*.[::1]",
            "https://a.*.example.com",
            "https://*.*.example.com",
            "https://*example.com",
            "*.example.com",
            "*://example.com",
            "app://*.example.com",
            "chrome-extension://*",
            "NULL",
        ];
        for text in bad {
            let error = text.parse::<OriginPattern>().unwrap_err().to_string();
            assert!(error.contains("https://*.example.com"), "{error}");
        }
    }

    #[test]
    fn a_pattern_is_shown_as_it_is_written() {
        for text in [
            "https://example.com",
            "http://localhost:5173",
            "https://*.example.com",
            "https://*.example.com:8443",
            "capacitor://localhost",
            "null",
        ] {
            assert_eq!(pattern(text).to_string(), text);
        }
        assert_eq!(
            pattern("https://B\u{fc}cher.example").to_string(),
            "https://xn--bcher-kva.example"
        );
    }

    #[test]
    fn one_origin_matches_itself_alone() {
        let app = pattern("https://App.example");
        assert!(app.matches("https://app.example") && app.matches("https://app.example:443"));
        for other in
            ["http://app.example", "https://app.example:444", "https://www.app.example", "null"]
        {
            assert!(!app.matches(other), "{other}");
        }
    }

    #[test]
    fn a_star_stands_for_whole_labels_on_the_left() {
        let below = pattern("https://*.example.org");
        for name in
            ["https://a.example.org", "https://a.b.example.org", "https://A.EXAMPLE.org:443"]
        {
            assert!(below.matches(name), "{name}");
        }
        let others = [
            "https://example.org",
            "https://evilexample.org",
            "https://.example.org",
            "https://a..example.org",
            "http://a.example.org",
            "https://a.example.org:8443",
            "https://a.example.org.evil.net",
            "https://a.example.org.",
            "https://*.example.org",
            "null",
        ];
        for name in others {
            assert!(!below.matches(name), "{name}");
        }
        assert!(pattern("http://*.localhost:5173").matches("http://app.localhost:5173"));
    }

    #[test]
    fn apps_and_extensions_are_origins() {
        for text in [
            "capacitor://localhost",
            "tauri://localhost",
            "app://obsidian.md",
            "app://-",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
            "vscode-webview://0a1b2c",
        ] {
            assert!(pattern(text).matches(text), "{text}");
            assert!(!pattern(text).matches("http://localhost"), "{text}");
        }
    }

    #[test]
    fn null_is_every_page_without_an_origin_and_no_other() {
        assert!(pattern("null").is_null());
        assert!(pattern("null").matches("null") && pattern("null").matches("file://"));
        for other in ["", "http://localhost", "garbage", "file:///x"] {
            assert!(!pattern("null").matches(other), "{other}");
        }
    }

    #[test]
    fn loopback_names_are_known_by_the_whole_name() {
        for host in ["localhost", "a.localhost", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(origin(&format!("http://{host}:8080")).is_loopback(), "{host}");
        }
        let others = [
            "localhost.evil.net",
            "notlocalhost",
            "127.0.0.1.evil.net",
            "128.0.0.1",
            "10.0.0.1",
            "[::2]",
            "0.0.0.0",
            "2130706433",
        ];
        for host in others {
            assert!(!origin(&format!("http://{host}:8080")).is_loopback(), "{host}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_parses_again_as_it_is_written_and_is_one_word_of_a_shell(
            text in "(http|https|app|ws)://[a-z0-9*.:@\\[\\];$ \u{fc}-]{0,12}|\\PC{0,12}",
        ) {
            if let Ok(origin) = text.parse::<Origin>() {
                let written = origin.to_string();
                prop_assert_eq!(written.parse::<Origin>().unwrap(), origin);
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._~:/[]".contains(&byte);
                prop_assert!(written.bytes().all(is_plain), "{}", written);
            }
            if let Ok(pattern) = text.parse::<OriginPattern>() {
                let written = pattern.to_string();
                prop_assert!(!pattern.matches(&text) || !text.contains('*'));
                prop_assert_eq!(written.parse::<OriginPattern>().unwrap(), pattern);
            }
        }
    }
}
