//! What a process is told of its client: the variables of CGI (RFC 3875), as websocketd has them.

use std::{ffi::OsString, net::SocketAddr, os::unix::ffi::OsStringExt};

use http::{
    HeaderMap, HeaderName, Request, Uri, Version,
    header::{
        AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, PROXY_AUTHORIZATION,
        SEC_WEBSOCKET_PROTOCOL,
    },
};
use percent_encoding::percent_decode_str;

use super::access::is_token;

/// Where a request came from and to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) is_secure: bool,
}

/// Headers that are not passed on: credentials (RFC 3875 §4.1.18), what has variables of its own, and `Proxy`,
/// which would be `HTTP_PROXY` and send the requests of the process to a server of the client's choice.
const WITHHELD: [HeaderName; 5] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy"),
    CONTENT_LENGTH,
    CONTENT_TYPE,
];

/// What old versions of bash take for the definition of a function, and run what stands behind it (CVE-2014-6271).
const FUNCTION: &[u8] = b"() {";

/// The variables; `None` if the path has a NUL in it, which none can have.
pub(super) fn variables<B>(request: &Request<B>, link: Link) -> Option<Vec<(String, OsString)>> {
    let uri = request.uri();
    let path: Vec<u8> = percent_decode_str(uri.path()).collect();
    if path.contains(&0) {
        return None;
    }
    let protocol = if request.version() == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" };
    let address = link.peer.ip().to_canonical().to_string();
    let mut variables: Vec<(String, OsString)> = [
        ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
        ("SERVER_SOFTWARE", concat!("sockeye/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("SERVER_NAME", host(request).unwrap_or_else(|| link.local.ip().to_string())),
        ("SERVER_PORT", link.local.port().to_string()),
        ("SERVER_PROTOCOL", protocol.to_owned()),
        // Over HTTP/2 it is CONNECT, which no program expects.
        ("REQUEST_METHOD", "GET".to_owned()),
        ("REQUEST_URI", request_uri(uri)),
        ("SCRIPT_NAME", String::new()),
        ("QUERY_STRING", uri.query().unwrap_or_default().to_owned()),
        ("REMOTE_ADDR", address.clone()),
        ("REMOTE_HOST", address),
        ("REMOTE_PORT", link.peer.port().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), OsString::from(value)))
    .into();
    variables.push(("PATH_INFO".to_owned(), OsString::from_vec(path)));
    if link.is_secure {
        variables.push(("HTTPS".to_owned(), "on".into()));
    }
    variables.retain(|(_, value)| !is_function(value.as_encoded_bytes()));
    variables.extend(headers(request.headers()));
    Some(variables)
}

/// The headers, `HTTP_` before their names. A name with `_` in it would pass for one with `-`, and is left out.
fn headers(headers: &HeaderMap) -> impl Iterator<Item = (String, OsString)> {
    let names = headers.keys().filter(|name| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !WITHHELD.contains(name) && name.as_str().bytes().all(is_plain)
    });
    names.filter_map(|name| {
        let all = headers.get_all(name).iter().map(|value| value.as_bytes().to_vec());
        let value = match *name {
            COOKIE => all.collect::<Vec<_>>().join(&b"; "[..]),
            SEC_WEBSOCKET_PROTOCOL => {
                let offered = all.collect::<Vec<_>>().join(&b","[..]);
                let offered = String::from_utf8_lossy(&offered).into_owned();
                let names = offered.split(',').map(str::trim);
                names.filter(|name| !is_token(name)).collect::<Vec<_>>().join(", ").into_bytes()
            }
            _ => all.collect::<Vec<_>>().join(&b", "[..]),
        };
        let name = format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_"));
        (!is_function(&value)).then(|| (name, OsString::from_vec(value)))
    })
}

fn is_function(value: &[u8]) -> bool {
    value.starts_with(FUNCTION)
}

/// The path and the query, as they came.
pub(super) fn request_uri(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)
}

/// The name by which the client knows this server.
fn host<B>(request: &Request<B>) -> Option<String> {
    let authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => request.headers().get(HOST)?.to_str().ok()?.parse().ok()?,
    };
    Some(authority.host().to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn told(request: http::request::Builder) -> HashMap<String, OsString> {
        let link = Link {
            peer: "[::ffff:192.0.2.7]:4711".parse().unwrap(),
            local: "127.0.0.1:9001".parse().unwrap(),
            is_secure: true,
        };
        variables(&request.body(()).unwrap(), link).unwrap().into_iter().collect()
    }

    #[test]
    fn a_request_is_told_as_cgi_has_it() {
        let told = told(
            Request::builder()
                .uri("/a%20b?x=1&y=%3D")
                .header("host", "example.org:9001")
                .header("x-room", "lobby")
                .header("x-room", "bar")
                .header("cookie", "a=1")
                .header("cookie", "b=2"),
        );
        for (name, value) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_NAME", "example.org"),
            ("SERVER_PORT", "9001"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/a%20b?x=1&y=%3D"),
            ("PATH_INFO", "/a b"),
            ("SCRIPT_NAME", ""),
            ("QUERY_STRING", "x=1&y=%3D"),
            ("REMOTE_ADDR", "192.0.2.7"),
            ("REMOTE_PORT", "4711"),
            ("HTTPS", "on"),
            ("HTTP_X_ROOM", "lobby, bar"),
            ("HTTP_COOKIE", "a=1; b=2"),
        ] {
            assert_eq!(told.get(name).and_then(|value| value.to_str()), Some(value), "{name}");
        }
    }

    #[test]
    fn credentials_a_proxy_look_alikes_and_functions_are_withheld() {
        let told = told(
            Request::builder()
                .uri("/")
                .header("authorization", "Bearer secret")
                .header("proxy", "http://evil.example")
                .header("x_room", "look-alike")
                .header("user-agent", "() { :;}; echo vulnerable")
                .header("sec-websocket-protocol", "chat, bearer.secret"),
        );
        for name in ["HTTP_AUTHORIZATION", "HTTP_PROXY", "HTTP_X_ROOM", "HTTP_USER_AGENT"] {
            assert_eq!(told.get(name), None, "{name}");
        }
        assert_eq!(told["HTTP_SEC_WEBSOCKET_PROTOCOL"], "chat");
    }

    #[test]
    fn a_path_with_a_nul_cannot_be_told() {
        let request = Request::builder().uri("/a%00b").body(()).unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        let link = Link { peer: address, local: address, is_secure: false };
        assert!(variables(&request, link).is_none());
    }
}
