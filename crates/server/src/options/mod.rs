//! The options, and their defaults: of channels, with any listener, and of a server that has its own.

mod channels;

use std::time::Duration;

use sockeye::internals::defaults;
use sockeye::tls::ServerTls;

pub use self::channels::ChannelOptions;
use crate::net::listener::Listen;

/// How a [`Server`](crate::Server) behaves. The default is a server on loopback that keeps its
/// channels in memory and lets the pages it serves itself, and no others, use it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Where to listen. Default: `127.0.0.1:8080` alone.
    pub listen: Vec<Listen>,
    /// The address that serves `/healthz`, `/readyz`, `/metrics`, `/connections` and `/channels` to operators: HTTP
    /// without tokens, and without TLS. Default: none.
    ///
    /// Danger: anyone who can reach the address sees who is connected from where, and can end connections.
    pub admin: Option<Listen>,
    /// The certificate for TLS on every address that is not a Unix socket. Default: none.
    pub tls: Option<ServerTls>,
    /// Bytes that the responses on one HTTP/2 connection may hold together before the next request on it is
    /// answered; one response may exceed it. Default: 4 MiB.
    pub max_http2_buffer: usize,
    /// TLS handshakes in progress, from the client's first message on. Default: 1024. Further ones wait;
    /// while one does, a handshake that has taken a second may be ended for it.
    pub max_handshakes: usize,
    /// Whether each connection of a proxy in `trust_proxy` begins with a PROXY protocol header (version 1
    /// or 2); one that does not is closed. Other connections begin without one, and so do those to the
    /// address for operators. Default: no.
    pub proxy_protocol: bool,
    /// How long the server drains its connections when it stops. Default: 30 seconds.
    pub drain: Duration,
    /// How long the head of a request may take to arrive, the first one and the handshake of TLS from
    /// the connection's beginning on; and how long a connection of HTTP/2 may idle. Default: 10 seconds.
    pub head_timeout: Duration,
    /// How long an HTTP/1.1 connection may idle between requests. Longer than proxies in front keep
    /// theirs open: they would send a request on one that is being closed. Default: 75 seconds.
    pub keep_alive: Duration,
    /// The options of the channels. Default: that of [`ChannelOptions`].
    pub channels: ChannelOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp("127.0.0.1:8080".to_owned())],
            admin: None,
            tls: None,
            max_http2_buffer: 4 << 20,
            max_handshakes: defaults::MAX_HANDSHAKES,
            proxy_protocol: false,
            drain: Duration::from_secs(30),
            head_timeout: defaults::HANDSHAKE_TIMEOUT,
            keep_alive: Duration::from_secs(75),
            channels: ChannelOptions::default(),
        }
    }
}

impl ServerOptions {
    /// Sets [`listen`](Self::listen).
    pub fn listen(mut self, addresses: impl IntoIterator<Item = Listen>) -> Self {
        self.listen = addresses.into_iter().collect();
        self
    }

    /// Sets [`admin`](Self::admin).
    pub fn admin(mut self, address: impl Into<Option<Listen>>) -> Self {
        self.admin = address.into();
        self
    }

    /// Sets [`tls`](Self::tls).
    pub fn tls(mut self, tls: impl Into<Option<ServerTls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// Sets [`max_http2_buffer`](Self::max_http2_buffer), in bytes.
    pub fn max_http2_buffer(mut self, bytes: usize) -> Self {
        self.max_http2_buffer = bytes;
        self
    }

    /// Sets [`max_handshakes`](Self::max_handshakes).
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.max_handshakes = handshakes;
        self
    }

    /// Sets [`proxy_protocol`](Self::proxy_protocol).
    pub fn proxy_protocol(mut self, required: bool) -> Self {
        self.proxy_protocol = required;
        self
    }

    /// Sets [`drain`](Self::drain).
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// Sets [`head_timeout`](Self::head_timeout).
    pub fn head_timeout(mut self, time: Duration) -> Self {
        self.head_timeout = time;
        self
    }

    /// Sets [`keep_alive`](Self::keep_alive).
    pub fn keep_alive(mut self, time: Duration) -> Self {
        self.keep_alive = time;
        self
    }

    /// Sets [`channels`](Self::channels).
    pub fn channels(mut self, options: ChannelOptions) -> Self {
        self.channels = options;
        self
    }
}

// The documentation has the fields of all features.
#[cfg(test)]
#[cfg(all(feature = "fjall", feature = "prometheus"))]
mod tests {
    use super::*;

    /// Defaults that are told in other words than a number, `none` or `no`.
    const IN_WORDS: [&str; 9] = [
        "channels",
        "deflate",
        "io",
        "listen",
        "log_lines_lost",
        "max_commands",
        "max_connections",
        "max_wire_forms",
        "option_names",
    ];

    /// The number that a default is told as, in bytes, milliseconds or by itself; nothing is 0.
    fn told(words: &str) -> Option<u64> {
        let (number, unit) = words.split_once(' ').unwrap_or((words, ""));
        match number {
            "none" | "no" => return Some(0),
            _ => {}
        }
        let number: u64 = number.replace(',', "").parse().ok()?;
        let factor = match unit {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "seconds" => 1000,
            "minutes" => 60_000,
            "hours" => 3_600_000,
            _ => return None,
        };
        Some(number * factor)
    }

    /// The same of a value as `Debug` shows it.
    fn shown(value: &str) -> Option<u64> {
        let value =
            value.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(value);
        match (value, value.strip_suffix('s')) {
            ("None" | "[]" | "false", _) => Some(0),
            (_, Some(seconds)) => seconds.parse::<u64>().ok().map(|seconds| seconds * 1000),
            (number, None) => number.parse().ok(),
        }
    }

    #[test]
    fn the_documentation_of_each_option_says_its_default() {
        let server = (include_str!("mod.rs"), "ServerOptions");
        let channels = (include_str!("channels.rs"), "ChannelOptions");
        let checked: usize =
            [server, channels].into_iter().map(|(source, name)| checked(source, name)).sum();
        assert!(25 < checked, "{checked}");
    }

    /// How many fields say their default.
    fn checked(source: &str, name: &str) -> usize {
        let (_, body) = source.split_once(&format!("pub struct {name} {{")).unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        let debug = format!("{:?}", ServerOptions::default());
        let (mut doc, mut checked) = (String::new(), 0);
        for line in body.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("///") {
                doc += text;
            }
            let Some((field, _)) = line.strip_prefix("pub ").and_then(|line| line.split_once(':'))
            else {
                continue;
            };
            let doc = std::mem::take(&mut doc);
            let (_, rest) = doc.split_once("Default: ").unwrap_or_else(|| panic!("{field}"));
            let words = rest.split(['.', ':', ',', ';']).next().unwrap_or_default();
            // `100,000` goes on behind its comma.
            let words = rest.strip_prefix("100,000").map_or(words, |_| "100,000");
            if IN_WORDS.contains(&field) {
                continue;
            }
            let (_, value) = debug.split_once(&format!(" {field}: ")).unwrap();
            let value = value.split([',', ' ']).next().unwrap_or_default();
            let (told, shown) = (told(words.trim_matches('`')), shown(value));
            assert!(told.is_some() && told == shown, "{field}: `{words}`, and it is {value}");
            checked += 1;
        }
        checked
    }
}
