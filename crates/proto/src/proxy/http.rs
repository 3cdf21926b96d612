//! HTTP CONNECT: asks a proxy for a tunnel (RFC 9110 §9.3.6, RFC 6455 §4.1).

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode, uri::Authority};

use super::Credentials;
use crate::handshake::{HeadLimits, HeadReader, MalformedHead};

/// Opens a tunnel through an HTTP proxy, from the client's side.
///
/// ```
/// use bytes::BytesMut;
/// use sockeye_proto::proxy::HttpConnect;
///
/// let mut connect = HttpConnect::new(&"example.org:443".parse().unwrap(), None);
/// assert!(connect.request().starts_with(b"CONNECT example.org:443 HTTP/1.1\r\n"));
/// let mut input = BytesMut::from("HTTP/1.1 200 OK\r\n\r\nbytes of the tunnel");
/// assert!(connect.poll_response(&mut input).unwrap().is_some());
/// assert_eq!(input, "bytes of the tunnel");
/// ```
#[derive(Debug)]
pub struct HttpConnect {
    request: Bytes,
    reader: HeadReader,
}

impl HttpConnect {
    /// Asks for a tunnel to a host and port, which must both be there (an IPv6 address in brackets).
    /// Credentials are sent at once (Basic, RFC 7617): a proxy that wants none ignores them.
    pub fn new(target: &Authority, credentials: Option<&Credentials>) -> Self {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(Credentials { user, password }) = credentials {
            let pair = STANDARD.encode([user, &b":"[..], password].concat());
            request += &format!("Proxy-Authorization: Basic {pair}\r\n");
        }
        request += concat!("User-Agent: sockeye/", env!("CARGO_PKG_VERSION"), "\r\n\r\n");
        Self { request: request.into(), reader: HeadReader::new(HeadLimits::default()) }
    }

    /// The request, to be sent as it is.
    pub fn request(&self) -> &Bytes {
        &self.request
    }

    /// Checks the response, once its head is complete; what is left in `input` then comes through
    /// the tunnel. Call it again after appending more bytes. An error is final.
    ///
    /// A body that the response announces is not there: such fields have no meaning in an answer
    /// with 2xx (RFC 9110 §9.3.6).
    ///
    /// # Errors
    ///
    /// When it is not a head of HTTP, too long, or has another status than 2xx.
    pub fn poll_response(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<Response<()>>, HttpConnectError> {
        let Some(response) = self.reader.poll_final_response(input)? else { return Ok(None) };
        match response.status() {
            status if status.is_success() => Ok(Some(response)),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(HttpConnectError::Authentication(Box::new(response)))
            }
            _ => Err(HttpConnectError::Status(Box::new(response))),
        }
    }
}

/// The proxy does not open a tunnel.
#[derive(Debug, thiserror::Error)]
pub enum HttpConnectError {
    /// It wants to know a user, and does not know the one given, if one was (407).
    #[error("it asks for other credentials (407)")]
    Authentication(Box<Response<()>>),
    /// Not HTTP, or too long.
    #[error(transparent)]
    Head(#[from] MalformedHead),
    /// Another status than 2xx and 407.
    #[error("it answered {}", .0.status())]
    Status(Box<Response<()>>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(target: &str, credentials: Option<&Credentials>) -> HttpConnect {
        HttpConnect::new(&target.parse().unwrap(), credentials)
    }

    fn answer(text: &str) -> Result<Option<Response<()>>, HttpConnectError> {
        ask("h:80", None).poll_response(&mut BytesMut::from(text))
    }

    /// Rule: X2.
    #[test]
    fn the_request_names_the_target_twice_and_nothing_of_a_websocket() {
        let request = ask("[::1]:9001", None);
        let expected = concat!(
            "CONNECT [::1]:9001 HTTP/1.1\r\nHost: [::1]:9001\r\nUser-Agent: sockeye/",
            env!("CARGO_PKG_VERSION"),
            "\r\n\r\n"
        );
        assert_eq!(request.request(), expected);
    }

    /// Rule: X2.
    #[test]
    fn credentials_are_sent_as_basic_authentication() {
        let credentials = Credentials { user: b"ann".to_vec(), password: b"a:b".to_vec() };
        let request = ask("h:80", Some(&credentials));
        let text = String::from_utf8(request.request().to_vec()).unwrap();
        let line = format!("\r\nProxy-Authorization: Basic {}\r\n", STANDARD.encode("ann:a:b"));
        assert!(text.contains(&line), "{text}");
        assert!(!format!("{credentials:?}").contains("password"));
    }

    /// Rule: X3.
    #[test]
    fn any_2xx_opens_the_tunnel_and_what_follows_belongs_to_it() {
        for status in [200, 201, 204, 299] {
            let text = format!("HTTP/1.1 {status} x\r\nContent-Length: 4\r\n\r\nabcd");
            for cut in 0..text.len() - 4 {
                let mut connect = ask("h:80", None);
                let mut input = BytesMut::from(&text[..cut]);
                assert!(connect.poll_response(&mut input).unwrap().is_none());
                input.extend_from_slice(&text.as_bytes()[cut..]);
                assert!(connect.poll_response(&mut input).unwrap().is_some());
                assert_eq!(input, "abcd");
            }
        }
        assert!(answer("HTTP/1.0 200 ok\r\n\r\n").unwrap().is_some());
    }

    /// Rule: X4.
    #[test]
    fn every_other_status_is_told() {
        let error = answer("HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n").unwrap_err();
        assert!(matches!(error, HttpConnectError::Authentication(_)));
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ok\r\n\r\n";
        assert!(answer(text).unwrap().is_some(), "an interim response is skipped");
        for status in [101, 301, 400, 403, 502] {
            let error = answer(&format!("HTTP/1.1 {status} x\r\n\r\n")).unwrap_err();
            assert!(error.to_string().contains(&status.to_string()), "{error}");
        }
    }

    /// Rule: X5.
    #[test]
    fn a_head_without_end_is_refused() {
        let text = format!("HTTP/1.1 200 x\r\n{}", "a: b\r\n".repeat(4 << 10));
        assert!(matches!(answer(&text), Err(HttpConnectError::Head(MalformedHead::Size(_)))));
        assert!(matches!(answer("SSH-2.0-x\r\n\r\n"), Err(HttpConnectError::Head(_))));
    }
}
