//! Responses: any head gives a WebSocket or one error, however it is cut, and no WebSocket without
//! the answer to our key, nor with anything that we did not offer.
#![no_main]

use arbitrary::Arbitrary;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use sockeye_proto::handshake::{
    Accepted, ClientHandshake, ClientRequest, HeadLimits, ResponseError,
};

const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    limits: Option<(u16, u16, u8)>,
    lines: Vec<Line<'a>>,
    behind: &'a [u8],
    cut: u8,
}

#[derive(Debug, Arbitrary)]
enum Line<'a> {
    SwitchingProtocols,
    Upgrade,
    Connection,
    Accept,
    Subprotocol(&'a str),
    Extensions(&'a str),
    Raw(&'a [u8]),
}

fn head(lines: &[Line<'_>]) -> Vec<u8> {
    let mut head = Vec::new();
    for line in lines {
        match line {
            Line::SwitchingProtocols => {
                head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols");
            }
            Line::Upgrade => head.extend_from_slice(b"Upgrade: websocket"),
            Line::Connection => head.extend_from_slice(b"Connection: Upgrade"),
            Line::Accept => {
                head.extend_from_slice(b"Sec-WebSocket-Accept: ");
                head.extend_from_slice(ACCEPT.as_bytes());
            }
            Line::Subprotocol(name) => {
                head.extend_from_slice(b"Sec-WebSocket-Protocol: ");
                head.extend_from_slice(name.as_bytes());
            }
            Line::Extensions(list) => {
                head.extend_from_slice(b"Sec-WebSocket-Extensions: ");
                head.extend_from_slice(list.as_bytes());
            }
            Line::Raw(bytes) => head.extend_from_slice(bytes),
        }
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn client(limits: HeadLimits) -> ClientHandshake {
    let mut request =
        ClientRequest::new("h".parse().expect("a host"), "/".parse().expect("a path"));
    request.subprotocols = vec!["a".to_owned(), "chat".to_owned()];
    request.limits = limits;
    ClientHandshake::new(request, *b"the sample nonce").expect("a valid request")
}

/// With the answer, what is left behind it.
type Outcome = Result<(Accepted, Vec<u8>), ResponseError>;

/// Feeds the bytes in pieces.
fn read(bytes: &[u8], limits: HeadLimits, cut: usize) -> Option<Outcome> {
    let mut handshake = client(limits);
    let mut input = BytesMut::new();
    let mut pieces = bytes.chunks(cut);
    while let Some(piece) = pieces.next() {
        input.extend_from_slice(piece);
        match handshake.poll_response(&mut input) {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let later: Vec<u8> = pieces.flatten().copied().collect();
                return Some(Ok((accepted, [&input[..], &later].concat())));
            }
            Err(error) => return Some(Err(error)),
        }
    }
    None
}

fuzz_target!(|input: Input<'_>| {
    let limits = input.limits.map_or_else(HeadLimits::default, |(bytes, line, fields)| {
        HeadLimits::default().bytes(bytes.into()).line(line.into()).fields(fields.into())
    });
    let bytes = [&head(&input.lines)[..], input.behind].concat();
    let whole = read(&bytes, limits, bytes.len());
    for cut in [1, 1 + usize::from(input.cut)] {
        let pieces = read(&bytes, limits, cut);
        assert_eq!(format!("{pieces:?}"), format!("{whole:?}"));
    }
    let Some(Ok((accepted, _))) = whole else { return };
    assert_eq!(accepted.response.status(), 101);
    assert_eq!(accepted.response.headers()["sec-websocket-accept"], ACCEPT);
    assert!(matches!(accepted.subprotocol.as_deref(), None | Some("a" | "chat")));
});
