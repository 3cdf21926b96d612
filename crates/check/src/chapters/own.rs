//! What the peer sends of its own, watched in all the other cases.

use super::Chapter;
use crate::case::{Case, Expect, case};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "own",
    title: "What it sends itself",
    about: "Every frame that came in any of the other cases was looked at: a peer that sends what a correct one \
            refuses cannot talk to it. For clients this is also about their requests and their masking keys.",
    cases,
};

fn cases() -> Vec<Case> {
    let never = |id: &str, section: &'static str, what: &'static str| {
        case(format!("own/{id}"), section, format!("Never {what}")).expect(Expect::Never(what))
    };
    let frames = [
        ("reserved-bit", "RFC 6455 §5.2", "a reserved bit"),
        ("opcode", "RFC 6455 §5.2", "an unknown opcode"),
        ("shortest-length", "RFC 6455 §5.2", "a length not in its shortest form"),
        ("fragmented-control", "RFC 6455 §5.5", "a control frame in fragments"),
        ("long-control", "RFC 6455 §5.5", "a control frame of more than 125 bytes"),
        ("utf8", "RFC 6455 §5.6", "a text that is not UTF-8"),
        ("half-a-code", "RFC 6455 §5.5.1", "a Close payload of one byte"),
        ("close-code", "RFC 6455 §7.4", "a close code that must not be sent"),
        ("reason-utf8", "RFC 6455 §5.5.1", "a reason that is not UTF-8"),
        ("continuation", "RFC 6455 §5.4", "a continuation of no message"),
        ("message-in-message", "RFC 6455 §5.4", "a message inside another one"),
        ("behind-close", "RFC 6455 §5.5.1", "a message behind a Close"),
        ("control-behind-close", "RFC 6455 §1.4", "a control frame behind a Close"),
        ("inflates", "RFC 7692 §6.1", "a compressed message that cannot be inflated"),
        ("window", "RFC 7692 §7.1.2", "a reference beyond the agreed window"),
    ];
    let clients = [
        ("method", "RFC 6455 §4.1", "a request that is not a GET"),
        ("http-1.1", "RFC 6455 §4.1", "a request that is not HTTP/1.1"),
        ("fragment", "RFC 6455 §3", "a fragment in the request"),
        ("host", "RFC 6455 §4.1", "a request without one Host"),
        ("upgrade", "RFC 6455 §4.1", "a request without Upgrade: websocket"),
        ("connection", "RFC 6455 §4.1", "a request without Connection: Upgrade"),
        ("one-key", "RFC 6455 §4.1", "a request without one Sec-WebSocket-Key"),
        ("key-of-16", "RFC 6455 §4.1", "a key that is not 16 bytes in base64"),
        ("fresh-key", "RFC 6455 §4.1", "a key that was used before"),
        ("version", "RFC 6455 §4.1", "a request without Sec-WebSocket-Version: 13"),
        ("empty-subprotocol", "RFC 6455 §4.1", "an empty subprotocol"),
        ("subprotocol-twice", "RFC 6455 §4.1", "a subprotocol that is offered twice"),
        ("masked", "RFC 6455 §5.1", "a client's frame without a mask"),
        ("fresh-mask", "RFC 6455 §5.3", "the masking key of the frame before"),
    ];
    // An answer with a code that is only undefined is no more than odd, and what is forbidden behind a
    // Close are messages.
    let level = |case: Case| match &*case.id {
        "own/close-code" | "own/control-behind-close" => case.should(),
        _ => case,
    };
    let both = frames.into_iter().map(|(id, section, what)| level(never(id, section, what)));
    let clients =
        clients.into_iter().map(|(id, section, what)| never(id, section, what).of_clients());
    let unmasked = never("unmasked", "RFC 6455 §5.1", "a server's frame with a mask").of_servers();
    both.chain(clients).chain([unmasked]).collect()
}
