//! The opening handshake (RFC 6455 §4) on HTTP/1.1, as text: what is to be wrong is replaced in it.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The key of the example handshake in RFC 6455 §1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The `Sec-WebSocket-Accept` for [`KEY`], from the same example.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A correct request for `path`.
#[must_use]
pub fn request(path: &str) -> String {
    request_with(path, "")
}

/// A correct request for `path` with more header lines, each with its CRLF.
#[must_use]
pub fn request_with(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    )
}

/// The response that opens a WebSocket.
#[must_use]
pub fn response(accept: &str) -> String {
    response_with(accept, "")
}

/// The response that opens a WebSocket, with more header lines, each with its CRLF.
#[must_use]
pub fn response_with(accept: &str, lines: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
    )
}

/// The `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2).
#[must_use]
pub fn accept_for(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest.finalize())
}

/// The head of an HTTP/1.1 request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request line or the status line.
    pub first_line: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Takes a head apart that ends with an empty line, or has none.
    ///
    /// # Panics
    ///
    /// If a header has no colon.
    #[must_use]
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let head = Self::try_parse(text);
        head.unwrap_or_else(|line| panic!("a header without a colon: {line:?}"))
    }

    /// As [`parse`](Self::parse), for heads of peers that are not trusted.
    ///
    /// # Errors
    ///
    /// The line that has no colon.
    pub fn try_parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().take_while(|line| !line.is_empty());
        let first_line = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').ok_or_else(|| line.to_owned())?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Ok(Self { first_line, headers: lines.map(header).collect::<Result<_, String>>()? })
    }

    /// The values of a header, by its name in lower case, in their order.
    pub fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        self.headers.iter().filter(move |header| header.0 == name).map(|header| header.1.as_str())
    }

    /// Reads a head, and nothing beyond it.
    ///
    /// # Errors
    ///
    /// Those of the stream; its end is `UnexpectedEof`, what is not UTF-8 `InvalidData`.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut head = Vec::new();
        while !head.ends_with(END) {
            let mut byte = [0];
            from.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        Self::of(head)
    }

    /// Reads a head, and nothing beyond it.
    ///
    /// # Errors
    ///
    /// Those of the stream; its end is `UnexpectedEof`, what is not UTF-8 `InvalidData`.
    #[cfg(feature = "tokio")]
    pub async fn read_async(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Self> {
        use tokio::io::AsyncReadExt as _;

        let mut head = Vec::new();
        while !head.ends_with(END) {
            head.push(from.read_u8().await?);
        }
        Self::of(head)
    }

    fn of(head: Vec<u8>) -> io::Result<Self> {
        let text = String::from_utf8(head);
        text.map(|text| Self::parse(&text)).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// The status of a response.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> u16 {
        let status = self.first_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {:?}", self.first_line))
    }

    /// The value of a header that stands once, by its name in lower case.
    ///
    /// # Panics
    ///
    /// If it stands twice.
    #[must_use]
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|header| header.0 == name);
        let value = values.next().map(|header| header.1.as_str());
        assert!(values.next().is_none(), "{name} stands twice in {self:?}");
        value
    }
}

/// The end of a head.
const END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_is_answered_as_it_says() {
        assert_eq!(accept_for(KEY), ACCEPT);
        let request = Head::parse(&request("/chat"));
        assert_eq!(request.first_line, "GET /chat HTTP/1.1");
        assert_eq!(request.header("sec-websocket-key"), Some(KEY));
        let response = Head::parse(&response_with(ACCEPT, "Sec-WebSocket-Protocol: chat\r\n"));
        assert_eq!(response.status(), 101);
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT));
        assert_eq!(response.header("sec-websocket-protocol"), Some("chat"));
    }

    #[test]
    fn what_follows_a_head_is_left_in_the_stream() {
        let bytes = response(ACCEPT) + "then";
        let mut rest = bytes.as_bytes();
        assert_eq!(Head::read(&mut rest).unwrap().status(), 101);
        assert_eq!(rest, b"then");
        let error = Head::read(&mut rest).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn what_follows_a_head_is_left_in_tokios_stream() {
        let bytes = response(ACCEPT) + "then";
        let mut rest = bytes.as_bytes();
        assert_eq!(Head::read_async(&mut rest).await.unwrap().status(), 101);
        assert_eq!(rest, b"then");
    }

    #[test]
    #[should_panic(expected = "stands twice")]
    fn a_header_that_stands_twice_is_not_read_as_one() {
        let _ = Head::parse("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n").header("host");
    }
}
