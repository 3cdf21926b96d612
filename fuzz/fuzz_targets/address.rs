//! URLs of WebSockets and of proxies: any text is one in normal form, or an error; and nothing of it
//! can break out of a request's head.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye::{Address, Client, Proxy};

fuzz_target!(|text: &str| {
    address(text);
    // Closer to what is one.
    address(&format!("ws://{text}"));
    address(&format!("wss://h.example/{text}"));
    proxy(text);
    proxy(&format!("socks5h://{text}"));
});

fn address(text: &str) {
    let Ok(address) = text.parse::<Address>() else {
        assert!(Client::new(text).is_err());
        return;
    };
    let url = address.url();
    assert!(["ws", "wss"].contains(&url.scheme()) && url.fragment().is_none());
    assert_eq!(address.is_secure(), url.scheme() == "wss");
    assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
    assert!(url.host_str().is_some_and(|host| !host.is_empty()));
    // The normal form means the same.
    assert_eq!(url.as_str().parse(), Ok(address.clone()));
}

fn proxy(text: &str) {
    let Ok(proxy) = text.parse::<Proxy>() else { return };
    let shown = proxy.to_string();
    assert!(!shown.contains('@'), "{shown} has credentials");
    let again: Proxy = shown.parse().expect("what is shown is an address");
    assert_eq!(again.to_string(), shown);
}
