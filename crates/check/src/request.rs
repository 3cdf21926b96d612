//! What is wrong with a client's request (RFC 6455 §4.1), whatever the case.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sockeye_wire::handshake::Head;

/// All mistakes of a request that a server can see, as `Expect::Never` names them.
pub(crate) fn mistakes(head: &Head) -> Vec<&'static str> {
    let values = |name| head.values(name).collect::<Vec<_>>().join(", ");
    let has = |name, token: &str| {
        values(name).split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    let count = |name| head.values(name).count();
    let key = STANDARD.decode(values("sec-websocket-key")).unwrap_or_default();
    let protocols = values("sec-websocket-protocol");
    let mut names: Vec<_> = protocols.split(',').map(str::trim).collect();
    let is_named = count("sec-websocket-protocol") > 0;
    let is_empty = is_named && names.iter().any(|name| name.is_empty());
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    let line: Vec<_> = head.first_line.split(' ').collect();
    let mistakes = [
        (line.first() != Some(&"GET"), "a request that is not a GET"),
        (line.last() != Some(&"HTTP/1.1"), "a request that is not HTTP/1.1"),
        (line.get(1).is_some_and(|path| path.contains('#')), "a fragment in the request"),
        (count("host") != 1, "a request without one Host"),
        (!has("upgrade", "websocket"), "a request without Upgrade: websocket"),
        (!has("connection", "upgrade"), "a request without Connection: Upgrade"),
        (count("sec-websocket-key") != 1, "a request without one Sec-WebSocket-Key"),
        (key.len() != 16, "a key that is not 16 bytes in base64"),
        (values("sec-websocket-version") != "13", "a request without Sec-WebSocket-Version: 13"),
        (is_empty, "an empty subprotocol"),
        (is_named && names.len() < all, "a subprotocol that is offered twice"),
    ];
    mistakes.into_iter().filter(|(is_made, _)| *is_made).map(|(_, what)| what).collect()
}
