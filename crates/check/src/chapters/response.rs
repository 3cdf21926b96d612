//! Which responses a client takes for the opening of a WebSocket.

use sockeye_wire::{Frame, frame::TEXT};

use super::Chapter;
use crate::case::{
    Case,
    Edit::{Add, Line, Remove, Set, Spell},
    Expect, Message, case,
};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "response",
    title: "The opening handshake of a client",
    about: "A client shows that it has reached a WebSocket server, and not a cache or another service that \
            merely repeats what it was sent, by checking the response: status 101, Upgrade, Connection, and \
            the Sec-WebSocket-Accept of the key that it has sent.",
    cases,
};

const SECTION: &str = "RFC 6455 §4.1";

fn cases() -> Vec<Case> {
    taken().into_iter().chain(refused()).map(Case::of_clients).collect()
}

fn taken() -> Vec<Case> {
    let taken = |id: &str, title: &str| case(format!("response/takes-{id}"), SECTION, title);
    let mut early =
        taken("early", "A message in the segment of the response").echoes([Message::text("early")]);
    early.opening.early = vec![Frame::unmasked(TEXT, "early")];
    let mut slow = taken("bytes", "The response one byte at a time");
    slow.opening.is_slow = true;
    vec![
        case("response/plain", SECTION, "A right response").expect(Expect::Opens),
        taken("upgrade-in-capitals", "Upgrade: WebSocket").edit(&[Set("Upgrade", "WebSocket")]),
        taken("connection-in-lower-case", "Connection: upgrade")
            .edit(&[Set("Connection", "upgrade")]),
        taken("connection-list", "Connection: keep-alive, Upgrade")
            .edit(&[Set("Connection", "keep-alive, Upgrade")])
            .should(),
        taken("names-in-lower-case", "Names of fields in lower case").edit(&[
            Spell("Upgrade", "upgrade"),
            Spell("Connection", "connection"),
            Spell("Sec-WebSocket-Accept", "sec-websocket-accept"),
        ]),
        taken("blanks", "Blanks around Sec-WebSocket-Accept")
            .edit(&[Set("Sec-WebSocket-Accept", "  {key}  ")]),
        taken("other-reason", "101 with other words").edit(&[Line("HTTP/1.1 101 Welcome")]),
        taken("unknown-fields", "Unknown fields")
            .edit(&[Add("X-Sockeye-Check: 1"), Add("Server: a server")]),
        slow,
        early,
    ]
}

fn refused() -> Vec<Case> {
    let refused = |id: &str, title: &str| case(format!("response/{id}"), SECTION, title).refuses();
    vec![
        refused("status-200", "Status 200").edit(&[Line("HTTP/1.1 200 OK")]),
        refused("status-400", "Status 400").edit(&[Line("HTTP/1.1 400 Bad Request")]),
        refused("not-http", "A first line that is not HTTP").edit(&[Line("WEBSOCKET 101 Yes")]),
        refused("no-upgrade", "No Upgrade").edit(&[Remove("Upgrade")]),
        refused("other-upgrade", "Upgrade: x-sockeye-check")
            .edit(&[Set("Upgrade", "x-sockeye-check")]),
        refused("no-connection", "No Connection").edit(&[Remove("Connection")]),
        refused("other-connection", "Connection: close").edit(&[Set("Connection", "close")]),
        refused("no-accept", "No Sec-WebSocket-Accept").edit(&[Remove("Sec-WebSocket-Accept")]),
        refused("wrong-accept", "The Sec-WebSocket-Accept of another key")
            .edit(&[Set("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]),
        refused("empty-accept", "An empty Sec-WebSocket-Accept")
            .edit(&[Set("Sec-WebSocket-Accept", "")]),
        refused("accept-twice", "Two values of Sec-WebSocket-Accept")
            .edit(&[Add("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")])
            .should(),
        refused("unoffered-extension", "An extension that was not offered")
            .edit(&[Add("Sec-WebSocket-Extensions: x-sockeye-check")]),
        refused("unoffered-subprotocol", "A subprotocol that was not offered").edit(&[
            Remove("Sec-WebSocket-Protocol"),
            Add("Sec-WebSocket-Protocol: x-sockeye-check"),
        ]),
        refused("deflate-unknown-parameter", "permessage-deflate with an unknown parameter")
            .edit(&[Add("Sec-WebSocket-Extensions: permessage-deflate; x-sockeye-check")]),
        refused("deflate-bad-bits", "permessage-deflate with server_max_window_bits=16").edit(&[
            Add("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16"),
        ]),
        refused("deflate-twice", "permessage-deflate with the same parameter twice").edit(&[Add(
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
             server_no_context_takeover",
        )]),
    ]
}
