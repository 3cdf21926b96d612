//! Broken and hostile peers of `sockeye echo` and `sockeye connect`.
//!
//! The rules that a test shows stand in its documentation; `docs/internals/rules.txt` lists them.

mod closing;
mod flood;
mod frames;
mod handshake;
mod limits;
mod memory;
mod refusal;
mod server;
mod silent;
mod slow;
mod text;

use sockeye_testing::frame::Frame;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::Sockeye;

/// Makes one test of each row: its name, and what the check is called with.
macro_rules! rows {
    ($check:ident: $($(#[doc = $doc:literal])* $name:ident => $($argument:expr),+;)+) => {
        $($(#[doc = $doc])*
        #[test]
        fn $name() {
            $check($($argument),+);
        })+
    };
}
use rows;

/// A server with a well-behaved peer, which it serves whatever the others do.
struct Scene {
    server: Sockeye,
    bystander: Peer,
}

impl Scene {
    fn new() -> Self {
        let server = Sockeye::echo(&[]);
        let bystander = Peer::open(server.address(), "/");
        Self { server, bystander }
    }

    /// A connection on which nothing was sent yet.
    fn connect(&self) -> Peer {
        Peer::connect(self.server.address())
    }

    /// An open WebSocket.
    fn open(&self) -> Peer {
        Peer::open(self.server.address(), "/")
    }

    /// The bystander is served, new connections are accepted, and nothing in the server broke.
    fn assert_serves_others(&mut self) {
        self.bystander.echo("still here");
        self.open().echo("just come");
        self.server.assert_sound();
    }
}

/// Sends the bytes on an open WebSocket, whole and byte by byte: the server fails the connection
/// with this code, answers nothing else, and goes on serving others.
fn fails(code: u16, bytes: &[u8]) {
    let mut scene = Scene::new();
    for pace in [Chunks::Whole, Chunks::ByteByByte] {
        let mut peer = scene.open();
        peer.send(bytes, pace);
        assert_close(&peer.read(), code);
        peer.assert_end();
        scene.assert_serves_others();
    }
}

/// Sends the bytes on an open WebSocket, whole and byte by byte: these frames come back.
fn answers(first: u8, payload: &[u8], bytes: &[u8]) {
    let mut scene = Scene::new();
    for pace in [Chunks::Whole, Chunks::ByteByByte] {
        let mut peer = scene.open();
        peer.send(bytes, pace);
        let expected = Frame::unmasked(first, payload);
        assert_eq!(peer.read(), expected, "{pace:?}");
        peer.echo("open as before");
        scene.assert_serves_others();
    }
}

/// A server's close frame with this code.
fn assert_close(frame: &Frame, code: u16) {
    assert_eq!(frame.close_code(), Some(code), "{frame:?}");
    assert!(frame.mask.is_none(), "W55: a server never masks");
}
