//! What a server answers to an opening handshake, right or wrong.

use super::Chapter;
use crate::case::{
    Case,
    Edit::{Add, Line, Pad, Remove, Set, Spell},
    Expect, Look, case,
};

pub(super) const CHAPTER: Chapter = Chapter {
    name: "opening",
    title: "The opening handshake of a server",
    about: "A WebSocket begins as an HTTP request that asks to go on with another protocol. The server shows \
            with Sec-WebSocket-Accept that it has understood that, and refuses requests that are not whole: \
            a page or an attacker could otherwise make it take HTTP meant for something else for a WebSocket.",
    cases,
};

const CLIENT: &str = "RFC 6455 §4.2.1";
const SERVER: &str = "RFC 6455 §4.2.2";
const HTTP: &str = "RFC 9112 §5.1";

fn cases() -> Vec<Case> {
    let all = [answers(), taken(), refused(), versions(), keys(), http()];
    all.into_iter().flatten().map(Case::of_servers).collect()
}

/// What the response to a right request has.
fn answers() -> Vec<Case> {
    vec![
        case("opening/plain", SERVER, "A right request").expect(Expect::Opens),
        case("opening/accept", SERVER, "Sec-WebSocket-Accept of a right request")
            .look(Look::Accept),
        case("opening/upgrade", SERVER, "Upgrade in the response").look(Look::Upgrade),
        case("opening/connection", SERVER, "Connection in the response").look(Look::Connection),
        case("opening/status-line", SERVER, "The status line").look(Look::StatusLine),
        case("opening/no-body", "RFC 9110 §15.2", "A 101 has no body").look(Look::NoBody),
        case("opening/no-subprotocol", SERVER, "No subprotocol beyond those offered")
            .look(Look::Subprotocol),
        case("opening/unknown-subprotocol", SERVER, "An unknown subprotocol is offered")
            .edit(&[
                Remove("Sec-WebSocket-Protocol"),
                Add("Sec-WebSocket-Protocol: x-sockeye-check-1, x-sockeye-check-2"),
            ])
            .look(Look::Subprotocol)
            .should(),
        case("opening/no-extension", SERVER, "No extension where none is offered")
            .look(Look::Extensions),
        case("opening/unknown-extension", "RFC 6455 §9.1", "An unknown extension is offered")
            .offer("x-sockeye-check; level=1")
            .look(Look::Extensions),
        case(
            "opening/unknown-extension-declined",
            "RFC 6455 §9.1",
            "An unknown extension is not accepted",
        )
        .offer("x-sockeye-check")
        .expect(Expect::Opens),
    ]
}

/// Requests that are right in another form.
fn taken() -> Vec<Case> {
    let taken = |id: &str, title: &str| case(format!("opening/takes-{id}"), CLIENT, title);
    vec![
        taken("upgrade-in-capitals", "Upgrade: WebSocket").edit(&[Set("Upgrade", "WebSocket")]),
        taken("connection-in-capitals", "Connection: UPGRADE")
            .edit(&[Set("Connection", "UPGRADE")]),
        taken("connection-list", "Connection: keep-alive, Upgrade, as Firefox sends it")
            .edit(&[Set("Connection", "keep-alive, Upgrade")]),
        taken("connection-lines", "Connection in two lines").edit(&[
            Remove("Connection"),
            Add("Connection: keep-alive"),
            Add("Connection: Upgrade"),
        ]),
        taken("connection-empty-elements", "Connection: ,, Upgrade ,")
            .edit(&[Set("Connection", ",, Upgrade ,")])
            .should(),
        taken("upgrade-list", "Upgrade: h2c, websocket")
            .edit(&[Set("Upgrade", "h2c, websocket")])
            .may(),
        taken("names-in-lower-case", "Names of fields in lower case").edit(&[
            Spell("Upgrade", "upgrade"),
            Spell("Connection", "connection"),
            Spell("Sec-WebSocket-Key", "sec-websocket-key"),
            Spell("Sec-WebSocket-Version", "sec-websocket-version"),
            Spell("Host", "host"),
        ]),
        taken("names-in-capitals", "Names of fields in capitals").edit(&[
            Spell("Upgrade", "UPGRADE"),
            Spell("Connection", "CONNECTION"),
            Spell("Sec-WebSocket-Key", "SEC-WEBSOCKET-KEY"),
            Spell("Sec-WebSocket-Version", "SEC-WEBSOCKET-VERSION"),
        ]),
        case("opening/takes-blanks", "RFC 9110 §5.5", "Blanks and tabs around values")
            .edit(&[Set("Upgrade", " \twebsocket\t "), Set("Sec-WebSocket-Version", "  13  ")]),
        taken("key-with-blanks", "Blanks around the key")
            .edit(&[Set("Sec-WebSocket-Key", "  {key}  ")]),
        taken("unknown-fields", "Unknown fields")
            .edit(&[Add("X-Sockeye-Check: a, b;c=\"d\""), Add("X-Empty:")]),
        taken("head-of-4k", "A head of 4 KiB").edit(&[Pad(3800)]).should(),
        taken("extension-lines", "Sec-WebSocket-Extensions in two lines").edit(&[
            Add("Sec-WebSocket-Extensions: x-one; a"),
            Add("Sec-WebSocket-Extensions: x-two"),
        ]),
        slowly(taken("bytes", "The request one byte at a time")),
    ]
}

fn slowly(mut case: Case) -> Case {
    case.opening.is_slow = true;
    case
}

/// Requests that are not whole.
fn refused() -> Vec<Case> {
    let refused = |id: &str, title: &str| case(format!("opening/{id}"), CLIENT, title).refuses();
    vec![
        refused("post", "POST in place of GET").edit(&[Line("POST {target} HTTP/1.1")]),
        refused("head", "HEAD in place of GET").edit(&[Line("HEAD {target} HTTP/1.1")]),
        refused("put", "PUT in place of GET").edit(&[Line("PUT {target} HTTP/1.1")]),
        refused("http-1.0", "HTTP/1.0").edit(&[Line("GET {target} HTTP/1.0")]),
        refused("no-host", "No Host").edit(&[Remove("Host")]),
        refused("no-upgrade", "No Upgrade").edit(&[Remove("Upgrade")]),
        // Not the name of a protocol that the server may know: it may go on with that.
        refused("other-upgrade", "Upgrade: x-sockeye-check")
            .edit(&[Set("Upgrade", "x-sockeye-check")]),
        refused("almost-upgrade", "Upgrade: websockets").edit(&[Set("Upgrade", "websockets")]),
        refused("no-connection", "No Connection").edit(&[Remove("Connection")]),
        refused("other-connection", "Connection: keep-alive")
            .edit(&[Set("Connection", "keep-alive")]),
        refused("almost-connection", "Connection: Upgrades").edit(&[Set("Connection", "Upgrades")]),
        refused("empty-subprotocol", "An empty Sec-WebSocket-Protocol")
            .edit(&[Remove("Sec-WebSocket-Protocol"), Add("Sec-WebSocket-Protocol:")])
            .may(),
        refused("bad-subprotocol", "A subprotocol with a blank in it")
            .edit(&[Remove("Sec-WebSocket-Protocol"), Add("Sec-WebSocket-Protocol: chat room")])
            .should(),
        refused("subprotocol-twice", "The same subprotocol offered twice")
            .edit(&[Remove("Sec-WebSocket-Protocol"), Add("Sec-WebSocket-Protocol: chat, chat")])
            .may(),
        case("opening/bad-extension", "RFC 6455 §9.1", "Sec-WebSocket-Extensions: ;;=")
            .refuses()
            .edit(&[Add("Sec-WebSocket-Extensions: ;;=")]),
    ]
}

/// Versions of the protocol that are not 13.
fn versions() -> Vec<Case> {
    let version =
        |id: &str, title: &str| case(format!("opening/version-{id}"), CLIENT, title).refuses();
    let set = |value| [Set("Sec-WebSocket-Version", value)];
    vec![
        version("missing", "No Sec-WebSocket-Version").edit(&[Remove("Sec-WebSocket-Version")]),
        version("empty", "An empty Sec-WebSocket-Version").edit(&set("")),
        version("0", "Sec-WebSocket-Version: 0").edit(&set("0")),
        // A server may know it too.
        version("8", "Sec-WebSocket-Version: 8, of a draft").edit(&set("8")).may(),
        version("12", "Sec-WebSocket-Version: 12").edit(&set("12")),
        version("14", "Sec-WebSocket-Version: 14").edit(&set("14")),
        version("130", "Sec-WebSocket-Version: 130").edit(&set("130")),
        version("013", "Sec-WebSocket-Version: 013").edit(&set("013")).should(),
        version("words", "Sec-WebSocket-Version: thirteen").edit(&set("thirteen")),
        version("list", "Sec-WebSocket-Version: 13, 8").edit(&set("13, 8")).should(),
        version("twice", "Sec-WebSocket-Version in two lines")
            .edit(&[Add("Sec-WebSocket-Version: 13")])
            .should(),
        case("opening/version-is-named", SERVER, "The refusal of another version names 13")
            .edit(&set("99"))
            .expect(Expect::RefusesNaming("sec-websocket-version", "13")),
    ]
}

/// Keys that are not 16 bytes in base64. That is seen without decoding them (§4.2.2).
fn keys() -> Vec<Case> {
    let key = |id: &str, title: &str| case(format!("opening/key-{id}"), CLIENT, title).refuses();
    let set = |value| [Set("Sec-WebSocket-Key", value)];
    vec![
        key("missing", "No Sec-WebSocket-Key").edit(&[Remove("Sec-WebSocket-Key")]),
        key("empty", "An empty key").edit(&set("")).should(),
        key("short", "A key of 15 bytes").edit(&set("MTIzNDU2Nzg5MDEyMzQ1")).should(),
        key("long", "A key of 17 bytes").edit(&set("MTIzNDU2Nzg5MDEyMzQ1Njc=")).should(),
        key("unpadded", "A key without its padding").edit(&set("dGhlIHNhbXBsZSBub25jZQ")).should(),
        key("not-base64", "A key that is not base64")
            .edit(&set("!!!!!!!!!!!!!!!!!!!!!!=="))
            .should(),
        key("plain", "A key of 24 letters that is not 16 bytes")
            .edit(&set("abcdefghijklmnopqrstuvwx"))
            .should(),
        key("twice", "Two keys")
            .edit(&[Add("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")])
            .should(),
    ]
}

/// Heads that are not HTTP (RFC 9112).
fn http() -> Vec<Case> {
    let http = |id: &str, title: &str| case(format!("opening/http-{id}"), HTTP, title).refuses();
    vec![
        case("opening/http-garbage", CLIENT, "A first line that is not HTTP")
            .refuses()
            .edit(&[Line("\u{1}\u{2} websocket please")]),
        case("opening/http-no-version", CLIENT, "A first line without a version")
            .refuses()
            .edit(&[Line("GET {target}")]),
        http("version-9", "HTTP/9.9").edit(&[Line("GET {target} HTTP/9.9")]).should(),
        http("blank-before-colon", "A blank between a name and its colon")
            .edit(&[Add("X-Sockeye-Check : 1")]),
        http("no-colon", "A line without a colon").edit(&[Add("X-Sockeye-Check")]).should(),
        http("no-name", "A line with an empty name").edit(&[Add(": 1")]).should(),
        http("nul", "A NUL in a value").edit(&[Add("X-Sockeye-Check: a\0b")]).should(),
        http("blank-in-name", "A blank in a name").edit(&[Add("X Sockeye: 1")]).should(),
        case("opening/http-host-twice", "RFC 9112 §3.2", "Two Hosts")
            .refuses()
            .edit(&[Add("Host: other.example")]),
        http("endless", "A head of 1 MiB").edit(&[Pad(1 << 20)]).should(),
    ]
}
