//! Redirects of a handshake (RFC 6455 §4.1, RFC 9110 §15.4): the new address, and whether it gets the
//! credentials.

use http::{Response, StatusCode, header::LOCATION};
use url::{Position, Url};

use super::{Address, ConnectError};

/// The redirect of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) address: Address,
    /// Whether scheme, host and port are the same, so that credentials may be sent.
    pub(crate) same_origin: bool,
}

/// The redirect in a response; `None` if it is something else.
pub(crate) fn redirect<B>(
    from: &Address,
    response: &Response<B>,
) -> Result<Option<Redirect>, ConnectError> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect) else {
        return Ok(None);
    };
    let to = String::from_utf8_lossy(location.as_bytes()).into_owned();
    let Ok(mut url) = from.url().join(&to) else {
        return Err(ConnectError::Redirect { to, reason: "it is not a URL" });
    };
    url.set_fragment(None);
    let same_origin = origin(&url) == origin(from.url());
    // Credentials in a redirect come from the server, not from the user. A URL that cannot have any
    // needs none.
    let keeps = |known: &Url| (known.username().to_owned(), known.password().map(str::to_owned));
    let (user, password) = if same_origin { keeps(from.url()) } else { Default::default() };
    let _ = url.set_username(&user);
    let _ = url.set_password(password.as_deref());
    let address: Address = url.as_str().parse()?;
    if from.is_secure() && !address.is_secure() {
        return Err(ConnectError::Redirect { to, reason: "it leads from wss:// to ws://" });
    }
    Ok(Some(Redirect { address, same_origin }))
}

/// Scheme, host and port; `http` URLs mean `ws` here.
fn origin(url: &Url) -> (bool, String, Option<u16>) {
    let secure = matches!(url.scheme(), "wss" | "https");
    let host = url[Position::BeforeHost..Position::AfterHost].to_owned();
    (secure, host, url.port_or_known_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(from: &str, status: u16, to: &str) -> Result<Option<Redirect>, ConnectError> {
        let response = Response::builder().status(status).header(LOCATION, to).body(()).unwrap();
        redirect(&from.parse().unwrap(), &response)
    }

    /// Rule: N11.
    #[test]
    fn only_the_same_scheme_host_and_port_are_the_same_origin() {
        let cases = [
            ("ws://h/a", "/b", "ws://h/b", true),
            ("ws://ann:pw@h/a", "b", "ws://ann:pw@h/b", true),
            ("ws://ann:pw@h/a", "http://h/b", "ws://ann:pw@h/b", true),
            ("ws://ann:pw@h/a", "ws://eve:x@h:80/b#c", "ws://ann:pw@h/b", true),
            ("ws://ann:pw@h/a", "//other/b", "ws://other/b", false),
            ("ws://ann:pw@h/a", "ws://eve:x@other/", "ws://other/", false),
            ("ws://h/", "ws://h:81/", "ws://h:81/", false),
            ("ws://h/", "ws://sub.h/", "ws://sub.h/", false),
            ("ws://h/", "wss://h/", "wss://h/", false),
            ("wss://h/", "https://h:443/b", "wss://h/b", true),
        ];
        for (from, to, url, same_origin) in cases {
            let redirect = follow(from, 302, to).unwrap().unwrap();
            let seen = (redirect.address.url().as_str(), redirect.same_origin);
            assert_eq!(seen, (url, same_origin), "{from} {to}");
        }
    }

    /// Rule: N11.
    #[test]
    fn a_redirect_out_of_tls_is_refused() {
        for to in ["ws://h/", "http://h/", "ws://other/"] {
            assert!(matches!(follow("wss://h/", 302, to), Err(ConnectError::Redirect { .. })));
        }
    }

    #[test]
    fn only_the_statuses_with_a_location_are_redirects() {
        for status in [301, 302, 303, 307, 308] {
            assert!(follow("ws://h/", status, "/b").unwrap().is_some(), "{status}");
        }
        for status in [200, 201, 300, 304, 401, 503] {
            assert!(follow("ws://h/", status, "/b").unwrap().is_none(), "{status}");
        }
        assert!(follow("ws://h/", 302, "ftp://h/").is_err());
        assert!(follow("ws://h/", 302, "ws://").is_err());
    }
}
