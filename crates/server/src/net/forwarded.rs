//! What the headers of proxies say of a request: the client's address, and where the client sent it to.
//! In `Forwarded` (RFC 7239), or in the headers that it was to replace: `X-Forwarded-For`, `-Proto` and
//! `-Host`.
//!
//! Each proxy appends, so a header is read from the right, up to the first address that is not a
//! trusted proxy. Entries left of it are unverified: any client can have written them.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use http::header::FORWARDED;
use http::uri::Authority;
use http::{HeaderMap, HeaderName};

use crate::log::shown;
use crate::net::trusted_proxy::TrustedProxy;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Where a client sent its request to, as a trusted proxy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ForwardedOrigin {
    /// Whether it came by TLS.
    pub(crate) is_secure: Option<bool>,
    /// The host, with the port if there is one.
    pub(crate) host: Option<String>,
}

/// The sender that an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The one at this address.
    Address(IpAddr),
    /// A sender that the proxy does not name: `unknown`, or `_` and a word (RFC 7239 §6.2, §6.3).
    Hidden,
}

/// The text is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Node {
    /// Reads an address with a port or without, IPv6 in brackets or bare (RFC 7239 §6).
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        if text == "unknown" || text.starts_with('_') {
            return Ok(Self::Hidden);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let address = match text.strip_prefix('[') {
            Some(text) => {
                let (address, port) = text.split_once(']').ok_or(Unreadable)?;
                let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
                address.parse::<Ipv6Addr>().ok().filter(|_| is_whole).map(IpAddr::from)
            }
            None => {
                let (address, port) = text.split_once(':').ok_or(Unreadable)?;
                address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::from)
            }
        };
        address.map(Self::Address).ok_or(Unreadable)
    }
}

fn is_port(text: &str) -> bool {
    text.starts_with('_') || text.parse::<u16>().is_ok()
}

/// What one proxy says in `Forwarded` (RFC 7239 §4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element<'t> {
    /// `for`: the client of the proxy.
    pub node: Option<Cow<'t, str>>,
    /// `proto`: the scheme of the request.
    pub proto: Option<Cow<'t, str>>,
    /// `host`: the host of the request.
    pub host: Option<Cow<'t, str>>,
}

impl<'t> Element<'t> {
    /// The elements of a line, the last one first, parsed as they are read: what comes before an
    /// element changes nothing in it.
    pub fn all(line: &'t str) -> impl Iterator<Item = Self> {
        Backwards { text: Some(line), separator: b',' }.map(Self::parse)
    }

    fn parse(text: &'t str) -> Self {
        let mut element = Self::default();
        for pair in (Backwards { text: Some(text), separator: b';' }) {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, value) = (name.trim(), Some(unquoted(value.trim())));
            match () {
                () if name.eq_ignore_ascii_case("for") => element.node = value,
                () if name.eq_ignore_ascii_case("proto") => element.proto = value,
                () if name.eq_ignore_ascii_case("host") => element.host = value,
                () => {}
            }
        }
        element
    }
}

/// The parts of a list from its end. Separators between quotes do not separate.
struct Backwards<'t> {
    text: Option<&'t str>,
    separator: u8,
}

impl<'t> Iterator for Backwards<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let text = self.text.take()?;
        let (bytes, mut in_quotes) = (text.as_bytes(), false);
        for (at, byte) in bytes.iter().enumerate().rev() {
            let is_escaped =
                || bytes[..at].iter().rev().take_while(|it| **it == b'\\').count() % 2 == 1;
            match *byte {
                b'"' if !(in_quotes && is_escaped()) => in_quotes = !in_quotes,
                byte if byte == self.separator && !in_quotes => {
                    self.text = Some(&text[..at]);
                    return Some(&text[at + 1..]);
                }
                _ => {}
            }
        }
        Some(text)
    }
}

/// A token, or the content of a quoted string (RFC 9110 §5.6.4).
fn unquoted(text: &str) -> Cow<'_, str> {
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match quoted {
        Some(quoted) if quoted.contains('\\') => {
            let (mut plain, mut letters) = (String::new(), quoted.chars());
            while let Some(letter) = letters.next() {
                plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
            }
            plain.into()
        }
        quoted => quoted.unwrap_or(text).into(),
    }
}

/// Which headers could not be parsed, and were logged: each once.
#[derive(Debug, Default)]
pub(crate) struct WarnedSources(AtomicU8);

impl WarnedSources {
    /// Logs it, unless that was done for this source.
    pub(crate) fn unreadable(&self, source: Source, text: &str) {
        let bit = 1 << source as u8;
        if self.0.fetch_or(bit, Relaxed) & bit == 0 {
            let (header, value) = (source.name(), shown(text));
            tracing::warn!(header, %value, "cannot parse a header of a trusted proxy; logged once");
        }
    }
}

/// A source of information about the client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    For,
    Proto,
    Host,
    Forwarded,
    ProxyProtocol,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::For => "X-Forwarded-For",
            Self::Proto => "X-Forwarded-Proto",
            Self::Host => "X-Forwarded-Host",
            Self::Forwarded => "Forwarded",
            Self::ProxyProtocol => "PROXY protocol",
        }
    }
}

/// The client's address and where it sent its request to, as the headers of a request say that came from
/// a trusted proxy: the rightmost entry that is not a trusted proxy, `None` where there is no address;
/// entries left of it are unverified. `X-Forwarded-For` counts before `Forwarded`.
pub(crate) fn read(
    trusted: &[TrustedProxy],
    headers: &HeaderMap,
    told: &WarnedSources,
) -> (Option<IpAddr>, ForwardedOrigin) {
    let reader = HeaderReader { trusted, told };
    match headers.contains_key(X_FORWARDED_FOR) {
        false if headers.contains_key(FORWARDED) => reader.forwarded(headers),
        _ => reader.x_forwarded(headers),
    }
}

struct HeaderReader<'r> {
    trusted: &'r [TrustedProxy],
    told: &'r WarnedSources,
}

impl HeaderReader<'_> {
    fn forwarded(&self, headers: &HeaderMap) -> (Option<IpAddr>, ForwardedOrigin) {
        let (mut client, mut front) = (None, ForwardedOrigin::default());
        for element in lines(headers, &FORWARDED).flat_map(Element::all) {
            // Each element describes the request to its proxy, so the last one that is read counts.
            if let Some(proto) = &element.proto {
                front.is_secure = self.proto(Source::Forwarded, proto);
            }
            if let Some(host) = &element.host {
                front.host = self.host(Source::Forwarded, host);
            }
            let Some(node) = element.node else { break };
            if !self.is_proxy(Source::Forwarded, &node, &mut client) {
                break;
            }
        }
        (client, front)
    }

    fn x_forwarded(&self, headers: &HeaderMap) -> (Option<IpAddr>, ForwardedOrigin) {
        let (mut client, mut proxies) = (None, 0);
        for node in items(headers, &X_FORWARDED_FOR) {
            if !self.is_proxy(Source::For, node, &mut client) {
                break;
            }
            proxies += 1;
        }
        // From the same proxy, or from the first where not each has appended.
        let said = |name| {
            let items = || items(headers, name);
            items().nth(proxies).or_else(|| items().last())
        };
        let front = ForwardedOrigin {
            is_secure: said(&X_FORWARDED_PROTO).and_then(|said| self.proto(Source::Proto, said)),
            host: said(&X_FORWARDED_HOST).and_then(|said| self.host(Source::Host, said)),
        };
        (client, front)
    }

    /// Takes the entry for the client, and returns whether it is a proxy that may name another.
    fn is_proxy(&self, source: Source, text: &str, client: &mut Option<IpAddr>) -> bool {
        match Node::parse(text) {
            Ok(Node::Address(address)) => {
                *client = Some(address);
                self.trusted.iter().any(|proxy| proxy.contains(address))
            }
            // A client behind the proxy that wrote this, whose address is known.
            Ok(Node::Hidden) => false,
            Err(Unreadable) => {
                if !text.is_empty() {
                    self.told.unreadable(source, text);
                }
                false
            }
        }
    }

    fn proto(&self, source: Source, text: &str) -> Option<bool> {
        let is = |known: [&str; 2]| known.iter().any(|known| text.eq_ignore_ascii_case(known));
        match () {
            () if is(["https", "wss"]) => Some(true),
            () if is(["http", "ws"]) => Some(false),
            () => {
                self.told.unreadable(source, text);
                None
            }
        }
    }

    fn host(&self, source: Source, text: &str) -> Option<String> {
        let is_host = !text.contains('@') && text.parse::<Authority>().is_ok();
        if !is_host {
            self.told.unreadable(source, text);
        }
        is_host.then(|| text.to_owned())
    }
}

/// The lines of a header, the last one first. A line that is not text is malformed.
fn lines<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().rev().map(|line| line.to_str().unwrap_or("?"))
}

/// The items of a header that is a list, the last one first.
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    lines(headers, name).flat_map(|line| line.rsplit(',').map(str::trim))
}

#[cfg(test)]
mod tests;
