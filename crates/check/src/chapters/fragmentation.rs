//! Messages in several frames (RFC 6455 §5.4).

use sockeye_wire::{
    Frame, Role,
    frame::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close_payload},
};

use super::Chapter;
use crate::case::{Case, CloseRule, Expect, Message, case};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "fragmentation",
    title: "Fragmentation",
    about: "A message may come in several frames: the first has its kind, the last the flag FIN, those between \
            are continuations. Pings, Pongs and Close may stand between them, other messages may not. A peer \
            that loses count gives applications messages that were not sent.",
    cases,
};

const SECTION: &str = "RFC 6455 §5.4";
const PROTOCOL_ERROR: &[u16] = &[1002];

/// A message in these pieces.
fn pieces(first: u8, pieces: &[&str]) -> Vec<Frame> {
    let bytes: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
    Frame::fragments(Role::Server, first, &bytes)
}

fn cases() -> Vec<Case> {
    [whole(), between(), wrong()].into_iter().flatten().collect()
}

fn whole() -> Vec<Case> {
    let splits: [(&str, &[&str]); 9] = [
        ("2", &["hel", "lo"]),
        ("3", &["a", "bc", "def"]),
        ("empty-first", &["", "hello"]),
        ("empty-last", &["hello", ""]),
        ("empty-middle", &["hel", "", "lo"]),
        ("all-empty", &["", "", ""]),
        ("2-empty", &["", ""]),
        ("bytes", &["h", "e", "l", "l", "o"]),
        ("empty-ends", &["", "hello", ""]),
    ];
    let mut cases = Vec::new();
    for (kind, first) in [("text", TEXT), ("binary", BINARY)] {
        for (id, split) in splits {
            let message = Message { is_text: first == TEXT, payload: split.concat().into_bytes() };
            cases.push(
                case(
                    format!("fragmentation/{kind}-{id}"),
                    SECTION,
                    format!("{kind} in {} fragments: {split:?}", split.len()),
                )
                .send(pieces(first, split))
                .echoes([message]),
            );
        }
        cases.extend(many(kind, first));
    }
    cases
}

/// Messages in many fragments, in slow ones, and one behind the other.
fn many(kind: &str, first: u8) -> Vec<Case> {
    let mut cases = Vec::new();
    let many = vec!["x"; 1000];
    let message = Message { is_text: first == TEXT, payload: vec![b'x'; 1000] };
    cases.push(
        case(format!("fragmentation/{kind}-1000"), SECTION, format!("{kind} in 1000 fragments"))
            .send(pieces(first, &many))
            .echoes([message.clone()]),
    );
    let large = vec!["y".repeat(16_384); 8];
    let large: Vec<&str> = large.iter().map(String::as_str).collect();
    cases.push(
        case(
            format!("fragmentation/{kind}-8-of-16384"),
            SECTION,
            format!("{kind} in 8 fragments of 16 KiB"),
        )
        .send(pieces(first, &large))
        .echoes([Message { payload: vec![b'y'; 131_072], ..message.clone() }]),
    );
    cases.push(
        case(format!("fragmentation/{kind}-slowly"), SECTION, format!("{kind} byte by byte"))
            .slowly(pieces(first, &["slow", "ly"]))
            .echoes([Message { payload: b"slowly".to_vec(), ..message.clone() }]),
    );
    let frames = [pieces(first, &["o", "ne"]), pieces(first, &["t", "wo"])].concat();
    let of = |text: &str| Message { payload: text.into(), ..message.clone() };
    cases.push(
        case(format!("fragmentation/{kind}-twice"), SECTION, format!("Two of {kind}, in turn"))
            .send(frames)
            .echoes([of("one"), of("two")]),
    );
    cases
}

/// Control frames between fragments.
fn between() -> Vec<Case> {
    let between = |control: Frame| {
        let mut frames = pieces(TEXT, &["hel", "lo"]);
        frames.insert(1, control);
        frames
    };
    let hello = || [Message::text("hello")];
    let ping = || Frame::unmasked(PING, "between");
    let mut everywhere = Vec::new();
    for frame in pieces(TEXT, &["a", "b", "c", "d"]) {
        everywhere.extend([frame, ping()]);
    }
    vec![
        case(
            "fragmentation/ping-between",
            SECTION,
            "A Ping between fragments: the message comes back",
        )
        .send(between(ping()))
        .echoes(hello()),
        case(
            "fragmentation/ping-between-is-answered",
            SECTION,
            "A Ping between fragments: the Pong",
        )
        .send(between(ping()))
        .pongs(&[b"between"]),
        case(
            "fragmentation/ping-before-the-rest",
            SECTION,
            "A Ping before the rest of the message",
        )
        .send([Frame::unmasked(TEXT & !FIN, "hel"), ping()])
        .pongs(&[b"between"]),
        case("fragmentation/pings-everywhere", SECTION, "A Ping behind each fragment")
            .send(everywhere)
            .echoes([Message::text("abcd")]),
        case("fragmentation/pong-between", SECTION, "A Pong between fragments")
            .send(between(Frame::unmasked(PONG, "")))
            .echoes(hello()),
        case("fragmentation/close-between", SECTION, "A Close between fragments")
            .send(between(Frame::unmasked(CLOSE, close_payload(1000, ""))))
            .expect(Expect::ClosesWith(CloseRule::Answered)),
    ]
}

fn wrong() -> Vec<Case> {
    let wrong = |id: &str, title: &str| {
        case(format!("fragmentation/{id}"), SECTION, title).fails(PROTOCOL_ERROR)
    };
    let frame = |first: u8, payload: &str| Frame::unmasked(first, payload);
    let mut cases = vec![
        wrong("continuation-first", "A last continuation of no message")
            .send([frame(CONTINUATION, "hello")]),
        wrong("continuation-first-empty", "An empty last continuation of no message")
            .send([frame(CONTINUATION, "")]),
        wrong("continuation-first-not-last", "A continuation of no message that is not the last")
            .send([frame(CONTINUATION & !FIN, "hello")]),
        wrong("continuation-behind-whole", "A continuation behind a whole message")
            .send([frame(TEXT, "right"), frame(CONTINUATION, "wrong")]),
        wrong("continuation-behind-fragments", "A continuation behind a message in fragments")
            .send([pieces(TEXT, &["ri", "ght"]), vec![frame(CONTINUATION, "wrong")]].concat()),
        wrong("continuation-behind-ping", "A continuation behind a Ping alone")
            .send([frame(PING, ""), frame(CONTINUATION, "wrong")]),
    ];
    for (outer, first) in [("text", TEXT), ("binary", BINARY)] {
        for (inner, second) in [("text", TEXT), ("binary", BINARY)] {
            for (id, fin, words) in [("whole", FIN, "whole"), ("begun", 0, "begun, not ended,")] {
                cases.push(
                    wrong(
                        &format!("{inner}-{id}-in-{outer}"),
                        &format!("{inner}, {words} inside a message of {outer}"),
                    )
                    .send([
                        frame(first & !FIN, "outer"),
                        frame(second & !FIN | fin, "inner"),
                        frame(CONTINUATION, "rest"),
                    ]),
                );
            }
        }
    }
    cases
}
