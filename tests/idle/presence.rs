//! What it costs `sockeye serve` to list members where there are thousands.

use sockeye_testing::frame::{TEXT, masked};
use sockeye_testing::handshake::request_with;
use sockeye_tests::idle;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::Sockeye;

use crate::Figure;

/// How often each page is asked for: as fast as may be, by one connection.
const ASKED: u32 = 90;

/// As many members as there are to be connections, present by polls; one connection asks.
pub(crate) fn measure(members: usize) -> Vec<Figure> {
    let server = Sockeye::serve(&[]);
    for number in 0..members {
        let path = format!("/c/room?as=member-{number:05}&presence=1");
        let poll = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut poller = idle::ask(server.address(), number, &poll);
        assert_eq!(poller.read_head().status(), 200);
        poller.read_to_end();
    }
    let request = request_with("/connect", "Sec-WebSocket-Protocol: sockeye.v1\r\n");
    let mut asking = idle::ask(server.address(), 0, &request);
    assert_eq!(asking.read_head().status(), 101);
    asking.read();
    [100, 1000].map(|limit| who(&server, &mut asking, members, limit)).into()
}

fn who(server: &Sockeye, asking: &mut Peer, members: usize, limit: usize) -> Figure {
    let who = format!(r#"{{"op":"who","ch":"room","limit":{limit}}}"#);
    let mut length = 0;
    let before = server.cpu_time();
    for _ in 0..ASKED {
        asking.send(&masked(TEXT, who.as_bytes()), Chunks::Whole);
        let told = asking.read_past_pings().payload;
        let count = format!("{{\"ok\":{{\"count\":{members},");
        assert!(told.starts_with(count.as_bytes()), "{}", String::from_utf8_lossy(&told));
        length = told.len();
    }
    let each = (server.cpu_time() - before).as_secs_f64() * 1e6 / f64::from(ASKED);
    Figure {
        what: format!("`sockeye serve`, `who` of {limit} of {members} members"),
        value: format!("{each:.0} µs of CPU, {length} bytes"),
    }
}
