//! Connections that stop in the middle of something large: what they announced costs nothing, on any
//! road.
#![expect(clippy::print_stderr, reason = "the figures, for people that measure")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sockeye_testing::frame::{
    BINARY, CONTINUATION, FIN, Frame, PING, PONG, TEXT, header, mask, masked,
};
use sockeye_testing::handshake::{request, request_with};
use sockeye_testing::http2::{self, DATA, END_HEADERS, HEADERS, SETTINGS};
use sockeye_testing::{PATIENCE, eventually};
use sockeye_tests::idle;
use sockeye_tests::program::Sockeye;
use sockeye_tests::tls::Certificates;

/// Connections that are measured, and those before them that are not.
const CONNECTIONS: usize = 500;
const WARM_UP: usize = 100;
/// The first byte of a compressed message.
const COMPRESSED: u8 = BINARY | 0x40;

/// What a connection may hold for a byte that came, beside what an idle one holds.
const LITTLE: u64 = 2 << 10;
/// The state and the window of a decompression that has begun.
const INFLATER: u64 = 56 << 10;

/// What a client may cost that has sent 16 KiB and no token.
const STRANGER: u64 = 48 << 10;

/// What a connection may cost in all in the middle of a request.
const REQUEST: u64 = 32 << 10;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}
type BoxedStream = Box<dyn Stream>;

/// The growth of the server's memory for each connection by `bytes`, with a ping before them: its
/// pong says that the server has read them.
fn growth(server: &Sockeye, mut open: impl FnMut(usize) -> BoxedStream, bytes: &[u8]) -> u64 {
    let stop = |streams: &mut [BoxedStream]| {
        for stream in streams {
            let all = [&masked(PING, b"")[..], bytes].concat();
            stream.write_all(&all).expect("the server reads");
            stream.flush().expect("the server reads");
            assert_eq!(Frame::read(stream).expect("a pong").first, PONG);
        }
    };
    idle::raise_file_limit(CONNECTIONS + WARM_UP);
    let mut first: Vec<_> = (0..WARM_UP).map(&mut open).collect();
    stop(&mut first);
    let mut measured: Vec<_> = (WARM_UP..WARM_UP + CONNECTIONS).map(&mut open).collect();
    let before = server.resident_bytes();
    stop(&mut measured);
    server.resident_bytes().saturating_sub(before) / CONNECTIONS as u64
}

fn plain(address: SocketAddr, head: &str) -> BoxedStream {
    upgraded(Box::new(connect(address)), head)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a TCP option");
    stream.set_nodelay(true).expect("a TCP option");
    stream
}

fn upgraded(mut stream: BoxedStream, head: &str) -> BoxedStream {
    stream.write_all(head.as_bytes()).expect("the server reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream
}

fn trusting(certificates: &Certificates) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates.authority()).expect("a certificate");
    roots.add(authority).expect("a certificate");
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn tls(address: SocketAddr, trust: &Arc<ClientConfig>, head: &str) -> BoxedStream {
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::clone(trust), name).expect("a client");
    upgraded(Box::new(StreamOwned::new(client, connect(address))), head)
}

/// Each way to stop in the middle of a message of 1 MiB, or of what the server takes.
fn stops(largest: u64) -> [(&'static str, Vec<u8>); 2] {
    let rest = |first: u8| [header(first, largest), vec![b'x']].concat();
    [
        ("one frame", rest(BINARY)),
        ("fragments", [masked(BINARY & !FIN, b"x"), rest(CONTINUATION)].concat()),
    ]
}

fn stays_little(server: &Sockeye, largest: u64, mut open: impl FnMut() -> BoxedStream) {
    for (what, bytes) in stops(largest) {
        let each = growth(server, |_| open(), &bytes);
        eprintln!("{what}: {each} bytes for each connection");
        assert!(each <= LITTLE, "{what}: {each} bytes for each connection");
    }
}

/// Rule: N2.
#[test]
fn a_byte_of_an_announced_mebibyte_costs_echo_little() {
    let server = Sockeye::echo(&[]);
    stays_little(&server, 1 << 20, || plain(server.address(), &request("/")));
}

/// Rule: N2.
#[test]
fn a_byte_of_an_announced_mebibyte_costs_echo_little_over_tls() {
    let certificates = Certificates::new();
    let flags = certificates.flags(true);
    let server = Sockeye::echo(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let trust = trusting(&certificates);
    stays_little(&server, 1 << 20, || tls(server.address(), &trust, &request("/")));
}

/// Rule: N2.
#[test]
fn a_byte_of_an_announced_message_costs_a_channel_little() {
    let certificates = Certificates::new();
    let flags = certificates.flags(true);
    let open = Sockeye::serve(&["--max-message", "1M"]);
    stays_little(&open, 1 << 20, || plain(open.address(), &request("/c/chat")));
    let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
    flags.extend(["--max-message", "1M"]);
    let secure = Sockeye::serve(&flags);
    let trust = trusting(&certificates);
    stays_little(&secure, 1 << 20, || tls(secure.address(), &trust, &request("/c/chat")));
}

/// The beginning of a compressed message costs what it came to, and its decompression.
///
/// Rule: N2.
#[test]
fn a_compressed_message_that_stops_costs_what_came_and_its_decompression() {
    let server = Sockeye::echo(&[]);
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let head = request_with("/", offer);
    // A stored block (RFC 1951 §3.2.4), as long as the window.
    let (length, block) = (32_767_u16, vec![b'x'; 32_767]);
    let block = [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), &block].concat();
    let bytes = [header(COMPRESSED, 1 << 20), mask(&block)].concat();
    let each = growth(&server, |_| plain(server.address(), &head), &bytes);
    eprintln!("compressed: {each} bytes for each connection");
    assert!(each <= 2 * u64::from(length) + INFLATER, "{each} bytes for each connection");
}

/// A read that ends behind a whole message leaves the rest, a few bytes of the next one, in a buffer of
/// the size of the read.
///
/// Rule: N2.
#[test]
fn what_follows_a_large_message_is_cut_loose_from_it() {
    let server = Sockeye::echo(&[]);
    let largest = (64 << 10) - 40;
    let bytes =
        [masked(BINARY, &vec![b'm'; largest]), header(BINARY, 1 << 20), vec![b'x']].concat();
    let open = |_| plain(server.address(), &request("/"));
    idle::raise_file_limit(CONNECTIONS + WARM_UP);
    let mut streams: Vec<_> = (0..CONNECTIONS + WARM_UP).map(open).collect();
    let mut before = 0;
    for (number, stream) in streams.iter_mut().enumerate() {
        if number == WARM_UP {
            before = server.resident_bytes();
        }
        stream.write_all(&bytes).expect("the server reads");
        assert_eq!(Frame::read(stream).expect("the message").payload.len(), largest);
    }
    let each = server.resident_bytes().saturating_sub(before) / CONNECTIONS as u64;
    eprintln!("behind a message: {each} bytes for each connection");
    assert!(each <= LITTLE, "{each} bytes for each connection");
}

/// Requests that stop, in their heads and in their bodies, cost no more than a buffer of the HTTP parser.
///
/// Rule: N2.
#[test]
fn a_byte_of_an_announced_body_costs_a_channel_little() {
    let server = Sockeye::serve(&[]);
    let head = "HTTP/1.1\r\nHost: localhost\r\n";
    // The answer to the request before says that the server has read what follows.
    let before = format!("HEAD /c/chat {head}\r\n");
    let body = format!("{before}POST /c/chat {head}Content-Length: 65536\r\n\r\nx");
    let half = format!("{before}POST /c/chat {head}Content-");
    for (what, request) in [("half a head", half), ("a byte of a body", body)] {
        let stop = |_| {
            let mut stream = connect(server.address());
            stream.write_all(request.as_bytes()).expect("the server reads");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 200");
            stream
        };
        idle::raise_file_limit(CONNECTIONS + WARM_UP);
        let first: Vec<_> = (0..WARM_UP).map(stop).collect();
        let before = server.resident_bytes();
        let measured: Vec<_> = (0..CONNECTIONS).map(stop).collect();
        let each = server.resident_bytes().saturating_sub(before) / CONNECTIONS as u64;
        drop((first, measured));
        eprintln!("{what}: {each} bytes for each connection");
        assert!(each <= REQUEST, "{what}: {each} bytes for each connection");
    }
}

/// The kernel holds nothing of what was sent to the server: it has read all of it.
fn has_read_all(server: &Sockeye) {
    let port = format!(":{:04X}", server.address().port());
    let is_read = || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
        sockets.lines().skip(1).all(|socket| {
            let fields: Vec<_> = socket.split_whitespace().collect();
            // Established, and the port is the server's: what waits to be read is none.
            !fields[1].ends_with(&port) || fields[3] != "01" || fields[4].ends_with(":00000000")
        })
    };
    eventually("the server has read everything", is_read);
}

/// What connections cost on which only this was sent.
fn cost_of_bytes(server: &Sockeye, bytes: &[u8]) -> u64 {
    idle::raise_file_limit(CONNECTIONS + WARM_UP);
    let open = |count: usize| -> Vec<TcpStream> {
        let mut streams: Vec<_> = (0..count).map(|_| connect(server.address())).collect();
        for stream in &mut streams {
            stream.write_all(bytes).expect("the server reads");
        }
        has_read_all(server);
        streams
    };
    let first = open(WARM_UP);
    let before = server.resident_bytes();
    let measured = open(CONNECTIONS);
    let each = server.resident_bytes().saturating_sub(before) / CONNECTIONS as u64;
    drop((first, measured));
    each
}

/// The state of TLS is made when the first message is there, and not for its first bytes.
///
/// Rule: N2.
#[test]
fn the_first_bytes_of_tls_cost_little() {
    let certificates = Certificates::new();
    let flags = certificates.flags(true);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    for (what, server) in [("serve", Sockeye::serve(&flags)), ("echo", Sockeye::echo(&flags))] {
        // A record of 512 bytes, of which some have come.
        let record = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 400]].concat();
        for bytes in [&record[..3], &record[..5], &record[..200]] {
            let each = cost_of_bytes(&server, bytes);
            eprintln!("{what}, {} bytes of TLS: {each} bytes for each connection", bytes.len());
            assert!(each <= 5 << 10, "{what}, {}: {each} bytes", bytes.len());
        }
    }
}

/// What a client without a token sends on `/connect`: the most of a frame, and of
/// fragments, that is taken of it.
fn before_auth() -> [(&'static str, Vec<u8>); 2] {
    const MOST: u64 = 16 << 10;
    let part = |first: u8| masked(first & !FIN, &[b'x'; 1000]);
    let rest = part(CONTINUATION).repeat(14);
    let most = MOST as usize - 1;
    [
        ("one frame", [header(TEXT, MOST), mask(&vec![b'x'; most])].concat()),
        ("fragments", [part(TEXT), rest].concat()),
    ]
}

/// Any number of clients, 500 connections of one or 200 streams: what each may make the server hold
/// before its token is bounded by what it has sent.
///
/// Rule: N2.
#[test]
fn clients_without_a_token_cost_little() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "a secret of this test, with more than 32 bytes\n").expect("a file");
    let key = key.to_str().expect("a path");
    let server = Sockeye::serve(&["--auth-key", key, "--auth-timeout", "1h"]);
    let head = request_with("/connect", "Sec-WebSocket-Protocol: sockeye.v1\r\n");
    for (what, bytes) in before_auth() {
        let open = |count: usize| {
            let mut streams: Vec<_> = (0..count).map(|_| plain(server.address(), &head)).collect();
            for stream in &mut streams {
                assert_eq!(Frame::read(stream).expect("hello").first, TEXT);
                stream.write_all(&bytes).expect("the server reads");
            }
            has_read_all(&server);
            streams
        };
        let first = open(WARM_UP);
        let before = server.resident_bytes();
        let measured = open(CONNECTIONS);
        let each = server.resident_bytes().saturating_sub(before) / CONNECTIONS as u64;
        eprintln!("{what} before auth: {each} bytes for each connection");
        assert!(each <= STRANGER, "{what}: {each} bytes for each connection");
        drop((first, measured));

        let mut connections = [Http2::connect(server.address()), Http2::connect(server.address())];
        let mut before = 0;
        for (number, connection) in connections.iter_mut().enumerate() {
            if number == 1 {
                before = server.resident_bytes();
            }
            for _ in 0..200 {
                connection.open_with("/connect", Some("sockeye.v1"));
            }
            connection.send_to_each(&bytes);
            has_read_all(&server);
            connection.is_heard();
        }
        let all = server.resident_bytes().saturating_sub(before);
        eprintln!("{what} before auth: {all} bytes for 200 streams of one connection");
        assert!(all <= 200 * STRANGER, "{what}: {all} bytes for 200 streams");
    }
}

/// Channels that are only read are not counted by `--max-channels`: what bounds them is how many one
/// connection may subscribe to.
///
/// Rule: N2.
#[test]
fn a_channel_that_is_only_read_costs_little_and_a_connection_has_few() {
    const MAX: usize = 128;
    let server = Sockeye::serve(&["--max-commands", "100000"]);
    let head = request_with("/connect", "Sec-WebSocket-Protocol: sockeye.v1\r\n");
    let open = |number: usize| {
        let mut stream = plain(server.address(), &head);
        Frame::read(&mut stream).expect("hello");
        for channel in 0..=MAX {
            let command = format!(r#"{{"op":"sub","ch":"only:read-{number}-{channel}"}}"#);
            stream.write_all(&masked(TEXT, command.as_bytes())).expect("the server reads");
            let answer = Frame::read(&mut stream).expect("an answer");
            let answer = String::from_utf8_lossy(&answer.payload).into_owned();
            assert_eq!(answer.contains("too_many"), channel == MAX, "{channel}: {answer}");
        }
        stream
    };
    let first: Vec<_> = (0..4).map(open).collect();
    let before = server.resident_bytes();
    let measured: Vec<_> = (4..54).map(open).collect();
    let each = server.resident_bytes().saturating_sub(before) / (50 * MAX as u64);
    drop((first, measured));
    eprintln!("a channel that is only read: {each} bytes");
    assert!(each <= 4 << 10, "{each} bytes");
}

/// Operators that read nothing, as many as there may be, while many clients are connected.
///
/// Rule: N2.
#[test]
fn operators_that_read_nothing_cost_little() {
    const CLIENTS: usize = 1500;
    let server = Sockeye::serve(&[]);
    idle::raise_file_limit(CLIENTS + 200);
    let name = "n".repeat(50);
    let _clients: Vec<_> = (0..CLIENTS)
        .map(|number| plain(server.address(), &request(&format!("/c/chat?as={name}{number}"))))
        .collect();
    let admin = server.wait_for("admin on http://");
    let admin = admin.rsplit_once("http://").expect("it was found by that").1;
    let admin: SocketAddr = admin.trim().parse().expect("an address");
    let ask = |count: usize| -> Vec<TcpStream> {
        let ask = |_| {
            let mut stream = connect(admin);
            let head = format!("GET /connections HTTP/1.1\r\nHost: {admin}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("the server reads");
            stream.peek(&mut [0]).expect("an answer");
            stream
        };
        (0..count).map(ask).collect()
    };
    drop(ask(8));
    let before = server.resident_bytes();
    for count in [20, 44] {
        let stuck = ask(count);
        let all = server.resident_bytes().saturating_sub(before);
        eprintln!("{count} operators that read nothing: {all} bytes");
        assert!(all <= 32 << 20, "{all} bytes");
        drop(stuck);
    }
}

/// WebSockets that share connections (RFC 8441).
///
/// Rule: N2.
#[test]
fn a_byte_of_an_announced_message_costs_little_over_http_2() {
    let server = Sockeye::serve(&["--max-message", "1M"]);
    for (what, bytes) in stops(1 << 20) {
        let mut connections: Vec<Http2> = Vec::new();
        let mut open = || {
            let is_full = connections.last().is_none_or(|last| last.streams == Http2::STREAMS);
            if is_full {
                connections.push(Http2::connect(server.address()));
            }
            if let Some(last) = connections.last_mut() {
                last.open("/c/chat");
            }
        };
        (0..WARM_UP + CONNECTIONS).for_each(|_| open());
        let all = [&masked(PING, b"")[..], &bytes].concat();
        let mut before = 0;
        for (number, connection) in connections.iter_mut().enumerate() {
            if number == WARM_UP / Http2::STREAMS {
                before = server.resident_bytes();
            }
            connection.send_on_each(&all);
        }
        let each = server.resident_bytes().saturating_sub(before) / CONNECTIONS as u64;
        eprintln!("{what}: {each} bytes for each stream");
        assert!(each <= LITTLE, "{what}: {each} bytes for each stream");
    }
}

/// A connection that begins with HTTP/2, and the WebSockets on it.
struct Http2 {
    stream: TcpStream,
    streams: usize,
}

impl Http2 {
    const STREAMS: usize = 100;

    fn connect(address: SocketAddr) -> Self {
        let mut stream = connect(address);
        let hello = [http2::PREFACE, &http2::frame(SETTINGS, 0, 0, &[])].concat();
        stream.write_all(&hello).expect("the server reads");
        let mut http2 = Self { stream, streams: 0 };
        http2.until(SETTINGS);
        http2.send(SETTINGS, 1, 0, &[]);
        http2
    }

    fn open(&mut self, path: &str) {
        self.open_with(path, None);
    }

    fn open_with(&mut self, path: &str, subprotocol: Option<&str>) {
        self.streams += 1;
        let head = http2::block(&http2::websocket(path, subprotocol));
        self.send(HEADERS, END_HEADERS, self.last(), &head);
        let answer = self.until(HEADERS);
        assert_eq!(answer.first(), Some(&0x88), "`:status: 200`, from the static table");
    }

    /// Sends this on every stream, and waits for what each is answered.
    fn send_on_each(&mut self, bytes: &[u8]) {
        for number in 0..self.streams {
            self.send(DATA, 0, u32::try_from(2 * number + 1).expect("few"), bytes);
            self.until(DATA);
        }
    }

    /// Sends this on every stream.
    fn send_to_each(&mut self, bytes: &[u8]) {
        for number in 0..self.streams {
            for frame in bytes.chunks(16 << 10) {
                self.send(DATA, 0, u32::try_from(2 * number + 1).expect("few"), frame);
            }
        }
    }

    /// Waits until the server has dealt with what was sent.
    fn is_heard(&mut self) {
        self.send(http2::PING, 0, 0, b"are you?");
        self.until(http2::PING);
    }

    fn last(&self) -> u32 {
        u32::try_from(2 * self.streams - 1).expect("few")
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.stream
            .write_all(&http2::frame(kind, flags, stream, payload))
            .expect("the server reads");
    }

    /// The payload of the next frame of this kind, if it is not a mere acknowledgement.
    fn until(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let frame = http2::Frame::read(&mut self.stream).expect("a frame");
            if frame.kind == kind && (kind != SETTINGS || frame.flags == 0) {
                return frame.payload;
            }
        }
    }
}
