//! The closing handshake and its codes (RFC 6455 §5.5.1, §7).

use sockeye_wire::{
    Frame,
    frame::{CLOSE, FIN, PING, TEXT, close_payload},
};

use super::Chapter;
use crate::case::{Case, CloseRule, Expect, case};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "close",
    title: "The closing handshake",
    about: "Each end says with a Close that it will send no more, so that both know that nothing was lost. A \
            Close is answered by a Close, and then the server ends the connection. Its code says why; some \
            codes only exist inside of programs and are never sent.",
    cases,
};

const CLOSES: &str = "RFC 6455 §5.5.1";
const CODES: &str = "RFC 6455 §7.4";

fn cases() -> Vec<Case> {
    [answered(), codes(), reserved(), wrong(), behind()].into_iter().flatten().collect()
}

fn closing(id: &str, title: &str, payload: impl AsRef<[u8]>) -> Case {
    case(format!("close/{id}"), CLOSES, title)
        .send([Frame::unmasked(CLOSE, payload)])
        .expect(Expect::ClosesWith(CloseRule::Answered))
}

fn answered() -> Vec<Case> {
    let longest = close_payload(1000, "x".repeat(123));
    vec![
        closing("empty", "A Close without a code", ""),
        closing("code", "A Close with a code", close_payload(1000, "")),
        closing("reason", "A Close with a code and a reason", close_payload(1000, "bye")),
        closing("reason-utf8", "A reason that is not ASCII", close_payload(1000, "até já 🐟")),
        closing("reason-longest", "A reason of 123 bytes", longest),
        case("close/slowly", CLOSES, "A Close one byte at a time")
            .slowly([Frame::unmasked(CLOSE, close_payload(1000, "slow"))])
            .expect(Expect::ClosesWith(CloseRule::Answered)),
        case("close/behind-a-message", CLOSES, "A Close in the segment of a message")
            .send([Frame::unmasked(TEXT, "last"), Frame::unmasked(CLOSE, close_payload(1000, ""))])
            .expect(Expect::ClosesWith(CloseRule::Answered)),
        case("close/in-a-message", CLOSES, "A Close where a message has begun")
            .send([Frame::unmasked(TEXT & !FIN, "never"), Frame::unmasked(CLOSE, "")])
            .expect(Expect::ClosesWith(CloseRule::Answered)),
    ]
}

/// Codes that may be sent (§7.4.1, §7.4.2, and IANA's registry).
fn codes() -> Vec<Case> {
    let codes = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    let closed = |code: u16| {
        let case = case(format!("close/code-{code}"), CODES, format!("A Close with {code}"))
            .send([Frame::unmasked(CLOSE, close_payload(code, ""))])
            .expect(Expect::ClosesWith(CloseRule::Code(code)));
        // They came later: the registry has them, the RFC has not.
        if matches!(code, 1012..=1014) { case.should() } else { case }
    };
    codes.into_iter().map(closed).collect()
}

/// Codes that must not be sent, and those that are not defined.
fn reserved() -> Vec<Case> {
    let mut cases = Vec::new();
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let answered =
            case(format!("close/reserved-{code}"), CODES, format!("A Close with {code}"))
                .send([Frame::unmasked(CLOSE, close_payload(code, ""))])
                .expect(Expect::ClosesWith(CloseRule::NeverThisCode(code)));
        // Those that stand for the absence of a Close must not be in one (§7.4.1).
        let is_absence = matches!(code, 1005 | 1006 | 1015);
        cases.push(if is_absence { answered } else { answered.should() });
    }
    cases
}

fn wrong() -> Vec<Case> {
    let wrong = |id: &str, title: &str, codes: &'static [u16], payload: Vec<u8>| {
        case(format!("close/{id}"), CLOSES, title)
            .send([Frame::unmasked(CLOSE, payload)])
            .fails(codes)
            .should()
    };
    vec![
        wrong("one-byte", "A Close with half a code", &[1002], vec![3]),
        wrong(
            "reason-ff",
            "A reason that is not UTF-8",
            &[1007, 1002],
            close_payload(1000, b"\xFF"),
        ),
        wrong(
            "reason-surrogate",
            "A reason with half a surrogate pair",
            &[1007, 1002],
            close_payload(1000, b"abc\xED\xA0\x80"),
        ),
        wrong("reason-cut", "A reason whose last character is cut", &[1007, 1002], {
            close_payload(1000, b"caf\xC3")
        }),
    ]
}

/// What comes behind a Close is nothing any more.
fn behind() -> Vec<Case> {
    let close = || Frame::unmasked(CLOSE, close_payload(1000, ""));
    let behind = |id: &str, title: &str, frames: Vec<Frame>| {
        case(format!("close/{id}"), CLOSES, title)
            .send([vec![close()], frames].concat())
            .expect(Expect::ClosesWith(CloseRule::Answered))
    };
    vec![
        behind("then-text", "A text behind the Close", vec![Frame::unmasked(TEXT, "too late")]),
        behind("then-ping", "A Ping behind the Close", vec![Frame::unmasked(PING, "too late")]),
        behind("then-close", "A second Close", vec![close()]),
    ]
}
