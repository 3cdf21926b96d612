//! Text is UTF-8 (RFC 6455 §5.6, §8.1; RFC 3629).

use sockeye_wire::{
    Frame, Role,
    frame::{BINARY, CONTINUATION, FIN, TEXT},
};

use super::Chapter;
use crate::case::{Case, Message, case};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "utf8",
    title: "Text is UTF-8",
    about: "The payload of a text message is UTF-8, and a peer that is sent anything else ends the connection. \
            A peer that passes it on makes other programs fail, or lets what one program has checked mean \
            something else to the next: an overlong form of / or a quote, half a surrogate pair.",
    cases,
};

const SECTION: &str = "RFC 6455 §8.1";
const TEXTS: &str = "RFC 6455 §5.6";
const INVALID: &[u16] = &[1007];

/// Right texts: each bound of each length, and what has been taken for wrong.
const VALID: &[(&str, &str)] = &[
    ("ascii", "\u{1}~\u{7F}"),
    ("nul", "a\0b"),
    ("greek", "κόσμε"),
    ("kanji", "紅鮭は川を上る"),
    ("emoji", "🐟🏞\u{FE0F}👩\u{200D}🔬"),
    ("first-of-2", "\u{80}"),
    ("last-of-2", "\u{7FF}"),
    ("first-of-3", "\u{800}"),
    ("last-of-3", "\u{FFFF}"),
    ("first-of-4", "\u{10000}"),
    ("last-of-all", "\u{10FFFF}"),
    ("before-surrogates", "\u{D7FF}"),
    ("behind-surrogates", "\u{E000}"),
    ("replacement", "\u{FFFD}"),
    ("noncharacter-fffe", "\u{FFFE}"),
    ("noncharacter-fdd0", "\u{FDD0}"),
    ("noncharacter-1ffff", "\u{1FFFF}"),
    ("noncharacter-10fffe", "\u{10FFFE}"),
    ("byte-order-mark", "\u{FEFF}text"),
    ("combining", "Zu\u{308}rich"),
    ("right-to-left", "שלום \u{202E}abc"),
    ("line-ends", "a\r\nb\rc\nd\u{2028}"),
];

/// Bytes that are not UTF-8.
const WRONG: &[(&str, &[u8])] = &[
    ("continuation-80", b"\x80"),
    ("continuation-bf", b"\xBF"),
    ("continuations-2", b"\x80\xBF"),
    ("continuations-7", b"\x80\xBF\x80\xBF\x80\xBF\x80"),
    ("behind-ascii", b"abc\x80"),
    ("start-of-2-alone", b"\xC3"),
    ("start-of-2-then-blank", b"\xC3 "),
    ("start-of-3-alone", b"\xE2"),
    ("start-of-3-then-blank", b"\xE2 "),
    ("2-of-3", b"\xE2\x82"),
    ("2-of-3-then-blank", b"\xE2\x82 "),
    ("start-of-4-alone", b"\xF0"),
    ("2-of-4", b"\xF0\x9F"),
    ("3-of-4", b"\xF0\x9F\x90"),
    ("3-of-4-then-blank", b"\xF0\x9F\x90 "),
    ("start-of-5", b"\xF8\x88\x80\x80\x80"),
    ("start-of-6", b"\xFC\x84\x80\x80\x80\x80"),
    ("fe", b"\xFE"),
    ("ff", b"\xFF"),
    ("fe-ff", b"\xFE\xFE\xFF\xFF"),
    ("overlong-slash-2", b"\xC0\xAF"),
    ("overlong-slash-3", b"\xE0\x80\xAF"),
    ("overlong-slash-4", b"\xF0\x80\x80\xAF"),
    ("overlong-nul-2", b"\xC0\x80"),
    ("overlong-nul-3", b"\xE0\x80\x80"),
    ("overlong-nul-4", b"\xF0\x80\x80\x80"),
    ("overlong-7f", b"\xC1\xBF"),
    ("overlong-7ff", b"\xE0\x9F\xBF"),
    ("overlong-ffff", b"\xF0\x8F\xBF\xBF"),
    ("surrogate-d800", b"\xED\xA0\x80"),
    ("surrogate-db7f", b"\xED\xAD\xBF"),
    ("surrogate-dbff", b"\xED\xAF\xBF"),
    ("surrogate-dc00", b"\xED\xB0\x80"),
    ("surrogate-dfff", b"\xED\xBF\xBF"),
    ("surrogate-pair", b"\xED\xA0\xBD\xED\xB0\x9F"),
    ("110000", b"\xF4\x90\x80\x80"),
    ("13ffff", b"\xF4\xBF\xBF\xBF"),
    ("f5", b"\xF5\x80\x80\x80"),
    ("f7", b"\xF7\xBF\xBF\xBF"),
    ("latin-1", b"Z\xFCrich"),
    ("utf-16", b"\xFF\xFEa\0"),
    ("greek-then-surrogate", b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited"),
];

fn cases() -> Vec<Case> {
    [valid(), split(), wrong(), early()].into_iter().flatten().collect()
}

fn valid() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, text) in VALID {
        cases.push(
            case(
                format!("utf8/valid-{id}"),
                TEXTS,
                format!("Right text: {}", text.escape_unicode()),
            )
            .send([Frame::unmasked(TEXT, text)])
            .echoes([Message::text(*text)]),
        );
    }
    for (id, bytes) in &WRONG[..6] {
        cases.push(
            case(format!("utf8/binary-{id}"), TEXTS, format!("Binary is not text: {bytes:x?}"))
                .send([Frame::unmasked(BINARY, bytes)])
                .echoes([Message::binary(*bytes)]),
        );
    }
    cases
}

/// A right text in fragments that cut its characters.
fn split() -> Vec<Case> {
    let text = "κ🐟";
    let cuts = (1..text.len()).map(|at| {
        let (begin, end) = text.as_bytes().split_at(at);
        case(format!("utf8/cut-at-{at}"), TEXTS, format!("{text} in two fragments, cut at {at}"))
            .send(Frame::fragments(Role::Server, TEXT, &[begin, end]))
            .echoes([Message::text(text)])
    });
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    cuts.chain([case("utf8/cut-everywhere", TEXTS, format!("{text}, each byte a fragment"))
        .send(Frame::fragments(Role::Server, TEXT, &bytes))
        .echoes([Message::text(text)])])
        .collect()
}

fn wrong() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, bytes) in WRONG {
        cases.push(
            case(format!("utf8/wrong-{id}"), SECTION, format!("Not UTF-8: {bytes:02x?}"))
                .send([Frame::unmasked(TEXT, bytes)])
                .fails(INVALID),
        );
    }
    let fragments: [(&str, &[&[u8]]); 6] = [
        ("second", &[b"right", b"wrong\xFF"]),
        ("cut", &[b"\xCE", b"x"]),
        ("end", &[b"right", b"\xCE", b""]),
        ("never-ended", &[b"\xF0\x9F", b"\x90"]),
        ("surrogate-cut", &[b"\xED", b"\xA0\x80"]),
        ("overlong-cut", &[b"\xC0", b"\xAF"]),
    ];
    for (id, split) in fragments {
        cases.push(
            case(
                format!("utf8/wrong-in-fragments-{id}"),
                SECTION,
                format!("Not UTF-8: {split:02x?}"),
            )
            .send(Frame::fragments(Role::Server, TEXT, split))
            .fails(INVALID),
        );
    }
    let long = [vec![b'x'; 70_000], b"\xFF".to_vec()].concat();
    cases.push(
        case("utf8/wrong-behind-70000", SECTION, "A wrong byte behind 70000 right ones")
            .send([Frame::unmasked(TEXT, long)])
            .fails(INVALID),
    );
    cases.push(
        case("utf8/wrong-behind-a-message", SECTION, "A wrong text behind a right one")
            .send([Frame::unmasked(TEXT, "right"), Frame::unmasked(TEXT, b"\xFF\xFE")])
            .fails(INVALID),
    );
    cases
}

/// Whether what is wrong ends the connection before the message does: nothing demands that.
fn early() -> Vec<Case> {
    vec![
        case("utf8/early-in-fragment", SECTION, "A wrong byte in a fragment that is not the last")
            .send([Frame::unmasked(TEXT & !FIN, b"\xFF")])
            .fails(INVALID)
            .may(),
        case("utf8/early-in-continuation", SECTION, "A wrong byte in a continuation")
            .send([
                Frame::unmasked(TEXT & !FIN, "right"),
                Frame::unmasked(CONTINUATION & !FIN, b"\xED\xA0"),
            ])
            .fails(INVALID)
            .may(),
    ]
}
