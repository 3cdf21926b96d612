//! Limits and deadlines: what a peer bounds, so that others cannot exhaust it (RFC 6455 §10.4).

use sockeye_wire::{
    Frame,
    frame::{BINARY, CLOSE, CONTINUATION, FIN, Form, PING, TEXT, close_payload},
};

use super::Chapter;
use crate::case::{Case, Expect, Message, Step, case};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "limits",
    title: "Limits and deadlines",
    about: "A frame may announce more bytes than any machine has, a message may have frames without end, and a \
            peer may open a connection and then say nothing. Whatever waits for that holds memory and a \
            connection meanwhile, so it needs a bound; the RFC leaves open which.",
    cases,
};

const LIMITS: &str = "RFC 6455 §10.4";

fn cases() -> Vec<Case> {
    [sizes(), floods(), deadlines()].into_iter().flatten().collect()
}

fn sizes() -> Vec<Case> {
    let announced = |id: &str, title: &str, frame: Frame| {
        case(format!("limits/{id}"), LIMITS, title).send([frame]).fails(&[1009]).should()
    };
    let huge = |first: u8, length: u64| {
        Frame::unmasked(first, "begin").announce(length).form(Form::Bits64)
    };
    vec![
        announced("text-of-8-eib", "A text frame that announces 2^63 - 1 bytes", {
            huge(TEXT, i64::MAX as u64)
        }),
        announced("binary-of-8-eib", "A binary frame that announces 2^63 - 1 bytes", {
            huge(BINARY, i64::MAX as u64)
        }),
        announced(
            "binary-of-1-tib",
            "A binary frame that announces 2^40 bytes",
            huge(BINARY, 1 << 40),
        )
        .may(),
        announced(
            "binary-of-4-gib",
            "A binary frame that announces 2^32 bytes",
            huge(BINARY, 1 << 32),
        )
        .may(),
        case("limits/message-of-4-mib", LIMITS, "A message of 4 MiB")
            .send([Frame::unmasked(BINARY, vec![7; 4 << 20])])
            .echoes([Message::binary(vec![7; 4 << 20])])
            .may(),
    ]
}

/// More and more of the same.
fn floods() -> Vec<Case> {
    let survives = |id: &str, title: &str| {
        case(format!("limits/{id}"), LIMITS, title).expect(Expect::Survives).of_servers()
    };
    vec![
        case("limits/pings-1000", "RFC 6455 §5.5.2", "A thousand Pings, and then their Pongs")
            .step(Step::Flood(Frame::unmasked(PING, "flood"), 1000))
            .pongs(&[])
            .may(),
        survives("pings-unread", "100000 Pings whose Pongs are never read")
            .step(Step::Flood(Frame::unmasked(PING, vec![b'x'; 125]), 100_000))
            .step(Step::Vanish),
        survives("messages-unread", "1000 messages of 64 KiB whose echoes are never read")
            .step(Step::Flood(Frame::unmasked(BINARY, vec![7; 65_536]), 1000))
            .step(Step::Vanish),
        survives("fragments-unended", "100000 empty fragments of one message")
            .send([Frame::unmasked(BINARY & !FIN, "")])
            .step(Step::Flood(Frame::unmasked(CONTINUATION & !FIN, ""), 100_000))
            .step(Step::Vanish),
    ]
}

/// Peers that say nothing. A bound is what most servers have; none is demanded.
fn deadlines() -> Vec<Case> {
    let silent = |id: &str, title: &str, seconds| {
        case(format!("limits/{id}"), LIMITS, title)
            .expect(Expect::EndsWithin(seconds))
            .of_servers()
            .may()
    };
    vec![
        case("limits/no-close-answered", "RFC 6455 §7.1.7", "Its Close is never answered")
            .send([Frame::unmasked(TEXT | 0x20, "wrong")])
            .expect(Expect::EndsAfterClose(15))
            .of_servers()
            .should(),
        silent("silence", "A client that opens a WebSocket and never answers a Ping", 15),
        silent("half-a-frame", "A frame that is never ended", 15)
            .step(Step::Cut(Frame::unmasked(BINARY, [7; 100]), 20)),
        case(
            "limits/no-end",
            "RFC 6455 §5.5.1",
            "Both have sent a Close, and the client does not end",
        )
        .send([Frame::unmasked(CLOSE, close_payload(1000, ""))])
        .expect(Expect::EndsWithin(10))
        .of_servers(),
        cut(silent("half-a-request", "A request that is never ended", 15), 40),
        cut(silent("no-request", "A connection that nothing is sent on", 15), 0),
    ]
}

/// Only that many bytes of the opening handshake.
fn cut(mut case: Case, count: usize) -> Case {
    case.opening.cut = Some(count);
    case
}
