//! What is read of headers that proxies write, and of those that clients write for them.

use proptest::prelude::*;

use super::*;
use crate::net::trusted_proxy::is_trusted;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The client and where it sent its request to, for a server that trusts `127.0.0.1` and `10.0.0.0/8`.
fn ask(peer: &str, headers: &[(&'static str, &str)]) -> (String, ForwardedOrigin) {
    let trusted = ["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), value.parse().unwrap());
    }
    let peer = ip(peer);
    let (client, front) = match is_trusted(&trusted, Some(peer), false) {
        true => read(&trusted, &map, &WarnedSources::default()),
        false => (None, ForwardedOrigin::default()),
    };
    (client.unwrap_or(peer).to_canonical().to_string(), front)
}

#[test]
fn only_trusted_proxies_name_the_client() {
    let asks = |peer: &str, lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        ask(peer, &lines).0
    };
    assert_eq!(asks("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
    assert_eq!(asks("127.0.0.1", &[]), "127.0.0.1");
    assert_eq!(asks("127.0.0.1", &["203.0.113.9"]), "203.0.113.9");
    // The client itself has written the first.
    assert_eq!(asks("127.0.0.1", &["198.51.100.1, 203.0.113.9"]), "203.0.113.9");
    assert_eq!(asks("127.0.0.1", &["198.51.100.1", "203.0.113.9"]), "203.0.113.9");
    assert_eq!(asks("127.0.0.1", &["203.0.113.9, 10.1.2.3"]), "203.0.113.9");
    assert_eq!(asks("127.0.0.1", &["10.0.0.1, 10.1.2.3"]), "10.0.0.1");
    assert_eq!(asks("127.0.0.1", &["2001:db8::1"]), "2001:db8::1");
    assert_eq!(asks("127.0.0.1", &["203.0.113.9:80"]), "203.0.113.9");
    assert_eq!(asks("127.0.0.1", &["[2001:db8::1]:4711, 10.1.2.3:1"]), "2001:db8::1");
    assert_eq!(asks("127.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
    assert_eq!(asks("127.0.0.1", &["[::ffff:203.0.113.9]:80"]), "203.0.113.9");
    for garbage in ["unknown", "", "203.0.113.9:", "203.0.113.9:99999", "[::1", "a, b"] {
        assert_eq!(asks("127.0.0.1", &[garbage]), "127.0.0.1", "{garbage}");
    }
    assert_eq!(asks("127.0.0.1", &["203.0.113.9, unknown, 10.1.2.3"]), "10.1.2.3");
}

#[test]
fn forwarded_is_read_as_rfc_7239_has_it() {
    let asks = |line: &str| ask("127.0.0.1", &[("forwarded", line)]).0;
    assert_eq!(asks("for=203.0.113.9"), "203.0.113.9");
    assert_eq!(asks("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
    assert_eq!(asks("for=203.0.113.9;proto=http;by=203.0.113.43"), "203.0.113.9");
    assert_eq!(asks("for=198.51.100.1, for=203.0.113.9"), "203.0.113.9");
    assert_eq!(asks("for=203.0.113.9, for=10.1.2.3"), "203.0.113.9");
    assert_eq!(asks("for=203.0.113.9, for=_hidden, for=10.1.2.3"), "10.1.2.3");
    assert_eq!(asks("for=unknown"), "127.0.0.1");
    // What a client has begun, and the proxy went on with.
    assert_eq!(asks("for=\", for=203.0.113.9"), "203.0.113.9");
    assert_eq!(asks("host=\"a\\\",for=1.2.3.4;b=\", for=203.0.113.9"), "203.0.113.9");
    let both = [("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "203.0.113.9")];
    assert_eq!(ask("127.0.0.1", &both).0, "203.0.113.9");
}

#[test]
fn proxies_say_what_was_asked_of_them() {
    let front = |is_secure: Option<bool>, host: Option<&str>| ForwardedOrigin {
        is_secure,
        host: host.map(str::to_owned),
    };
    let says = |headers: &[(&'static str, &str)]| ask("127.0.0.1", headers).1;
    let (client, proto, host) = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host");
    assert_eq!(says(&[(client, "203.0.113.9")]), ForwardedOrigin::default());
    let all = [(client, "203.0.113.9"), (proto, "https"), (host, "a.example:8443")];
    assert_eq!(says(&all), front(Some(true), Some("a.example:8443")));
    assert_eq!(ask("192.0.2.1", &all).1, ForwardedOrigin::default(), "it is not a trusted proxy");
    // Each proxy has added to each list; the client before them, too.
    let lists = [(client, "1.2.3.4, 203.0.113.9, 10.1.1.1"), (proto, "http, https, http")];
    assert_eq!(says(&lists), front(Some(true), None));
    // Only the first proxy has written one.
    let one = [(client, "203.0.113.9, 10.1.1.1"), (proto, "https")];
    assert_eq!(says(&one), front(Some(true), None));
    assert_eq!(says(&[(proto, "gopher"), (host, "a@b")]), ForwardedOrigin::default());
    let forwarded = "for=203.0.113.9;proto=https;host=\"a.example:8443\", for=10.1.1.1;proto=http";
    let expected = front(Some(true), Some("a.example:8443"));
    assert_eq!(says(&[("forwarded", forwarded)]), expected);
}

proptest! {
    /// Whatever a client has sent before, what the trusted proxy adds counts.
    #[test]
    fn what_a_client_writes_changes_nothing(sent in "[ -~]{0,60}", port in any::<u16>()) {
        let added = format!("{sent}, 203.0.113.9:{port}");
        prop_assert_eq!(ask("127.0.0.1", &[("x-forwarded-for", &added)]).0, "203.0.113.9");
        let added = format!("{sent}, for=\"203.0.113.9:{port}\";proto=https");
        let (client, front) = ask("127.0.0.1", &[("forwarded", &added)]);
        prop_assert_eq!((client.as_str(), front.is_secure), ("203.0.113.9", Some(true)));
    }

    #[test]
    fn any_text_is_read(text in any::<String>()) {
        let _ = Node::parse(&text);
        let elements = Element::all(&text).count();
        prop_assert!(elements > 0);
    }

    #[test]
    fn an_address_is_read_with_a_port_and_without(v6 in any::<[u8; 16]>(), port in any::<u16>()) {
        let address = Ipv6Addr::from(v6);
        for text in [format!("{address}"), format!("[{address}]"), format!("[{address}]:{port}")] {
            prop_assert_eq!(Node::parse(&text), Ok(Node::Address(address.into())));
        }
    }
}
