//! Compressed messages (RFC 7692 §6, §7.2).

use sockeye_wire::{
    Frame, Role,
    frame::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT, close_payload},
};

use super::Chapter;
use crate::{
    case::{Case, Expect, Message, Need, case},
    deflate::{Block, deflated, stored, with_final_block},
};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "compression",
    title: "Compressed messages",
    about: "With permessage-deflate, RSV1 in the first frame of a message says that it is compressed. How is left \
            to the sender, within DEFLATE: a receiver takes every form of it, inflates what refers to earlier \
            messages if that was agreed on, and ends the connection at bytes that are not DEFLATE.",
    cases,
};

const SECTION: &str = "RFC 7692 §7.2.3";
const RULES: &str = "RFC 7692 §6";
const PLAIN: &str = "permessage-deflate";
const FRESH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn cases() -> Vec<Case> {
    let all = [examples(), sizes(), mixed(), takeover(), windows(), wrong()];
    all.into_iter().flatten().map(|case| case.need(Need::Deflate)).collect()
}

fn compressed(first: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame::unmasked(first | RSV1, payload)
}

fn offered(id: &str, section: &'static str, title: &str) -> Case {
    case(format!("compression/{id}"), section, title).offer(PLAIN)
}

/// The examples of the RFC.
fn examples() -> Vec<Case> {
    let hello = deflated(&[Block::Literal(b"Hello")]);
    let two_blocks = [0xF2, 0x48, 0x05, 0, 0, 0, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00];
    let echoes = |case: Case| case.echoes([Message::text("Hello")]);
    let fragments = Frame::fragments(Role::Server, TEXT | RSV1, &[&hello[..3], &hello[3..]]);
    let bytes: Vec<&[u8]> = hello.chunks(1).collect();
    vec![
        echoes(offered("hello", SECTION, "Hello, compressed").send([compressed(TEXT, &hello)])),
        echoes(
            offered("hello-fragments", SECTION, "Hello, compressed, in two fragments")
                .send(fragments),
        ),
        echoes(
            offered("hello-bytes", SECTION, "Hello, compressed, each byte a fragment")
                .send(Frame::fragments(Role::Server, TEXT | RSV1, &bytes)),
        ),
        echoes(
            offered("hello-empty-fragments", SECTION, "Hello, compressed, with empty fragments")
                .send(Frame::fragments(
                    Role::Server,
                    TEXT | RSV1,
                    &[b"", &hello[..3], b"", &hello[3..], b""],
                )),
        ),
        echoes(
            offered("hello-slowly", SECTION, "Hello, compressed, byte by byte")
                .slowly([compressed(TEXT, &hello)]),
        ),
        echoes(
            offered("stored", SECTION, "Hello in a block that is not compressed")
                .send([compressed(TEXT, stored(b"Hello"))]),
        ),
        echoes(
            offered("final-block", SECTION, "Hello in a block with BFINAL")
                .send([compressed(TEXT, with_final_block(&[Block::Literal(b"Hello")]))]),
        ),
        echoes(
            offered("two-blocks", SECTION, "Hello in two blocks")
                .send([compressed(TEXT, two_blocks)]),
        ),
        offered("empty", "RFC 7692 §7.2.3.6", "An empty message, compressed")
            .send([compressed(TEXT, [0])])
            .echoes([Message::text("")]),
        offered("empty-binary", "RFC 7692 §7.2.3.6", "An empty binary message, compressed")
            .send([compressed(BINARY, [0])])
            .echoes([Message::binary("")]),
        offered("twice-final-block", SECTION, "Two messages, each in a block with BFINAL")
            .send([
                compressed(TEXT, with_final_block(&[Block::Literal(b"one")])),
                compressed(TEXT, with_final_block(&[Block::Literal(b"two")])),
            ])
            .echoes([Message::text("one"), Message::text("two")]),
    ]
}

/// Bytes in which nothing repeats that a compressor could use.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| byte()).collect()
}

fn sizes() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [1, 125, 126, 127, 1000, 65_535, 65_536, 100_000] {
        let payload = noise(size);
        cases.push(
            offered(
                &format!("noise-of-{size}"),
                RULES,
                &format!("{size} bytes of noise, compressed"),
            )
            .send([compressed(BINARY, deflated(&[Block::Literal(&payload)]))])
            .echoes([Message::binary(payload)]),
        );
        let repeats = vec![b'r'; size];
        let copies = [vec![Block::Literal(b"r")], vec![Block::Copy(258, 1); size / 258]].concat();
        let rest = vec![b'r'; size - 1 - (size - 1) / 258 * 258];
        let mut blocks = copies[..1 + (size - 1) / 258].to_vec();
        blocks.push(Block::Literal(&rest));
        cases.push(
            offered(&format!("repeats-of-{size}"), RULES, &format!("{size} times the same byte"))
                .send([compressed(TEXT, deflated(&blocks))])
                .echoes([Message::text(repeats)]),
        );
    }
    cases
}

/// Compressed and not, by turns, and control frames between.
fn mixed() -> Vec<Case> {
    let one = deflated(&[Block::Literal(b"one")]);
    let mut between = Frame::fragments(Role::Server, TEXT | RSV1, &[&one[..2], &one[2..]]);
    between.insert(1, Frame::unmasked(PING, "between"));
    vec![
        offered("not-compressed", RULES, "A message that is not compressed")
            .send([Frame::unmasked(TEXT, "plain")])
            .echoes([Message::text("plain")]),
        offered("mixed", RULES, "Compressed, not compressed, compressed")
            .send([
                compressed(TEXT, &one),
                Frame::unmasked(TEXT, "two"),
                compressed(TEXT, deflated(&[Block::Literal(b"three")])),
            ])
            .echoes([Message::text("one"), Message::text("two"), Message::text("three")]),
        offered("ping-between", "RFC 7692 §6.1", "A Ping between compressed fragments")
            .send(between)
            .echoes([Message::text("one")]),
        offered("ping", "RFC 7692 §6.1", "Control frames are not compressed")
            .send([Frame::unmasked(PING, "plain")])
            .pongs(&[b"plain"]),
    ]
}

/// Messages that refer to earlier ones.
fn takeover() -> Vec<Case> {
    let hello = deflated(&[Block::Literal(b"Hello")]);
    let again = [0xF2, 0x00, 0x11, 0x00, 0x00];
    let twice = || [compressed(TEXT, &hello), compressed(TEXT, again)];
    let hellos = |count| vec![Message::text("Hello"); count];
    let far = noise(32_000);
    vec![
        offered("takeover", "RFC 7692 §7.2.3.2", "A message that refers to the one before")
            .send(twice())
            .echoes(hellos(2))
            .need(Need::Takeover),
        offered(
            "takeover-plain-between",
            "RFC 7692 §7.2.3.2",
            "The same, with a plain one between",
        )
        .send([compressed(TEXT, &hello), Frame::unmasked(TEXT, "between"), compressed(TEXT, again)])
        .echoes([Message::text("Hello"), Message::text("between"), Message::text("Hello")])
        .need(Need::Takeover),
        offered("takeover-far", "RFC 7692 §7.2.3.2", "A reference 32000 bytes back")
            .send([
                compressed(BINARY, deflated(&[Block::Literal(&far)])),
                compressed(BINARY, deflated(&[Block::Copy(100, 32_000)])),
            ])
            .echoes([Message::binary(far.clone()), Message::binary(&far[..100])])
            .need(Need::Takeover),
        case("compression/no-takeover", "RFC 7692 §7.1.1.1", "server_no_context_takeover is kept")
            .offer(FRESH)
            .send([compressed(TEXT, &hello), compressed(TEXT, &hello), compressed(TEXT, &hello)])
            .echoes(hellos(3)),
        case("compression/no-takeover-large", "RFC 7692 §7.1.1.1", "The same with 10000 bytes")
            .offer(FRESH)
            .send(vec![compressed(BINARY, deflated(&[Block::Literal(&far[..10_000])])); 3])
            .echoes(vec![Message::binary(&far[..10_000]); 3]),
        offered("many", "RFC 7692 §7.2.3.2", "Fifty compressed messages in a row")
            .send(vec![compressed(TEXT, &hello); 50])
            .echoes(hellos(50)),
    ]
}

/// The window that the server agreed on is not left.
fn windows() -> Vec<Case> {
    let mut cases = Vec::new();
    for (bits, offer) in [
        (9, "permessage-deflate; server_max_window_bits=9"),
        (10, "permessage-deflate; server_max_window_bits=10"),
        (12, "permessage-deflate; server_max_window_bits=12"),
    ] {
        // What comes twice, further apart than the window.
        let piece: Vec<u8> = noise((1 << bits) + 600).iter().map(|byte| b'a' + byte % 26).collect();
        let message = [&piece[..], &piece].concat();
        cases.push(
            case(
                format!("compression/window-{bits}"),
                "RFC 7692 §7.1.2.1",
                format!("{} bytes twice, where the window has {bits} bits", piece.len()),
            )
            .offer(offer)
            .send([Frame::unmasked(TEXT, &message)])
            .expect(Expect::Window(1 << bits))
            .need(Need::Echo)
            .of_servers(),
        );
    }
    cases
}

/// What is not a compressed message.
fn wrong() -> Vec<Case> {
    let hello = deflated(&[Block::Literal(b"Hello")]);
    let wrong = |id: &str, section: &'static str, title: &str, codes: &'static [u16]| {
        offered(&format!("wrong-{id}"), section, title).fails(codes)
    };
    let data: &[u16] = &[1002, 1003, 1007, 1008, 1011];
    let text = |bytes: &[u8]| [compressed(TEXT, deflated(&[Block::Literal(bytes)]))];
    vec![
        wrong("rsv1-continuation", "RFC 7692 §6.1", "RSV1 in a continuation", &[1002]).send([
            compressed(TEXT & !FIN, &hello[..3]),
            Frame::unmasked(CONTINUATION | RSV1, &hello[3..]),
        ]),
        wrong("rsv1-ping", "RFC 7692 §6.1", "RSV1 in a Ping", &[1002])
            .send([compressed(PING, "x")]),
        wrong("rsv1-pong", "RFC 7692 §6.1", "RSV1 in a Pong", &[1002])
            .send([compressed(PONG, "x")]),
        wrong("rsv1-close", "RFC 7692 §6.1", "RSV1 in a Close", &[1002])
            .send([compressed(CLOSE, close_payload(1000, ""))]),
        wrong("rsv2", "RFC 6455 §5.2", "RSV2 in a compressed message", &[1002])
            .send([compressed(TEXT | 0x20, &hello)]),
        wrong("block-type", RULES, "A block of the reserved type", data)
            .send([compressed(BINARY, [0x06, 0xFF, 0xFF])]),
        wrong("stored-length", RULES, "A stored block whose length does not fit", data)
            .send([compressed(BINARY, [0x00, 0x05, 0x00, 0x00, 0x00, 1, 2, 3, 4, 5, 0])]),
        wrong("noise", RULES, "Bytes that are not DEFLATE", data)
            .send([compressed(BINARY, [0xFF; 32])]),
        wrong("too-far", RULES, "A reference to before the first byte", data)
            .send([compressed(BINARY, deflated(&[Block::Literal(b"abc"), Block::Copy(10, 100)]))]),
        wrong("utf8", "RFC 6455 §8.1", "A compressed text that is not UTF-8", &[1007])
            .send(text(b"\xFF\xFE")),
        wrong("utf8-surrogate", "RFC 6455 §8.1", "Half a surrogate pair, compressed", &[1007])
            .send(text(b"abc\xED\xA0\x80")),
        wrong(
            "utf8-cut",
            "RFC 6455 §8.1",
            "A compressed text whose last character is cut",
            &[1007],
        )
        .send(text(b"caf\xC3")),
    ]
}
