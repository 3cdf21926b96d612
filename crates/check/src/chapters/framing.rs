//! Frames: opcodes, reserved bits, lengths (RFC 6455 §5.2).

use sockeye_wire::{
    Frame,
    frame::{BINARY, CLOSE, CONTINUATION, FIN, Form, PING, PONG, TEXT, close_payload},
};

use super::Chapter;
use crate::case::{Case, Message, Step, case};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "framing",
    title: "Framing",
    about: "Everything on a WebSocket is a frame: a byte with the kind of the frame and a few flags, a length \
            in one of three forms, a payload. What a frame says that is not defined has to end the connection: \
            both ends would otherwise read on from different places, or an extension that only one of them \
            knows would change what messages mean.",
    cases,
};

const SECTION: &str = "RFC 6455 §5.2";
const PROTOCOL_ERROR: &[u16] = &[1002];

fn cases() -> Vec<Case> {
    [sizes(), pieces(), reserved_bits(), opcodes(), lengths()].into_iter().flatten().collect()
}

/// A payload in which no two stretches are alike.
fn letters(count: usize) -> Vec<u8> {
    (0..count).map(|at| b'a' + (at * at / 7 % 26) as u8).collect()
}

/// Every form of the length, at its bounds.
fn sizes() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1 << 20]
    {
        let payload = letters(size);
        cases.push(
            case(format!("framing/text-of-{size}"), SECTION, format!("A text of {size} bytes"))
                .send([Frame::unmasked(TEXT, &payload)])
                .echoes([Message::text(payload.clone())]),
        );
        cases.push(
            case(format!("framing/binary-of-{size}"), SECTION, format!("{size} bytes of binary"))
                .send([Frame::unmasked(BINARY, &payload)])
                .echoes([Message::binary(payload)]),
        );
    }
    let bytes: Vec<u8> = (0..=255).collect();
    cases.push(
        case("framing/every-byte", "RFC 6455 §5.6", "Every byte in a binary message")
            .send([Frame::unmasked(BINARY, &bytes)])
            .echoes([Message::binary(bytes)]),
    );
    cases
}

/// The same frames, cut by the network as it likes.
fn pieces() -> Vec<Case> {
    let kinds = [("text", TEXT), ("binary", BINARY)];
    let mut cases = Vec::new();
    for (kind, first) in kinds {
        for size in [5, 200] {
            let message = Message { is_text: first == TEXT, payload: letters(size) };
            cases.push(
                case(
                    format!("framing/{kind}-of-{size}-in-bytes"),
                    "RFC 6455 §5.1",
                    format!("{size} bytes of {kind}, one byte at a time"),
                )
                .slowly([Frame::unmasked(first, &message.payload)])
                .echoes([message]),
            );
        }
        let messages: Vec<_> = (1..=20)
            .map(|size| Message { is_text: first == TEXT, payload: letters(size) })
            .collect();
        let frames: Vec<_> =
            messages.iter().map(|message| Frame::unmasked(first, &message.payload)).collect();
        cases.push(
            case(
                format!("framing/{kind}-20-together"),
                "RFC 6455 §5.1",
                format!("20 frames of {kind} in one write"),
            )
            .send(frames)
            .echoes(messages),
        );
    }
    let mixed =
        [Message::text("one"), Message::binary("two"), Message::text(""), Message::binary("")];
    let frames = [(TEXT, "one"), (BINARY, "two"), (TEXT, ""), (BINARY, "")];
    cases.push(
        case("framing/mixed-together", "RFC 6455 §5.6", "Text and binary by turns, in one write")
            .send(frames.map(|(first, payload)| Frame::unmasked(first, payload)))
            .echoes(mixed),
    );
    cases
}

/// Reserved bits that no extension gives a meaning.
fn reserved_bits() -> Vec<Case> {
    let kinds = [
        ("text", TEXT, "hello".into()),
        ("binary", BINARY, "hello".into()),
        ("ping", PING, "hello".into()),
        ("pong", PONG, "hello".into()),
        ("close", CLOSE, close_payload(1000, "")),
    ];
    let mut cases = Vec::new();
    for (kind, first, payload) in kinds {
        let payload: Vec<u8> = payload;
        for bits in 1..8 {
            cases.push(
                case(
                    format!("framing/rsv-{bits}-{kind}"),
                    SECTION,
                    format!("A {kind} frame with {}", names(bits)),
                )
                .send([Frame::unmasked(first | bits << 4, &payload)])
                .fails(PROTOCOL_ERROR),
            );
        }
    }
    for bits in [1, 2, 4] {
        cases.push(
            case(
                format!("framing/rsv-{bits}-continuation"),
                SECTION,
                format!("A continuation with {}", names(bits)),
            )
            .send([
                Frame::unmasked(TEXT & !FIN, "hel"),
                Frame::unmasked(CONTINUATION | bits << 4, "lo"),
            ])
            .fails(PROTOCOL_ERROR),
        );
    }
    cases.push(
        case("framing/rsv-2-behind-a-message", SECTION, "RSV2 in the frame behind a right message")
            .send([Frame::unmasked(TEXT, "right"), Frame::unmasked(TEXT | 0x20, "wrong")])
            .fails(PROTOCOL_ERROR),
    );
    cases
}

fn names(bits: u8) -> String {
    let names = [(4, "RSV1"), (2, "RSV2"), (1, "RSV3")];
    let set: Vec<_> =
        names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    set.join(" and ")
}

/// Opcodes that mean nothing yet.
fn opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        let kind = if opcode < 8 { "data" } else { "control" };
        let wrong = |id: &str, title: String| {
            case(format!("framing/opcode-{opcode:x}-{id}"), SECTION, title).fails(PROTOCOL_ERROR)
        };
        cases.extend([
            wrong("empty", format!("The reserved {kind} opcode {opcode:#x}, empty"))
                .send([Frame::unmasked(FIN | opcode, "")]),
            wrong("payload", format!("The reserved {kind} opcode {opcode:#x}, with a payload"))
                .send([Frame::unmasked(FIN | opcode, "hello")]),
            wrong("inside", format!("The reserved opcode {opcode:#x} inside a message")).send([
                Frame::unmasked(TEXT & !FIN, "hel"),
                Frame::unmasked(FIN | opcode, ""),
                Frame::unmasked(CONTINUATION, "lo"),
            ]),
        ]);
    }
    cases
}

/// Lengths that no right sender writes.
fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    let kinds = [("text", TEXT), ("binary", BINARY)];
    for (kind, first) in kinds {
        for (size, form, bits) in [
            (0, Form::Bits16, 16),
            (125, Form::Bits16, 16),
            (5, Form::Bits64, 64),
            (126, Form::Bits64, 64),
            (65_535, Form::Bits64, 64),
        ] {
            cases.push(
                case(
                    format!("framing/{kind}-of-{size}-in-{bits}-bits"),
                    SECTION,
                    format!("{size} bytes of {kind}, the length in {bits} bits"),
                )
                .send([Frame::unmasked(first, letters(size)).form(form)])
                .fails(PROTOCOL_ERROR)
                .should(),
            );
        }
    }
    cases.push(
        case("framing/ping-of-5-in-16-bits", SECTION, "A Ping of 5 bytes, the length in 16 bits")
            .send([Frame::unmasked(PING, "hello").form(Form::Bits16)])
            .fails(PROTOCOL_ERROR)
            .should(),
    );
    cases.push(
        case("framing/ping-of-5-in-64-bits", SECTION, "A Ping of 5 bytes, the length in 64 bits")
            .send([Frame::unmasked(PING, "hello").form(Form::Bits64)])
            .fails(PROTOCOL_ERROR)
            .should(),
    );
    cases.push(
        case("framing/length-of-64-bits", SECTION, "A length whose highest bit is set")
            .step(Step::Frames(vec![Frame::unmasked(BINARY, "hello").announce(1 << 63 | 5)]))
            .fails(&[1002, 1009])
            .should(),
    );
    cases
}
