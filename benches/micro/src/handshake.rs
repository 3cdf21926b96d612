//! A server's half of the opening handshake.

use bytes::BytesMut;
use http::HeaderMap;
use sockeye_proto::handshake::{HeadLimits, Offer, ServerHandshake};

/// What Chromium sends.
const REQUEST: &str = "GET /chat HTTP/1.1\r\n\
    Host: example.org\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://example.org\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// A request as it comes, to be answered.
#[derive(Default)]
pub struct Handshake {
    input: BytesMut,
}

impl Handshake {
    /// Reads the request, checks it and writes the answer; gives the answer's length.
    pub fn run(&mut self) -> usize {
        self.input.extend_from_slice(REQUEST.as_bytes());
        let head = ServerHandshake::new(HeadLimits::default()).poll_head(&mut self.input);
        let Ok(Some(head)) = head else { unreachable!("the request is whole and right") };
        let Ok(offer) = Offer::from_head(&head) else { unreachable!("the request is right") };
        let answer = offer.accept_encoded(None, HeaderMap::new());
        answer.expect("nothing special is asked for").len()
    }
}
