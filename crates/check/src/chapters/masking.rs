//! Clients mask, servers do not (RFC 6455 §5.1, §5.3).

use sockeye_wire::{
    Frame, Role,
    frame::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close_payload},
};

use super::Chapter;
use crate::case::{Case, Message, case};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "masking",
    title: "Masking",
    about: "Clients mask every frame with a key that cannot be predicted, servers mask none. Otherwise a page \
            could choose the bytes on the wire, and make a proxy that takes them for HTTP store them as \
            another user's page. So a server that takes frames without a mask protects no user.",
    cases,
};

const SECTION: &str = "RFC 6455 §5.1";

fn cases() -> Vec<Case> {
    let kinds = [
        ("text", TEXT, b"hello".to_vec()),
        ("empty-text", TEXT, Vec::new()),
        ("binary", BINARY, b"hello".to_vec()),
        ("binary-of-126", BINARY, vec![7; 126]),
        ("binary-of-65536", BINARY, vec![7; 65_536]),
        ("ping", PING, b"hello".to_vec()),
        ("pong", PONG, b"hello".to_vec()),
        ("close", CLOSE, close_payload(1000, "")),
        ("empty-close", CLOSE, Vec::new()),
    ];
    let mut cases = Vec::new();
    for (kind, first, payload) in kinds {
        cases.push(
            case(format!("masking/unmasked-{kind}"), SECTION, format!("{kind} without a mask"))
                .exactly([Frame::unmasked(first, &payload)])
                .fails(&[1002])
                .of_servers(),
        );
        cases.push(
            case(
                format!("masking/masked-{kind}"),
                SECTION,
                format!("{kind} of a server with a mask"),
            )
            .exactly([Frame::masked(first, &payload)])
            .fails(&[1002])
            .of_clients(),
        );
    }
    cases.extend(keys());
    cases.push(
        case(
            "masking/unmasked-behind-masked",
            SECTION,
            "A frame without a mask behind a right one",
        )
        .exactly([Frame::sent_by(Role::Client, TEXT, "right"), Frame::unmasked(TEXT, "wrong")])
        .fails(&[1002])
        .of_servers(),
    );
    cases.push(
        case("masking/unmasked-continuation", SECTION, "A continuation without a mask")
            .exactly([Frame::masked(TEXT & !FIN, "hel"), Frame::unmasked(CONTINUATION, "lo")])
            .fails(&[1002])
            .of_servers(),
    );
    cases
}

/// Keys that are as good as any other.
fn keys() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, keys) in [
        ("zero", vec![[0; 4]]),
        ("ones", vec![[0xFF; 4]]),
        ("one-byte", vec![[0, 0, 0, 1]]),
        ("changing", vec![[1, 2, 3, 4], [5, 6, 7, 8], [0x80, 0, 0xFF, 1]]),
    ] {
        let masked = keys.iter().map(|key| Frame::unmasked(BINARY, b"masked bytes").mask(*key));
        cases.push(
            case(format!("masking/key-{id}"), "RFC 6455 §5.3", format!("Masking keys: {id}"))
                .exactly(masked.collect::<Vec<_>>())
                .echoes(vec![Message::binary("masked bytes"); keys.len()])
                .of_servers(),
        );
    }
    cases
}
