//! WebSockets over HTTP/2 (RFC 8441), where the server has that.

use sockeye_wire::{
    Frame,
    frame::{BINARY, CLOSE, PING, RSV1, TEXT, close_payload},
};

use super::Chapter;
use crate::{
    case::{Case, Change, CloseRule, Expect, Message, Need, Step, case},
    deflate::{Block, deflated},
};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "http2",
    title: "WebSockets over HTTP/2",
    about: "Over HTTP/2 a WebSocket is one stream of a connection that many share: it is opened with an extended \
            CONNECT, and then carries the same frames. What one stream does is nothing to the others.",
    cases,
};

const OPENS: &str = "RFC 8441 §5";
const SENDS: &str = "RFC 8441 §5.1";

fn cases() -> Vec<Case> {
    let all = [openings(), frames(), ends(), beside()];
    all.into_iter().flatten().map(|case| case.of_servers().need(Need::Http2)).collect()
}

fn over(id: &str, section: &'static str, title: &str) -> Case {
    let mut case = case(format!("http2/{id}"), section, title);
    case.opening.http2 = Some(Change::Nothing);
    case
}

fn changed(mut case: Case, change: Change) -> Case {
    case.opening.http2 = Some(change);
    case
}

fn openings() -> Vec<Case> {
    let refused = |id: &str, title: &str, change| {
        changed(over(&format!("refuses-{id}"), OPENS, title).refuses(), change)
    };
    // Which protocols there are is for servers to say; that a WebSocket is called so is for clients.
    let protocol = Change::Protocol("x-sockeye-check");
    vec![
        over("opens", OPENS, "An extended CONNECT").expect(Expect::Opens),
        refused("protocol", ":protocol that is not registered", protocol).should(),
        refused("version-12", "sec-websocket-version: 12", Change::Version("12")),
    ]
}

/// The same frames as over HTTP/1.1.
fn frames() -> Vec<Case> {
    let large = vec![7; 200_000];
    vec![
        over("text", SENDS, "A text")
            .send([Frame::unmasked(TEXT, "hello")])
            .echoes([Message::text("hello")]),
        over("large", SENDS, "A message larger than a window of HTTP/2")
            .send([Frame::unmasked(BINARY, &large)])
            .echoes([Message::binary(large)]),
        over("slowly", SENDS, "A text one byte at a time")
            .slowly([Frame::unmasked(TEXT, "slow")])
            .echoes([Message::text("slow")]),
        over("ping", SENDS, "A Ping").send([Frame::unmasked(PING, "hello")]).pongs(&[b"hello"]),
        over("close", SENDS, "A Close, and the end of the stream")
            .send([Frame::unmasked(CLOSE, close_payload(1000, ""))])
            .expect(Expect::ClosesWith(CloseRule::Answered)),
        over("unmasked", SENDS, "A text without a mask")
            .exactly([Frame::unmasked(TEXT, "hello")])
            .fails(&[1002]),
        over("reserved-bit", SENDS, "A text with RSV2")
            .send([Frame::unmasked(TEXT | 0x20, "hello")])
            .fails(&[1002]),
        over("utf8", SENDS, "A text that is not UTF-8")
            .send([Frame::unmasked(TEXT, b"\xFF")])
            .fails(&[1007]),
        over("compressed", "RFC 7692 §7.2.3", "A compressed text")
            .offer("permessage-deflate")
            .send([Frame::unmasked(TEXT | RSV1, deflated(&[Block::Literal(b"hello")]))])
            .echoes([Message::text("hello")])
            .need(Need::Deflate),
    ]
}

/// Streams that end badly, or never.
fn ends() -> Vec<Case> {
    let ends =
        |id: &str, title: &str, seconds| over(id, SENDS, title).expect(Expect::EndsWithin(seconds));
    vec![
        ends("half-close", "The end of the stream without a Close", 10)
            .step(Step::HalfClose)
            .should(),
        ends("half-close-in-a-payload", "The same in the middle of a payload", 10)
            .step(Step::Cut(Frame::unmasked(BINARY, [7; 300]), 100))
            .step(Step::HalfClose)
            .should(),
        over("no-close-answered", "RFC 6455 §7.1.7", "Its Close is never answered")
            .send([Frame::unmasked(TEXT | 0x20, "wrong")])
            .expect(Expect::EndsAfterClose(15))
            .should(),
        ends("silence", "A client that opens a WebSocket and never answers a Ping", 15).may(),
        ends("half-a-frame", "A frame that is never ended", 15)
            .step(Step::Cut(Frame::unmasked(BINARY, [7; 100]), 20))
            .may(),
    ]
}

/// Another WebSocket on the same connection.
fn beside() -> Vec<Case> {
    let beside = |id: &str, title: &str| over(id, SENDS, title).expect(Expect::Beside);
    vec![
        beside("two", "Two WebSockets on one connection"),
        beside("beside-a-mistake", "One that fails leaves the other")
            .send([Frame::unmasked(TEXT | 0x70, "wrong")]),
        beside("beside-a-close", "One that closes leaves the other")
            .send([Frame::unmasked(CLOSE, close_payload(1000, ""))]),
        beside("beside-a-cut", "One that is reset leaves the other").step(Step::Vanish),
        beside("beside-an-end", "One that ends without a Close leaves the other")
            .step(Step::HalfClose),
        beside("beside-a-cut-frame", "One that is reset in the middle of a frame leaves the other")
            .step(Step::Cut(Frame::unmasked(BINARY, [7; 300]), 100))
            .step(Step::Vanish),
        beside("beside-unread-pings", "One whose Pongs are not read leaves the other")
            .step(Step::Flood(Frame::unmasked(PING, vec![b'x'; 125]), 10_000)),
        beside("beside-an-unread", "One whose echoes are not read leaves the other")
            .step(Step::Flood(Frame::unmasked(BINARY, vec![7; 60_000]), 20)),
    ]
}
