//! Connections that end badly, and what is left of the server afterwards (RFC 6455 §7.1).

use sockeye_wire::{
    Frame,
    frame::{BINARY, CLOSE, FIN, PING, TEXT, close_payload},
};

use super::Chapter;
use crate::case::{Case, Expect, Message, Step, case};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "endings",
    title: "Bad endings",
    about: "Connections are cut in the middle of everything: a laptop sleeps, a proxy restarts, an attacker wants \
            it so. The one connection is lost then; nothing else is.",
    cases,
};

const SECTION: &str = "RFC 6455 §7.1";

fn cases() -> Vec<Case> {
    half_closed().into_iter().chain(cut()).collect()
}

/// The peer has sent its last byte, without a Close.
fn half_closed() -> Vec<Case> {
    let ends = |id: &str, title: &str| {
        case(format!("endings/{id}"), SECTION, title).expect(Expect::EndsWithin(10)).should()
    };
    vec![
        ends("half-close", "The end of the other direction, without a Close").step(Step::HalfClose),
        ends("half-close-in-a-header", "The same in the middle of a header")
            .step(Step::Cut(Frame::unmasked(BINARY, [7; 300]), 3))
            .step(Step::HalfClose),
        ends("half-close-in-a-payload", "The same in the middle of a payload")
            .step(Step::Cut(Frame::unmasked(BINARY, [7; 300]), 100))
            .step(Step::HalfClose),
        ends("half-close-in-a-message", "The same between two fragments")
            .send([Frame::unmasked(TEXT & !FIN, "never ended")])
            .step(Step::HalfClose),
        case("endings/half-close-behind-a-message", SECTION, "The same right behind a message")
            .send([Frame::unmasked(TEXT, "last")])
            .step(Step::HalfClose)
            .echoes([Message::text("last")])
            .may(),
        case("endings/http", SECTION, "An HTTP request on an open WebSocket")
            .step(Step::Bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .fails(&[1002])
            .of_servers(),
        case("endings/zeros", SECTION, "Zeros on an open WebSocket")
            .step(Step::Bytes(&[0; 64]))
            .fails(&[1002])
            .of_servers(),
    ]
}

/// The connection is gone from one moment to the next. A new one opens and answers.
fn cut() -> Vec<Case> {
    let survives = |id: &str, title: &str| {
        case(format!("endings/{id}"), SECTION, title).expect(Expect::Survives).of_servers()
    };
    let mut in_a_request = survives("cut-in-a-request", "Cut in the middle of the request");
    in_a_request.opening.cut = Some(40);
    vec![
        survives("cut", "Cut when it is open").step(Step::Vanish),
        survives("cut-behind-a-message", "Cut with an echo that is not read")
            .send([Frame::unmasked(TEXT, "unread"), Frame::unmasked(PING, "unread")])
            .step(Step::Pause(50))
            .step(Step::Vanish),
        survives("cut-in-a-header", "Cut in the middle of a header")
            .step(Step::Cut(Frame::unmasked(BINARY, [7; 300]), 3))
            .step(Step::Vanish),
        survives("cut-in-a-payload", "Cut in the middle of a payload")
            .step(Step::Cut(Frame::unmasked(BINARY, [7; 300]), 100))
            .step(Step::Vanish),
        survives("cut-in-a-message", "Cut between two fragments")
            .send([Frame::unmasked(TEXT & !FIN, "never ended")])
            .step(Step::Vanish),
        survives("cut-behind-a-close", "Cut right behind the Close")
            .send([Frame::unmasked(CLOSE, close_payload(1000, ""))])
            .step(Step::Vanish),
        survives("cut-behind-a-mistake", "Cut right behind a wrong frame")
            .send([Frame::unmasked(TEXT | 0x70, "wrong")])
            .step(Step::Vanish),
        in_a_request.step(Step::Vanish),
        survives("serves-afterwards", "After all other cases the server still serves"),
    ]
}
