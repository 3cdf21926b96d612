//! Programs that the server sends requests to: `--authorize-url` and `--events-url` by POST, the issuer of `--jwks` by GET.
//!
//! - this file: where such a program is, and how it is connected to.
//! - [`signature`]: what the program recognises this server by.

mod signature;

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use sockeye::{Address, tls::ClientTls};
use sockeye_client::internals::Endpoint;

#[cfg(test)]
pub(super) use self::signature::MIN_SECRET;
pub(super) use self::signature::Secret;

/// The URL of a program.
pub(super) fn url(text: &str) -> Result<Address, String> {
    const HOW: &str =
        "write the URL as https://app.example.org/sockeye or http://127.0.0.1:3000/sockeye";
    let text = text.trim();
    if !["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
        return Err(HOW.to_owned());
    }
    text.parse().map_err(|_| HOW.to_owned())
}

/// Where it is, for people to read: without a password, and without a query, which may have a secret.
pub(super) fn name(address: &Address) -> String {
    let mut url = address.url().clone();
    let _ = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    url.as_str().replacen("ws", "http", 1)
}

/// The secret in the file that a flag names.
pub(super) fn secret(flag: &str, file: Option<&Path>) -> anyhow::Result<Option<Secret>> {
    let read =
        |file: &Path| Secret::from_file(file).with_context(|| format!("{flag} {}", file.display()));
    file.map(read).transpose()
}

/// What certificates are checked with: the authorities in the file that a flag names, or else the system's.
pub(super) fn tls(flag: &str, file: Option<&Path>) -> anyhow::Result<ClientTls> {
    let Some(file) = file else { return Ok(ClientTls::new()) };
    let tls = ClientTls::new().without_system_roots().root_file(file);
    tls.with_context(|| format!("{flag} {}", file.display()))
}

/// The way to a program. Nothing is sent to it yet. Proxies of the environment are not used.
pub(super) fn endpoint(
    address: &Address,
    tls: ClientTls,
    timeout: Duration,
) -> anyhow::Result<Endpoint> {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json.clone());
    headers.insert(ACCEPT, json);
    let agent = concat!("sockeye/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    if let Some(credentials) = address.authorization() {
        headers.insert(AUTHORIZATION, credentials);
    }
    let endpoint = Endpoint::new(address, headers)
        .connect_timeout(timeout)
        .answer_timeout(timeout)
        .connect_with(move |client| client.tls(tls.clone()).no_proxy());
    endpoint.client(&[])?;
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_a_program_is_one_of_http() {
        for good in ["http://127.0.0.1:3000/a", " https://user:secret@app.example/a?key=secret"] {
            assert!(!name(&url(good).unwrap()).contains("secret"));
        }
        assert_eq!(name(&url("https://app.example/a").unwrap()), "https://app.example/a");
        for bad in ["", "app.example", "ws://app.example", "unix:/a", "http://", "http://a/#b"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
