//! Pings and Pongs (RFC 6455 §5.5).

use sockeye_wire::{
    Frame,
    frame::{CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close_payload},
};

use super::Chapter;
use crate::case::{Case, Message, case};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "control",
    title: "Pings and Pongs",
    about: "A Ping asks whether the other end is still there, and is answered by a Pong with the same payload. \
            Control frames are short and whole, so that they can be answered in the middle of a long message.",
    cases,
};

const PINGS: &str = "RFC 6455 §5.5.2";
const PONGS: &str = "RFC 6455 §5.5.3";
const RULES: &str = "RFC 6455 §5.5";

fn cases() -> Vec<Case> {
    let mut cases = answered();
    cases.extend(refused());
    cases
}

fn answered() -> Vec<Case> {
    let ping = |first: u8, payload: &[u8]| Frame::unmasked(first, payload);
    let bytes: Vec<u8> = (0x80..0xFD).collect();
    let ten: Vec<_> = (0..10u8).map(|at| Frame::unmasked(PING, [b'0' + at])).collect();
    let mut mixed = vec![Frame::unmasked(TEXT, "one"), ping(PING, b"p")];
    mixed.push(Frame::unmasked(TEXT, "two"));
    vec![
        case("control/ping-empty", PINGS, "An empty Ping").send([ping(PING, b"")]).pongs(&[b""]),
        case("control/ping-payload", PINGS, "A Ping with a payload")
            .send([ping(PING, b"hello")])
            .pongs(&[b"hello"]),
        case("control/ping-of-125", PINGS, "A Ping of 125 bytes")
            .send([ping(PING, &[b'x'; 125])])
            .pongs(&[&[b'x'; 125]]),
        case("control/ping-binary", PINGS, "A Ping whose payload is not text")
            .send([ping(PING, &bytes)])
            .pongs(&[&bytes]),
        case("control/ping-nul", PINGS, "A Ping of zeros")
            .send([ping(PING, &[0; 8])])
            .pongs(&[&[0; 8]]),
        case("control/ping-slowly", PINGS, "A Ping one byte at a time")
            .slowly([ping(PING, b"slow")])
            .pongs(&[b"slow"]),
        case("control/pings-10", PONGS, "Ten Pings at once")
            .send(ten)
            .pongs(&[b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"]),
        case("control/pings-same", PONGS, "The same Ping twice")
            .send([ping(PING, b"same"), ping(PING, b"same")])
            .pongs(&[b"same", b"same"]),
        case("control/pong-unasked", PONGS, "An unsolicited Pong").send([ping(PONG, b"unasked")]),
        case("control/pong-unasked-empty", PONGS, "An empty unsolicited Pong")
            .send([ping(PONG, b"")]),
        case("control/pong-unasked-of-125", PONGS, "An unsolicited Pong of 125 bytes")
            .send([ping(PONG, &[0xFF; 125])]),
        case("control/pong-then-ping", PONGS, "A Pong, then a Ping with another payload")
            .send([ping(PONG, b"unasked"), ping(PING, b"asked")])
            .pongs(&[b"asked"]),
        case("control/ping-between-messages", PINGS, "A Ping between two messages")
            .send(mixed)
            .echoes([Message::text("one"), Message::text("two")]),
    ]
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    let kinds = [
        ("ping", PING, Vec::new()),
        ("pong", PONG, Vec::new()),
        ("close", CLOSE, close_payload(1000, "")),
    ];
    for (kind, first, begin) in kinds {
        let of = |size: usize| [&begin[..], &vec![b'x'; size - begin.len()]].concat();
        let wrong = |id: &str, title: String| {
            case(format!("control/{kind}-{id}"), RULES, title).fails(&[1002])
        };
        cases.extend([
            wrong("of-126", format!("A {kind} of 126 bytes"))
                .send([Frame::unmasked(first, of(126))]),
            wrong("of-65536", format!("A {kind} of 65536 bytes"))
                .send([Frame::unmasked(first, of(65_536))]),
            wrong("not-last", format!("A {kind} without FIN"))
                .send([Frame::unmasked(first & !FIN, &begin)]),
            wrong("in-fragments", format!("A {kind} in two fragments")).send([
                Frame::unmasked(first & !FIN, &begin),
                Frame::unmasked(CONTINUATION, "rest"),
            ]),
            wrong("not-last-inside", format!("A {kind} without FIN inside a message")).send([
                Frame::unmasked(TEXT & !FIN, "hel"),
                Frame::unmasked(first & !FIN, &begin),
                Frame::unmasked(CONTINUATION, "lo"),
            ]),
        ]);
    }
    cases
}
