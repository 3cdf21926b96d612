//! Idle subscribers of one channel of `sockeye serve`, on each transport; and that all of them
//! get what is published then.

use sockeye_testing::eventually;
use sockeye_testing::handshake::{request, request_with};
use sockeye_tests::curl::curl;
use sockeye_tests::idle;
use sockeye_tests::peer::Peer;
use sockeye_tests::program::Sockeye;

use crate::{Figure, Held, WARM_UP};

/// How a subscriber listens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subscriber {
    WebSocket,
    V1,
    Events,
    LongPoll,
}

/// What is published in the end.
const MESSAGE: &str = "good morning";

pub(crate) fn measure(subscriber: Subscriber, connections: usize) -> Vec<Figure> {
    let server = Sockeye::serve(&[]);
    let mut held = Held::open(&server, connections, |number| {
        let mut peer = idle::ask(server.address(), number, &subscriber.request());
        subscriber.begin(&mut peer);
        peer
    });
    if subscriber == Subscriber::LongPoll {
        // Nothing is answered to one that is parked.
        await_parked(&server, connections + WARM_UP);
    }
    let name = format!("`sockeye serve`, {}", subscriber.name());
    let mut figures = vec![held.each(format!("{name}: idle"))];
    let _ = curl(&["-d", MESSAGE, &server.http("/c/idle")]);
    held.peers.iter_mut().for_each(|peer| subscriber.receive(peer));
    figures.push(held.each(format!("{name}: after a message")));
    figures
}

fn await_parked(server: &Sockeye, polls: usize) {
    let all = format!("sockeye_connections{{transport=\"longpoll\"}} {polls}\n");
    eventually(format!("{polls} parked polls"), || {
        server.shows_operators("/metrics").contains(&all)
    });
}

impl Subscriber {
    fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "plain WebSocket",
            Self::V1 => "`sockeye.v1`",
            Self::Events => "Server-Sent Events",
            Self::LongPoll => "parked long poll",
        }
    }

    fn request(self) -> String {
        match self {
            Self::WebSocket => request("/c/idle"),
            Self::V1 => request_with("/c/idle", "Sec-WebSocket-Protocol: sockeye.v1\r\n"),
            Self::Events => "GET /c/idle HTTP/1.1\r\nHost: localhost\r\n\
                             Accept: text/event-stream\r\n\r\n"
                .to_owned(),
            Self::LongPoll => {
                "GET /c/idle?after=now&wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()
            }
        }
    }

    /// Takes what comes before the first message.
    fn begin(self, peer: &mut Peer) {
        match self {
            Self::WebSocket => assert_eq!(peer.read_head().status(), 101),
            Self::V1 => {
                assert_eq!(peer.read_head().status(), 101);
                let hello = peer.read();
                assert!(hello.payload.starts_with(b"{\"hello\":"), "{hello:?}");
            }
            Self::Events => {
                assert_eq!(peer.read_head().status(), 200);
                peer.read_to("id: ");
            }
            Self::LongPoll => {}
        }
    }

    /// Takes the message.
    fn receive(self, peer: &mut Peer) {
        match self {
            Self::WebSocket => {
                assert_eq!(peer.read_past_pings().payload, MESSAGE.as_bytes());
            }
            Self::V1 => {
                let message = peer.read_past_pings();
                assert!(String::from_utf8_lossy(&message.payload).contains(MESSAGE));
            }
            Self::Events => peer.read_to(MESSAGE),
            Self::LongPoll => assert_eq!(peer.read_head().status(), 200),
        }
    }
}
