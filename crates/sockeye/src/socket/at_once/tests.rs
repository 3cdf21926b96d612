//! What is sent on many connections at once arrives as what is sent on each by itself, whatever the clients and the
//! system do meanwhile. Where the system has no io_uring, all goes one by one, and the tests hold for that.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rustix::net::sockopt;
use sockeye_proto::{Config, Connection, Prepared};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

use super::super::{Agreed, ByteStream, Shared, WebSocket, core::delivery::Delivery};
use crate::{
    Reader, Writer,
    ring::{AT_ONCE, SendRings},
};

/// More than go into one system call.
const CLIENTS: usize = AT_ONCE + 8;

#[derive(Clone, Debug)]
enum Step {
    /// All are sent a message of that many bytes.
    Send(usize),
    /// A client reads that many bytes, if they are there.
    Read(usize, usize),
    /// All read what is there.
    ReadAll,
    /// A client goes away, with or without what it has not read.
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..300_usize).prop_map(Step::Send),
        2 => (0..50_000_usize).prop_map(Step::Send),
        3 => (0..CLIENTS, 1..20_000_usize).prop_map(|(client, count)| Step::Read(client, count)),
        2 => Just(Step::ReadAll),
        1 => (0..CLIENTS).prop_map(Step::Leave),
    ]
}

/// Both ends of a connection. Its socket takes little, so that a few messages fill it.
struct Client {
    /// `None` when it has left.
    stream: Option<TcpStream>,
    writer: Writer,
    _reader: Reader,
    /// What was sent to it and not read yet.
    expected: BytesMut,
}

impl Client {
    async fn connect(listener: &TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        sockopt::set_socket_send_buffer_size(&accepted, 4 << 10).unwrap();
        accepted.set_nodelay(true).unwrap();
        let (reader, writer) = open(accepted).split();
        Self { stream: Some(stream), writer, _reader: reader, expected: BytesMut::new() }
    }

    async fn connect_many(count: usize) -> Vec<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(Self::connect(&listener).await);
        }
        clients
    }

    /// Reads what is there, as far as `count` goes.
    fn read(&mut self, count: usize) {
        let Some(stream) = &mut self.stream else { return };
        let mut buffer = vec![0; count.min(self.expected.len())];
        if let Ok(read) = stream.try_read(&mut buffer) {
            assert_eq!(buffer[..read], self.expected.split_to(read)[..]);
        }
    }

    /// Reads all that was sent, and waits for it.
    async fn read_all(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut buffer = vec![0; self.expected.len()];
        stream.read_exact(&mut buffer).await.unwrap();
        assert!(buffer == self.expected, "the bytes are those that were sent, in their order");
        self.expected.clear();
    }
}

fn open(stream: TcpStream) -> WebSocket {
    let connection = Connection::server(Config::default().keepalive(None), Duration::ZERO);
    let agreed = Agreed { subprotocol: None, deflate: None, peer: None };
    WebSocket::new(Shared::new(ByteStream::Tcp(stream), connection, BytesMut::new(), agreed))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn frames(size: usize) -> Bytes {
    let payload: Vec<u8> = (0..size).map(|number| number as u8).collect();
    Prepared::new(payload).plain().clone()
}

/// Sends to all, and notes what is to arrive.
fn send(clients: &mut [Client], rings: Option<&SendRings>, frames: &Bytes) -> Vec<Delivery> {
    let writers = clients.iter().map(|client| &client.writer);
    let deliveries = match rings {
        Some(rings) => rings.try_send_frames(writers, frames),
        None => writers.map(|writer| writer.try_send_frames(frames)).collect(),
    };
    assert_eq!(deliveries.len(), clients.len());
    for (client, delivery) in clients.iter_mut().zip(&deliveries) {
        if *delivery != Delivery::Refused {
            client.expected.extend_from_slice(frames);
        }
    }
    deliveries
}

async fn run(steps: Vec<Step>) {
    let rings = SendRings::new(1).ok();
    let mut clients = Client::connect_many(CLIENTS).await;
    for step in steps {
        match step {
            Step::Send(size) => drop(send(&mut clients, rings.as_ref(), &frames(size))),
            Step::Read(client, count) => clients[client].read(count),
            Step::ReadAll => clients.iter_mut().for_each(|client| client.read(usize::MAX)),
            Step::Leave(client) => clients[client].stream = None,
        }
        // What is queued is written when the sockets take more.
        tokio::task::yield_now().await;
    }
    for client in &mut clients {
        client.read_all().await;
    }
    let deliveries = send(&mut clients, rings.as_ref(), &frames(1));
    for (client, delivery) in clients.iter_mut().zip(deliveries) {
        // Whatever it was, a client that has everything is written to at once again.
        assert!(client.stream.is_none() || delivery == Delivery::Written, "{delivery:?}");
        client.read_all().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_client_gets_what_it_was_sent_and_nothing_else(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        runtime().block_on(run(steps));
    }
}

/// One that something else has locked is waited for when nothing is held.
#[test]
fn others_are_written_to_before_one_that_is_locked() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut clients = runtime.block_on(Client::connect_many(3));
    let rings = SendRings::new(1).ok();
    let locked = Arc::clone(&clients[0].writer.handle.shared);
    let lock = locked.state();
    let (mut first, mut rest) = (clients.remove(0), clients);
    for client in &mut rest {
        client.expected.extend_from_slice(&frames(5));
    }
    first.expected.extend_from_slice(&frames(5));
    let writers: Vec<_> = [&first].into_iter().chain(&rest).map(|it| it.writer.clone()).collect();
    let sending = thread::spawn(move || match rings {
        Some(rings) => rings.try_send_frames(&writers, &frames(5)),
        None => writers.iter().rev().map(|writer| writer.try_send_frames(&frames(5))).collect(),
    });
    for client in &mut rest {
        runtime.block_on(client.read_all());
    }
    drop(lock);
    assert_eq!(sending.join().unwrap(), [Delivery::Written; 3]);
    runtime.block_on(first.read_all());
}

/// The state of a connection that is named twice is locked once: the second message goes when nothing is held.
#[test]
fn a_connection_that_is_named_twice_gets_both_one_behind_the_other() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let rings = SendRings::new(1).ok();
    let mut clients = runtime.block_on(Client::connect_many(2));
    let writers = [0, 1, 0].map(|client| &clients[client].writer);
    let deliveries = match &rings {
        Some(rings) => rings.try_send_frames(writers, &frames(5)),
        None => writers.map(|writer| writer.try_send_frames(&frames(5))).into(),
    };
    assert_eq!(deliveries, [Delivery::Written; 3]);
    for client in [0, 1, 0] {
        clients[client].expected.extend_from_slice(&frames(5));
    }
    for client in &mut clients {
        runtime.block_on(client.read_all());
    }
}

/// The number of a socket that is closed is given to the next one that is opened.
#[test]
fn nothing_goes_to_the_connection_that_has_the_number_of_an_ended_one() {
    let runtime = runtime();
    let _inside = runtime.enter();
    runtime.block_on(async {
        let rings = SendRings::new(1).ok();
        let mut clients = Client::connect_many(2).await;
        clients[0].writer.abort();
        clients[0].writer.ended().await;
        let (near, far) = UnixStream::pair().unwrap();
        let deliveries = send(&mut clients, rings.as_ref(), &frames(5));
        assert_eq!(deliveries, [Delivery::Refused, Delivery::Written]);
        for mut end in [&near, &far] {
            end.set_nonblocking(true).unwrap();
            let nothing = end.read(&mut [0]).unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        }
        clients[1].read_all().await;
    });
}

/// The first thread has the only ring.
#[test]
fn a_thread_without_a_ring_sends_one_by_one() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let Ok(rings) = SendRings::new(1) else { return };
    let mut clients = runtime.block_on(Client::connect_many(3));
    let taken = rings.take();
    assert_eq!(send(&mut clients, Some(&rings), &frames(5)), [Delivery::Written; 3]);
    drop(taken);
    assert!(rings.take().is_some(), "it is idle again");
    for client in &mut clients {
        runtime.block_on(client.read_all());
    }
}

/// What a filter of system calls does to a program that runs: the number of the call that is refused from then on, in
/// this thread alone.
#[cfg(target_os = "linux")]
fn forbid(call: i64) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(1));
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let filter = SeccompFilter::new([(call, Vec::new())].into(), allow, refuse, arch).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

#[cfg(target_os = "linux")]
const IO_URING_SETUP: i64 = 425;
#[cfg(target_os = "linux")]
const IO_URING_ENTER: i64 = 426;

#[cfg(target_os = "linux")]
#[test]
fn a_ring_that_is_forbidden_is_an_error() {
    let forbidden = thread::spawn(|| {
        forbid(IO_URING_SETUP);
        SendRings::new(1).unwrap_err().kind()
    });
    assert_eq!(forbidden.join().unwrap(), io::ErrorKind::PermissionDenied);
}

#[cfg(target_os = "linux")]
#[test]
fn a_ring_that_is_forbidden_while_it_is_used_is_given_up() {
    let forbidden = thread::spawn(|| {
        let runtime = runtime();
        let _inside = runtime.enter();
        let Ok(rings) = SendRings::new(1) else { return };
        let mut clients = runtime.block_on(Client::connect_many(CLIENTS));
        let written = vec![Delivery::Written; CLIENTS];
        assert_eq!(send(&mut clients, Some(&rings), &frames(5)), written);
        forbid(IO_URING_ENTER);
        assert_eq!(send(&mut clients, Some(&rings), &frames(6)), written);
        assert!(rings.take().is_none(), "it is not used again");
        assert_eq!(send(&mut clients, Some(&rings), &frames(7)), written);
        for client in &mut clients {
            runtime.block_on(client.read_all());
        }
    });
    forbidden.join().unwrap();
}
