//! A runtime that ends takes its connections with it: nothing stays open, and their peers are told.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use sockeye::{AcceptError, Config, Connections, Incoming, Server, WebSocket, connect};
use sockeye_testing::{
    PATIENCE,
    frame::{BINARY, masked},
    handshake::{Head, accept_for, request, response},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::LocalSet,
};

/// How many connections a runtime has at its end.
const COUNT: usize = 20;

/// The tests of this file count the descriptors of their process: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // The first runtime of a process opens two for signals, for good, where tokio has its feature
    // `signal`.
    drop(current_thread());
    alone
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Servers without a runtime, which outlive those of the clients.
struct Peers {
    listener: TcpListener,
    accepted: Vec<TcpStream>,
}

impl Peers {
    fn listen() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), accepted: Vec::new() }
    }

    fn url(&self) -> String {
        format!("ws://{}/", self.listener.local_addr().unwrap())
    }

    /// Answers the handshake of each client in a thread.
    fn accept(mut self, count: usize) -> thread::JoinHandle<Self> {
        thread::spawn(move || {
            for _ in 0..count {
                let (mut stream, _) = self.listener.accept().unwrap();
                answer(&mut stream);
                self.accepted.push(stream);
            }
            self
        })
    }

    /// Each sees the end of its connection.
    fn see_the_end(self) {
        for stream in self.accepted {
            see_the_end(stream);
        }
    }
}

fn answer(stream: &mut TcpStream) {
    let request = Head::read(stream).unwrap();
    let accept = accept_for(request.header("sec-websocket-key").unwrap());
    stream.write_all(response(&accept).as_bytes()).unwrap();
}

fn see_the_end(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let end = stream.read_to_end(&mut Vec::new());
    assert!(!matches!(&end, Err(e) if e.kind() == ErrorKind::WouldBlock), "the peer was not told");
}

/// Opens connections to peers that outlive the runtime, leaves them to `leave`, and ends the runtime
/// with `end`. Nothing of them is left, and the peers know.
fn ends_with_clients(
    runtime: fn() -> Runtime,
    leave: impl Fn(&Runtime, WebSocket),
    end: impl Fn(Runtime),
) {
    let _alone = alone();
    let before = descriptors();
    for round in 0..3 {
        let (runtime, peers) = (runtime(), Peers::listen());
        let url = peers.url();
        let accepting = peers.accept(COUNT);
        for _ in 0..COUNT {
            leave(&runtime, runtime.block_on(connect(&url)).unwrap());
        }
        let peers = accepting.join().unwrap();
        end(runtime);
        peers.see_the_end();
        assert_eq!(descriptors(), before, "after round {round}");
    }
}

async fn park(mut socket: WebSocket) {
    while socket.recv().await.is_some() {}
}

#[test]
fn parked_readers_are_freed_and_their_peers_told() {
    for runtime in [multi_thread, current_thread] {
        let park = |runtime: &Runtime, socket| drop(runtime.spawn(park(socket)));
        ends_with_clients(runtime, park, |runtime| runtime.shutdown_timeout(PATIENCE));
        ends_with_clients(runtime, park, drop);
    }
}

#[test]
fn connections_that_are_not_read_and_halves_in_two_tasks_are_freed() {
    for runtime in [multi_thread, current_thread] {
        let hold = |runtime: &Runtime, socket: WebSocket| {
            let (mut reader, writer) = socket.split();
            runtime.spawn(async move { reader.recv().await.is_some() });
            runtime.spawn(async move {
                std::future::pending::<()>().await;
                drop(writer);
            });
        };
        ends_with_clients(runtime, hold, drop);
    }
}

#[test]
fn connections_without_a_deadline_are_freed() {
    let _alone = alone();
    let before = descriptors();
    let (runtime, peers) = (multi_thread(), Peers::listen());
    let url = peers.url();
    let accepting = peers.accept(COUNT);
    // A deadline too far to be told is none, also for the Close of those that are dropped.
    let config = Config::default().keepalive(None).close_timeout(Duration::MAX);
    for number in 0..COUNT {
        let client = sockeye::Client::new(&url).unwrap().config(config.clone());
        let socket = runtime.block_on(client.connect()).unwrap();
        if number % 2 == 0 {
            runtime.spawn(park(socket));
        }
    }
    let peers = accepting.join().unwrap();
    drop(runtime);
    peers.see_the_end();
    assert_eq!(descriptors(), before);
}

#[test]
fn connections_of_local_tasks_are_freed() {
    let _alone = alone();
    let before = descriptors();
    let (runtime, peers) = (current_thread(), Peers::listen());
    let url = peers.url();
    let accepting = peers.accept(COUNT);
    let local = LocalSet::new();
    for _ in 0..COUNT {
        let socket = local.block_on(&runtime, connect(&url)).unwrap();
        local.spawn_local(park(socket));
    }
    local.block_on(&runtime, tokio::task::yield_now());
    let peers = accepting.join().unwrap();
    // In this order the tasks are dropped after everything they could call.
    drop(runtime);
    drop(local);
    peers.see_the_end();
    assert_eq!(descriptors(), before);
}

#[test]
fn a_runtime_that_ends_in_the_background_of_another_frees_its_connections() {
    let _alone = alone();
    let before = descriptors();
    let (outer, inner, peers) = (current_thread(), multi_thread(), Peers::listen());
    let url = peers.url();
    let accepting = peers.accept(COUNT);
    for _ in 0..COUNT {
        let socket = inner.block_on(connect(&url)).unwrap();
        inner.spawn(park(socket));
    }
    let peers = accepting.join().unwrap();
    outer.block_on(async { inner.shutdown_background() });
    peers.see_the_end();
    drop(outer);
    // The inner one ends in its own time, when no task waits for it.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while descriptors() != before {
        assert!(tokio::time::Instant::now() < deadline, "{} descriptors", descriptors());
        thread::yield_now();
    }
}

#[test]
fn a_handle_that_outlives_the_runtime_gives_errors_and_holds_no_descriptor() {
    let _alone = alone();
    let before = descriptors();
    for keepalive in [Config::default().keepalive, None] {
        let (runtime, other, peers) = (multi_thread(), current_thread(), Peers::listen());
        let url = peers.url();
        let accepting = peers.accept(3);
        let config = Config::default().keepalive(keepalive);
        let connect = || {
            let client = sockeye::Client::new(&url).unwrap().config(config.clone());
            runtime.block_on(client.connect()).unwrap()
        };
        let (mut reading, mut sending, idle) = (connect(), connect(), connect());
        let peers = accepting.join().unwrap();
        drop(runtime);
        peers.see_the_end();
        other.block_on(async {
            assert!(matches!(reading.recv().await, Some(Err(_))));
            assert!(reading.recv().await.is_none());
            assert!(sending.send("late").await.is_err());
            assert!(sending.ping().await.is_err());
            sending.close(sockeye::CloseCode::NORMAL).await;
            assert!(idle.closed().is_some());
        });
        drop(other);
        assert_eq!(descriptors(), before);
    }
}

#[test]
fn a_task_of_another_runtime_that_reads_is_woken() {
    let _alone = alone();
    let (runtime, other, peers) = (multi_thread(), multi_thread(), Peers::listen());
    let url = peers.url();
    let accepting = peers.accept(1);
    let mut socket = runtime.block_on(connect(&url)).unwrap();
    let _peers = accepting.join().unwrap();
    let reading = other.spawn(async move { socket.recv().await });
    drop(runtime);
    let end = other.block_on(async { tokio::time::timeout(PATIENCE, reading).await });
    assert!(matches!(end.unwrap().unwrap(), Some(Err(_))));
}

/// A server with everything that one has: its listener, its connections, and handlers that wait.
#[test]
fn a_server_is_freed_with_its_connections_which_are_told_that_it_goes_away() {
    let _alone = alone();
    let before = descriptors();
    for runtime in [multi_thread, current_thread, multi_thread] {
        let runtime = runtime();
        let address = runtime.block_on(serve(&runtime));
        let clients = thread::spawn(move || (0..COUNT).map(|_| open(address)).collect::<Vec<_>>());
        let clients = runtime.block_on(async {
            tokio::task::spawn_blocking(move || clients.join().unwrap()).await.unwrap()
        });
        runtime.shutdown_timeout(PATIENCE);
        for mut client in clients {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, [0x88, 2, 0x03, 0xE9]);
        }
        assert_eq!(descriptors(), before);
    }
}

thread_local! {
    /// What ends after all that is the thread's own and was used later: buffers, and keys for masks.
    static LAST: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

#[test]
fn a_server_whose_runtime_ends_with_its_thread_tells_all_that_it_goes_away() {
    let _alone = alone();
    let (listening, addresses) = mpsc::channel();
    let server = thread::spawn(move || {
        LAST.set(Some(current_thread()));
        LAST.with_borrow(|runtime| {
            let runtime = runtime.as_ref().unwrap();
            runtime.block_on(async {
                let server = Server::bind("127.0.0.1:0").await.unwrap();
                listening.send(server.local_addr().unwrap()).unwrap();
                let (tell, mut told) = tokio::sync::mpsc::channel(COUNT);
                runtime.spawn(server.run(move |incoming: Incoming| {
                    let tell = tell.clone();
                    async move {
                        let mut socket = incoming.accept().await?;
                        assert!(socket.recv().await.is_some());
                        let _ = tell.send(()).await;
                        park(socket).await;
                        Ok::<(), AcceptError>(())
                    }
                }));
                for _ in 0..COUNT {
                    told.recv().await.unwrap();
                }
            });
        });
    });
    let address = addresses.recv().unwrap();
    // A message, and a part of one that is larger than what a connection keeps in a small buffer.
    let part = masked(BINARY, &[0; 60_000]);
    let all = [&masked(BINARY, b"whole"), &part[..30_000]].concat();
    let clients = (0..COUNT).map(|_| {
        let mut client = open(address);
        client.write_all(&all).unwrap();
        client
    });
    let clients: Vec<_> = clients.collect();
    server.join().unwrap();
    for mut client in clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [0x88, 2, 0x03, 0xE9]);
    }
}

#[test]
fn clients_whose_runtime_ends_with_its_thread_send_their_close() {
    let _alone = alone();
    let peers = Peers::listen();
    let url = peers.url();
    let accepting = peers.accept(COUNT);
    let clients = thread::spawn(move || {
        LAST.set(Some(current_thread()));
        LAST.with_borrow(|runtime| {
            let runtime = runtime.as_ref().unwrap();
            for _ in 0..COUNT {
                runtime.spawn(park(runtime.block_on(connect(&url)).unwrap()));
            }
        });
    });
    let peers = accepting.join().unwrap();
    clients.join().unwrap();
    for mut peer in peers.accepted {
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert!(matches!(rest[..], [0x88, 0x80, _, _, _, _]), "{rest:?}");
    }
}

async fn serve(runtime: &Runtime) -> SocketAddr {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let connections: Connections = server.connections();
    runtime.spawn(server.run(move |incoming: Incoming| {
        let connections = connections.clone();
        async move {
            let socket = incoming.accept().await?;
            assert!(!connections.is_empty());
            park(socket).await;
            Ok::<(), AcceptError>(())
        }
    }));
    address
}

/// A client without a runtime.
fn open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request("/").as_bytes()).unwrap();
    Head::read(&mut stream).unwrap();
    stream
}
