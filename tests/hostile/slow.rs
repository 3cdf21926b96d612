//! Peers that take their time: every deadline is kept, shown with short ones.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sockeye::{AcceptError, Config, Incoming, Keepalive, Server};
use sockeye_testing::PATIENCE;
use sockeye_testing::frame::{CLOSE, FIN, PING, TEXT, close_payload, masked};
use sockeye_testing::handshake::request;
use sockeye_tests::peer::{Chunks, Peer};

const SHORT: Duration = Duration::from_millis(300);

/// A server of the library, in a thread that ends with the test.
fn start(handshake_timeout: Duration, config: Config) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let server = Server::bind("127.0.0.1:0").await.expect("a free port");
            sender.send(server.local_addr().expect("an address")).expect("the test waits");
            let server = server.handshake_timeout(handshake_timeout).config(config);
            server.run(echo).await;
        });
    });
    receiver.recv().expect("the server's address")
}

async fn echo(incoming: Incoming) -> Result<(), AcceptError> {
    let mut ws = incoming.accept().await?;
    while let Some(Ok(message)) = ws.recv().await {
        if ws.send(message).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The time that the server takes to end the connection.
fn time_to_end(peer: &mut Peer) -> Duration {
    let start = Instant::now();
    peer.read_to_end();
    start.elapsed()
}

fn assert_in_time(taken: Duration) {
    assert!(taken >= SHORT / 2 && taken < PATIENCE / 4, "it took {taken:?}");
}

/// Rule: N4.
#[test]
fn a_connection_that_says_nothing_is_cut() {
    let address = start(SHORT, Config::default());
    assert_in_time(time_to_end(&mut Peer::connect(address)));
}

/// The deadline is absolute: more bytes do not move it.
///
/// Rule: N4.
#[test]
fn a_request_that_drips_is_cut() {
    let address = start(SHORT, Config::default());
    let mut peer = Peer::connect(address);
    peer.stream().set_read_timeout(Some(SHORT / 10)).expect("a TCP option");
    let start = Instant::now();
    let mut request = request("/").into_bytes().into_iter();
    while peer.try_read().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
        let byte = request.next().expect("the request is cut before it is complete");
        peer.send(&[byte], Chunks::Whole);
    }
    assert_in_time(start.elapsed());
}

/// Rule: N5.
#[test]
fn a_peer_that_answers_no_ping_is_cut() {
    let keepalive = Keepalive::default().interval(SHORT).timeout(SHORT);
    let address = start(PATIENCE, Config::default().keepalive(keepalive));
    let mut peer = Peer::open(address, "/");
    assert_eq!(peer.read().first, PING);
    assert_in_time(time_to_end(&mut peer));
}

/// A peer that never ends the connection, though both close frames went, is cut.
///
/// Rule: N6.
#[test]
fn a_peer_that_does_not_hang_up_is_cut() {
    let address = start(PATIENCE, Config::default().close_timeout(SHORT));
    let mut peer = Peer::open(address, "/");
    peer.send(&masked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.assert_end();
}

/// Rule: N2.
#[test]
fn a_message_that_never_ends_is_cut() {
    let address = start(PATIENCE, Config::default().message_timeout(SHORT));
    let mut peer = Peer::open(address, "/");
    peer.send(&masked(TEXT & !FIN, b"once upon a time"), Chunks::Whole);
    assert_in_time(time_to_end(&mut peer));
}
