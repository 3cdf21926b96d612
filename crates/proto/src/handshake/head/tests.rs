//! A head that is read without a map is accepted and refused as one whose map is made at once, and says the same.

use http::{Method, Request, Uri};
use proptest::prelude::*;

use super::*;
use crate::{DeflateConfig, handshake::Offer};

const LINES: [&str; 22] = [
    "Host: example.org",
    "host: example.org:80",
    "HOST: a@b",
    "Upgrade: websocket",
    "uPGRADE: h2c, WebSocket",
    "Connection: keep-alive, Upgrade",
    "Connection:",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Version: 8",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    "sec-websocket-extensions: x-a, permessage-deflate",
    "Sec-WebSocket-Extensions: ;",
    "Sec-WebSocket-Protocol: chat, superchat",
    "Sec-WebSocket-Protocol: a b",
    "Content-Length: 0",
    "Content-Length: 1",
    "Transfer-Encoding: chunked",
    "Transfer-Encodinh: chunked",
    "Origin: https://example.org",
    "X: \u{e9}\t",
];

/// The head as a request whose map is made at once, with the libraries that `RequestHead` promises to agree with.
fn reference(head: &[u8], limits: HeadLimits) -> Result<Request<()>, MalformedHead> {
    let reader = HeadReader::new(limits);
    let head = Bytes::copy_from_slice(head);
    let mut fields = vec![httparse::EMPTY_HEADER; limits.fields];
    let mut parsed = httparse::Request::new(&mut fields);
    let result = parsed.parse(&head);
    if result == Err(httparse::Error::Version) && !names_version(&head) {
        return Err(MalformedHead::Syntax("its first line is malformed"));
    }
    reader.require_complete(result)?;
    let target = parsed.path.unwrap_or_default();
    if target.contains('#') {
        return Err(MalformedHead::Syntax("the target has a fragment"));
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| MalformedHead::Syntax("the method is not a token"))?;
    *request.uri_mut() =
        Uri::try_from(target).map_err(|_| MalformedHead::Syntax("the target is not a URI"))?;
    *request.version_mut() = version(parsed.version);
    *request.headers_mut() = reader.header_map(&head, parsed.headers)?;
    Ok(request)
}

fn check(lines: &[Vec<u8>], limits: HeadLimits) {
    let head = [&lines.join(&b"\r\n"[..])[..], b"\r\n\r\n"].concat();
    let mut reader = HeadReader::new(limits);
    let mut input = BytesMut::from(&head[..]);
    // What is refused for its size, for the ends of its lines, or as TLS is not parsed.
    let Ok(Some(end)) = reader.find_end(&input) else { return };
    let wanted = reference(&head[..end], limits);
    let read = HeadReader::new(limits).poll_request(&mut input);
    let (read, wanted) = match (read, wanted) {
        (Ok(Some(read)), Ok(wanted)) => (read, wanted),
        (read, wanted) => {
            assert_eq!(read.err(), wanted.err(), "{:?}", head.escape_ascii().to_string());
            return;
        }
    };
    assert_eq!(format!("{:?}", read.to_request()), format!("{wanted:?}"));
    assert_eq!((read.path(), read.query()), (wanted.uri().path(), wanted.uri().query()));
    assert_eq!(read.authority(), wanted.uri().authority().map(|authority| authority.as_str()));
    for name in wanted.headers().keys() {
        let values = wanted.headers().get_all(name).iter().map(HeaderValue::as_bytes);
        assert!(read.values(name).eq(values), "{name}");
    }
    let offers = (Offer::from_head(&read), Offer::from_request(&wanted));
    assert_eq!(format!("{:?}", offers.0), format!("{:?}", offers.1));
    if let (Ok(offer), _) = offers {
        check_answers(offer);
    }
}

/// What is written without a map is what a map is written as.
fn check_answers(mut offer: Offer) {
    let mut added = HeaderMap::new();
    added.insert("x-b-c", HeaderValue::from_static("d"));
    added.append("x-b-c", HeaderValue::from_static("e"));
    let first = offer.subprotocols().next().map(str::to_owned);
    for agrees in [false, true] {
        for headers in [HeaderMap::new(), added.clone()] {
            for chosen in [None, first.as_deref(), Some("not offered")] {
                let encoded = offer.accept_encoded(chosen, headers.clone());
                let accepted = offer.accept(chosen, headers.clone());
                assert_eq!(encoded, accepted.map(|it| encode_response(&it.map(|()| ""))));
            }
        }
        if !agrees {
            let _ = offer.agree_deflate(&DeflateConfig::default());
        }
    }
    let reserved = HeaderMap::from_iter([(http::header::UPGRADE, HeaderValue::from_static("a"))]);
    assert_eq!(
        offer.accept_encoded(None, reserved.clone()).err(),
        offer.accept(None, reserved).err()
    );
}

fn first_line() -> impl Strategy<Value = Vec<u8>> {
    let target = prop_oneof![
        4 => "/[a-z/?=&%.:~_-]{0,12}".prop_map(String::from),
        1 => "[!-~]{0,12}".prop_map(String::from),
        1 => "(https?://)?[a-z.@:0-9]{1,10}(/[!-~]{0,6})?".prop_map(String::from),
    ];
    let method = prop_oneof![4 => Just("GET".to_owned()), 1 => "[A-Z!-/]{0,4}"];
    let version = prop_oneof![6 => Just("HTTP/1.1"), 1 => Just("HTTP/1.0"), 1 => Just("HTTP/2")];
    let line = (method, target, version);
    line.prop_map(|(method, target, version)| format!("{method} {target} {version}").into_bytes())
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::sample::select(&LINES[..]).prop_map(|line| line.as_bytes().to_vec()),
        1 => "[!-~]{0,24}: ?[ -~]{0,12}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

/// The lines of a request that is right.
fn right() -> Vec<Vec<u8>> {
    let fields = [LINES[0], LINES[3], LINES[5], LINES[7], LINES[9], LINES[11], LINES[14]];
    let lines = ["GET /chat?room=1 HTTP/1.1"].into_iter().chain(fields);
    lines.map(|line| line.as_bytes().to_vec()).collect()
}

proptest! {
    #[test]
    fn a_head_says_the_same_with_a_map_and_without(
        first in first_line(),
        fields in proptest::collection::vec(field(), 0..12),
        limit in 0..12_usize,
    ) {
        let lines: Vec<_> = [first].into_iter().chain(fields).collect();
        check(&lines, HeadLimits::default());
        check(&lines, HeadLimits::default().fields(limit));
    }

    #[test]
    fn a_request_that_is_nearly_right_is_read_alike(
        first in first_line(),
        replaced in proptest::option::of((0..8_usize, field())),
        added in proptest::option::of(field()),
    ) {
        let mut lines = right();
        if first[0].is_ascii_lowercase() || first.len() % 2 == 0 {
            lines[0] = first;
        }
        if let Some((line, new)) = replaced.filter(|(line, _)| *line > 0) {
            lines[line] = new;
        }
        lines.extend(added);
        check(&lines, HeadLimits::default());
    }
}

#[test]
fn each_byte_is_read_alike_in_each_place() {
    check(&right(), HeadLimits::default());
    for byte in 0..=255_u8 {
        for line in [0, 2, 4] {
            for place in 0..right()[line].len() {
                let mut lines = right();
                lines[line][place] = byte;
                check(&lines, HeadLimits::default());
            }
        }
    }
}

#[test]
fn names_and_targets_of_any_length_are_read_alike() {
    let limits = HeadLimits::default().bytes(1 << 20).line(1 << 20).fields(40_000);
    for length in [32 << 10, (32 << 10) + 1, 65_534, 65_535, 65_536] {
        let mut lines = right();
        lines[0] = format!("GET /{} HTTP/1.1", "a".repeat(length - 1)).into_bytes();
        check(&lines, limits);
        lines[0] = b"GET / HTTP/1.1".to_vec();
        lines.push(format!("{}: a", "a".repeat(length)).into_bytes());
        check(&lines, limits);
    }
    for count in [24_568, 24_569, 24_570, 32_768] {
        let mut lines = right();
        lines.resize(lines.len() + count, b"a: b".to_vec());
        check(&lines, limits);
    }
}

/// Names for which a map of their number wants to grow beyond what any map may have: many want the same places.
#[test]
fn names_chosen_for_their_places_in_a_map_are_refused_and_no_map_fails_later() {
    let place = |name: &str| {
        // The discriminant of a name that is not a standard one, and its bytes, by FNV-1a.
        let bytes = 1_u64.to_ne_bytes().into_iter().chain(name.bytes());
        let next = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        bytes.fold(0xcbf2_9ce4_8422_2325, next) & 0x7fff
    };
    let limits = HeadLimits::default().bytes(1 << 20).fields(40_000);
    let head = |names: &[String]| {
        let fields = names.iter().map(|name| format!("{name}: a\r\n")).collect::<String>();
        format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes()
    };
    let read = |names: &[String]| {
        HeadReader::new(limits).poll_request(&mut BytesMut::from(&head(names)[..]))
    };
    let (near, mut names): (Vec<_>, Vec<_>) =
        (0..200_000).map(|number| format!("x{number}")).partition(|name| place(name) < 256);
    names.truncate(6600);
    names.extend(near.into_iter().take(800));
    assert_eq!(reference(&head(&names), limits).err(), Some(MalformedHead::Fields(40_000)));
    assert_eq!(read(&names).err(), Some(MalformedHead::Fields(40_000)));

    // As many as always fit, of which a map can be made whatever they are.
    let fitting = &names[names.len() - ALWAYS_FIT..];
    let request = read(fitting).unwrap().expect("it is complete").to_request();
    assert_eq!(request.headers().len(), ALWAYS_FIT);
}
