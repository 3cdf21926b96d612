//! Very many connections that say nothing.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::peer::Peer;
use sockeye_testing::handshake::request;

/// How many connections come from one address: well below the number of its ports.
const PER_ADDRESS: usize = 5_000;
/// File descriptors for everything else that a process has open.
const SPARE: u64 = 200;

/// Allows this process, and those it starts, to have `connections` sockets open.
///
/// # Panics
///
/// When the system does not allow as many.
pub fn raise_file_limit(connections: usize) {
    let wanted = connections as u64 + SPARE;
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(most >= wanted, "`ulimit -Hn` is {most}; {connections} connections want {wanted}");
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the limit may be raised to its maximum");
}

/// Opens that many WebSockets, and gives them once all are open.
#[must_use]
pub fn open(address: SocketAddr, connections: usize) -> Vec<Peer> {
    (0..connections).map(|number| open_one(address, number)).collect()
}

fn open_one(address: SocketAddr, number: usize) -> Peer {
    let mut peer = ask(address, number, &request("/"));
    assert_eq!(peer.read_head().status(), 101);
    peer
}

/// Opens connection number `number` and sends this request on it. They come from enough addresses
/// that none runs out of ports.
#[must_use]
pub fn ask(address: SocketAddr, number: usize, request: &str) -> Peer {
    let last = u8::try_from(2 + number / PER_ADDRESS).expect("at most a million connections");
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&source.into()).expect("loopback addresses can be bound");
    socket.connect(&address.into()).expect("the server accepts connections");
    let mut stream = TcpStream::from(socket);
    stream.write_all(request.as_bytes()).expect("the server reads");
    Peer::new(stream)
}
