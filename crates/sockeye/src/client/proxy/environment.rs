//! Which proxy the environment asks for: the variables that curl and many others read.

use std::{env, net::IpAddr};

use ipnet::IpNet;

use super::{Proxy, ProxyError};
use crate::client::{Address, ConnectError};

/// The proxy for an address, if the environment has one.
///
/// For `wss://` the first of `wss_proxy`, `https_proxy` and `all_proxy` that is set; for `ws://` of
/// `ws_proxy`, `http_proxy` and `all_proxy`; each also in capitals, except `HTTP_PROXY`, which a CGI
/// program's clients could set. Set but empty means none. `no_proxy` lists the exceptions.
pub(crate) fn from_environment(address: &Address) -> Result<Option<Proxy>, ConnectError> {
    choose(address, |name| env::var(name).ok())
}

fn choose(
    address: &Address,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, ConnectError> {
    let names: &[&str] = match address.is_secure() {
        true => &["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        false => &["ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"],
    };
    let Some(text) = names.iter().find_map(|name| variable(name)).filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let exceptions = variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default();
    if is_local(&address.host()) || is_excepted(&address.host(), address.port(), &exceptions) {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: ProxyError| ConnectError::Proxy {
        proxy: "of the environment".to_owned(),
        error,
    })
}

/// This machine: its loopback is another one for a proxy.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a list has this host: entries are separated by commas or blanks.
fn is_excepted(host: &str, port: u16, list: &str) -> bool {
    list.split([',', ' ']).filter(|entry| !entry.is_empty()).any(|entry| covers(entry, host, port))
}

/// `*`; an address, or a block of them (CIDR); a host, which stands for its subdomains, too, and may
/// begin with a dot or `*.`. With a port only that port is meant.
fn covers(entry: &str, host: &str, port: u16) -> bool {
    let (name, only) = split_port(entry);
    if only.is_some_and(|only| only != port) {
        return false;
    }
    if name == "*" {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return in_block(address, name);
    }
    let name = name.strip_prefix('*').unwrap_or(name).trim_matches('.').to_ascii_lowercase();
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let rest = host.strip_suffix(&name);
    !name.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// `HOST:PORT`, `[IPV6]:PORT`; an IPv6 address without brackets has no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn in_block(address: IpAddr, block: &str) -> bool {
    let block = match block.split_once('/') {
        Some((base, length)) => {
            let block = base.parse().ok().zip(length.parse().ok());
            block.and_then(|(base, length)| IpNet::new(base, length).ok())
        }
        None => block.parse().ok().map(|base: IpAddr| base.into()),
    };
    block.is_some_and(|block| block.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        let look = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        };
        choose(&url.parse().unwrap(), look).unwrap().map(|proxy| proxy.to_string())
    }

    /// Rule: X8.
    #[test]
    fn the_scheme_decides_which_variables_are_read_and_in_which_order() {
        let all = [
            ("wss_proxy", "a:1"),
            ("https_proxy", "b:1"),
            ("HTTPS_PROXY", "c:1"),
            ("all_proxy", "socks5://d"),
        ];
        let first = |i: usize| chosen("wss://h.example/", &all[i..]);
        assert_eq!(first(0).as_deref(), Some("http://a:1"));
        assert_eq!(first(1).as_deref(), Some("http://b:1"));
        assert_eq!(first(2).as_deref(), Some("http://c:1"));
        assert_eq!(first(3).as_deref(), Some("socks5://d:1080"));
        assert_eq!(chosen("ws://h.example/", &all).as_deref(), Some("socks5://d:1080"));
        let plain = [("ws_proxy", "a:1"), ("http_proxy", "b:1")];
        assert_eq!(chosen("ws://h.example/", &plain).as_deref(), Some("http://a:1"));
        assert_eq!(chosen("ws://h.example/", &plain[1..]).as_deref(), Some("http://b:1"));
        assert_eq!(chosen("wss://h.example/", &plain), None);
        assert_eq!(chosen("ws://h.example/", &[("HTTP_PROXY", "a:1")]), None);
        assert_eq!(chosen("wss://h.example/", &[("wss_proxy", ""), ("all_proxy", "a:1")]), None);
        let broken = |name: &str| (name == "all_proxy").then(|| "ftp://h".to_owned());
        assert!(choose(&"ws://h.example/".parse().unwrap(), broken).is_err());
    }

    /// Rule: X8.
    #[test]
    fn this_machine_is_never_reached_through_the_environments_proxy() {
        for url in ["ws://localhost:1/", "ws://127.0.0.9/", "ws://[::1]/"] {
            assert_eq!(chosen(url, &[("all_proxy", "a:1")]), None, "{url}");
        }
    }

    /// Rule: X8.
    #[test]
    fn no_proxy_lists_hosts_domains_addresses_and_ports() {
        let cases = [
            ("*", "h.example", true),
            ("h.example", "h.example", true),
            ("example", "h.example", true),
            (".example", "h.example", true),
            ("*.example", "h.example", true),
            ("H.EXAMPLE.", "h.example", true),
            ("ample", "h.example", false),
            ("x.h.example", "h.example", false),
            ("other, h.example", "h.example", true),
            ("other h.example", "h.example", true),
            ("h.example:443", "h.example", false),
            ("h.example:80", "h.example", true),
            ("", "h.example", false),
            (",. ,", "h.example", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.0/8", "10.9.9.9", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "11.0.0.0", true),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe00::1", false),
            ("[fd12::1]:80", "fd12::1", true),
            ("[fd12::1]:81", "fd12::1", false),
            ("10.0.0.0/8", "fd12::1", false),
        ];
        for (list, host, excepted) in cases {
            assert_eq!(is_excepted(host, 80, list), excepted, "{list:?} {host}");
        }
    }
}
