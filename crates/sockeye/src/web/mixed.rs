//! Mixed content: what an encrypted page may not open.

use std::net::IpAddr;

use url::Url;

use crate::Address;

/// Whether a page at this address may open that WebSocket: one of `https:` opens none that is not
/// encrypted, save to this machine (Mixed Content §4.3, Secure Contexts §3.1).
pub(super) fn is_allowed(page: Option<&Url>, address: &Address) -> bool {
    let is_secure = page.is_some_and(|page| ["https", "wss"].contains(&page.scheme()));
    !is_secure || address.is_secure() || is_this_machine(&address.host())
}

fn is_this_machine(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_loopback = |address: IpAddr| address.is_loopback();
    name == "localhost" || name.ends_with(".localhost") || host.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: A18.
    #[test]
    fn an_encrypted_page_opens_nothing_else_save_to_this_machine() {
        let is_allowed = |page: Option<&str>, url: &str| {
            let page = page.map(|page| page.parse().unwrap());
            is_allowed(page.as_ref(), &url.parse().unwrap())
        };
        for url in [
            "wss://h.example/",
            "ws://localhost/",
            "ws://a.localhost./",
            "ws://127.1.2.3:80/",
            "ws://[::1]/",
        ] {
            assert!(is_allowed(Some("https://h.example/"), url), "{url}");
        }
        for url in ["ws://h.example/", "ws://10.0.0.1/", "ws://localhost.example/", "ws://[::2]/"] {
            assert!(!is_allowed(Some("https://h.example/"), url), "{url}");
            assert!(!is_allowed(Some("wss://h.example/"), url), "{url}");
            assert!(is_allowed(Some("http://h.example/"), url), "{url}");
            assert!(is_allowed(None, url), "{url}");
        }
    }
}
