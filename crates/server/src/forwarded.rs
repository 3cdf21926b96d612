//! What proxies say of a request: who asks, and where the client sent it to. In `Forwarded` (RFC 7239),
//! or in the headers that it was to replace: `X-Forwarded-For`, `-Proto` and `-Host`.
//!
//! Each proxy adds to the right of what is there, so it is read from the right, up to the first address
//! that is none of the trusted proxies'. What stands left of that anybody can have written.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use http::header::FORWARDED;
use http::uri::Authority;
use http::{HeaderMap, HeaderName};

use crate::log::shown;
use crate::peer::Peer;
use crate::proxy::TrustedProxy;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Where a client sent its request to, as far as a trusted proxy says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Front {
    /// Whether it came by TLS.
    pub(crate) is_secure: Option<bool>,
    /// The host, with the port if there is one.
    pub(crate) host: Option<String>,
}

/// Who is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Whoever has this address.
    Address(IpAddr),
    /// Somebody whom the proxy does not name: `unknown`, or `_` and a word (RFC 7239 §6.2, §6.3).
    Hidden,
}

/// The text does not mean what it should.
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
    /// `for`: who asked the proxy.
    pub node: Option<Cow<'t, str>>,
    /// `proto`: how.
    pub proto: Option<Cow<'t, str>>,
    /// `host`: for what.
    pub host: Option<Cow<'t, str>>,
}

impl<'t> Element<'t> {
    /// The elements of a line, the last one first, as far as they are looked at: what comes before an
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

/// The parts of a list from its end. A separator between quotes is none.
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

/// A token, or what a quoted string says (RFC 9110 §5.6.4).
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

/// What could not be read, and was told: each header once.
#[derive(Debug, Default)]
pub(crate) struct Told(AtomicU8);

impl Told {
    /// Tells it, if that has not been told of this source.
    pub(crate) fn unreadable(&self, source: Source, text: &str) {
        let bit = 1 << source as u8;
        if self.0.fetch_or(bit, Relaxed) & bit == 0 {
            let (header, value) = (source.name(), shown(text));
            tracing::warn!(header, %value, "cannot read what a trusted proxy says; told once");
        }
    }
}

/// Where something is said.
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

/// Who asks, and for what, where a request came from `proxy`, which is trusted: the last whom the proxies
/// name that is none of them; the proxy itself if they name nobody. `X-Forwarded-For` counts before
/// `Forwarded`.
pub(crate) fn read(
    trusted: &[TrustedProxy],
    proxy: Peer,
    headers: &HeaderMap,
    told: &Told,
) -> (Peer, Front) {
    let reading = Reading { trusted, told };
    match headers.contains_key(X_FORWARDED_FOR) {
        false if headers.contains_key(FORWARDED) => reading.forwarded(proxy, headers),
        _ => reading.x_forwarded(proxy, headers),
    }
}

struct Reading<'r> {
    trusted: &'r [TrustedProxy],
    told: &'r Told,
}

impl Reading<'_> {
    fn forwarded(&self, mut peer: Peer, headers: &HeaderMap) -> (Peer, Front) {
        let mut front = Front::default();
        for element in lines(headers, &FORWARDED).flat_map(Element::all) {
            // Each element says what its proxy was asked, so the last one that is read counts.
            if let Some(proto) = &element.proto {
                front.is_secure = self.proto(Source::Forwarded, proto);
            }
            if let Some(host) = &element.host {
                front.host = self.host(Source::Forwarded, host);
            }
            let Some(node) = element.node else { break };
            if !self.goes_on(Source::Forwarded, &node, &mut peer) {
                break;
            }
        }
        (peer, front)
    }

    fn x_forwarded(&self, mut peer: Peer, headers: &HeaderMap) -> (Peer, Front) {
        let mut proxies = 0;
        for node in items(headers, &X_FORWARDED_FOR) {
            if !self.goes_on(Source::For, node, &mut peer) {
                break;
            }
            proxies += 1;
        }
        // From the same proxy, or from the first where not each has added something.
        let said = |name| {
            let items = || items(headers, name);
            items().nth(proxies).or_else(|| items().last())
        };
        let front = Front {
            is_secure: said(&X_FORWARDED_PROTO).and_then(|said| self.proto(Source::Proto, said)),
            host: said(&X_FORWARDED_HOST).and_then(|said| self.host(Source::Host, said)),
        };
        (peer, front)
    }

    /// Takes the named one for the peer, and says whether it is a proxy that may name another.
    fn goes_on(&self, source: Source, text: &str, peer: &mut Peer) -> bool {
        match Node::parse(text) {
            Ok(Node::Address(address)) => {
                *peer = std::mem::take(peer).speaking_for(address);
                self.trusted.iter().any(|proxy| proxy.contains(address))
            }
            // It is somebody behind the proxy that wrote this: that one is known.
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

/// The lines of a header, the last one first. One that is no text is unreadable.
fn lines<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().rev().map(|line| line.to_str().unwrap_or("?"))
}

/// The items of a header that is a list, the last one first.
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    lines(headers, name).flat_map(|line| line.rsplit(',').map(str::trim))
}

#[cfg(test)]
mod tests;
