//! Requests: any head gives an offer or a refusal, however it is cut, the same with a map of its fields and
//! without; an offer is answered rightly, and a refusal is one HTTP answer that no client takes for consent.
#![no_main]

use arbitrary::Arbitrary;
use bytes::BytesMut;
use http::{HeaderMap, Request};
use libfuzzer_sys::fuzz_target;
use sockeye_proto::handshake::{
    ClientHandshake, ClientRequest, HeadLimits, Offer, Refusal, RequestHead, ResponseError,
    ServerHandshake, accept_key, encode_response, is_token,
};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    limits: Option<(u16, u16, u8)>,
    lines: Vec<Line<'a>>,
    behind: &'a [u8],
    cut: u8,
}

#[derive(Debug, Arbitrary)]
enum Line<'a> {
    Get,
    Host,
    Upgrade,
    Connection,
    Key,
    Version,
    Subprotocols(&'a str),
    Extensions(&'a str),
    Raw(&'a [u8]),
}

fn head(lines: &[Line<'_>]) -> Vec<u8> {
    let mut head = Vec::new();
    for line in lines {
        match line {
            Line::Get => head.extend_from_slice(b"GET /a?b HTTP/1.1"),
            Line::Host => head.extend_from_slice(b"Host: h"),
            Line::Upgrade => head.extend_from_slice(b"Upgrade: websocket"),
            Line::Connection => head.extend_from_slice(b"Connection: Upgrade"),
            Line::Key => head.extend_from_slice(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            Line::Version => head.extend_from_slice(b"Sec-WebSocket-Version: 13"),
            Line::Subprotocols(list) => {
                head.extend_from_slice(b"Sec-WebSocket-Protocol: ");
                head.extend_from_slice(list.as_bytes());
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

/// With the head, what is left behind it.
type Outcome = Result<(RequestHead, Vec<u8>), Refusal>;

/// Feeds the bytes in pieces.
fn read(bytes: &[u8], limits: HeadLimits, cut: usize) -> Option<Outcome> {
    let mut handshake = ServerHandshake::new(limits);
    let mut input = BytesMut::new();
    let mut pieces = bytes.chunks(cut);
    while let Some(piece) = pieces.next() {
        input.extend_from_slice(piece);
        match handshake.poll_head(&mut input) {
            Ok(None) => {}
            Ok(Some(head)) => {
                let later: Vec<u8> = pieces.flatten().copied().collect();
                return Some(Ok((head, [&input[..], &later].concat())));
            }
            Err(refusal) => return Some(Err(refusal)),
        }
    }
    None
}

fn check_offer(request: &Request<()>, offer: &Offer) {
    let key = request.headers()["sec-websocket-key"].to_str().expect("it was checked");
    assert!(offer.subprotocols().all(is_token));
    for chosen in [None, offer.subprotocols().next()] {
        let answer = offer.accept(chosen, HeaderMap::new()).expect("it was offered");
        let encoded = offer.accept_encoded(chosen, HeaderMap::new()).expect("it was offered");
        assert_eq!(encoded, encode_response(&answer.clone().map(|()| "")));
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()["sec-websocket-accept"], accept_key(key.trim()));
        let protocol = answer.headers().get("sec-websocket-protocol");
        assert_eq!(protocol.map(|value| value.as_bytes()), chosen.map(str::as_bytes));
    }
}

fn check_refusal(refusal: &Refusal) {
    assert!(refusal.status().is_client_error() || refusal.status().is_server_error());
    let request = ClientRequest::new("h".parse().expect("a host"), "/".parse().expect("a path"));
    let mut client = ClientHandshake::new(request, [0; 16]).expect("a valid request");
    let mut answer = BytesMut::from(&refusal.encode()[..]);
    let told = client.poll_response(&mut answer).expect_err("it was refused");
    let ResponseError::Status(told) = told else { panic!("{told}") };
    assert_eq!(told.status(), refusal.status());
    assert_eq!(told.headers()["content-length"], answer.len().to_string().as_str());
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
    match whole {
        None => {}
        Some(Err(refusal)) => check_refusal(&refusal),
        Some(Ok((head, _))) => {
            let (request, offer) = (head.to_request(), Offer::from_head(&head));
            let of_request = Offer::from_request(&request);
            assert_eq!(format!("{offer:?}"), format!("{of_request:?}"));
            match offer {
                Ok(offer) => check_offer(&request, &offer),
                Err(refusal) => check_refusal(&refusal),
            }
        }
    }
});
