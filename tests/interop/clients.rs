//! Clients made with Python's `websockets` and Node's `ws` on `sockeye echo` and on a channel of
//! `sockeye serve`, where everyone hears what he himself says.

use sockeye_tests::program::Sockeye;
use sockeye_tests::script::{Language, Script};

/// Makes a test of each server for each language, without and with compression offered.
macro_rules! talks_to {
    ($($name:ident: $language:ident, $target:ident, $deflate:literal;)+) => {
        $(#[test]
        fn $name() {
            passes_all_checks(Language::$language, &$target, $deflate);
        })+
    };
}

talks_to! {
    pythons_websockets_talks_to_echo: Python, ECHO, false;
    pythons_websockets_talks_to_echo_compressed: Python, ECHO, true;
    pythons_websockets_talks_to_a_channel: Python, CHANNEL, false;
    pythons_websockets_talks_to_a_channel_compressed: Python, CHANNEL, true;
    nodes_ws_talks_to_echo: Node, ECHO, false;
    nodes_ws_talks_to_echo_compressed: Node, ECHO, true;
    nodes_ws_talks_to_a_channel: Node, CHANNEL, false;
    nodes_ws_talks_to_a_channel_compressed: Node, CHANNEL, true;
}

/// A server of ours, and what to expect of it.
struct Target {
    start: fn(&[&str]) -> Sockeye,
    path: &'static str,
    /// The largest message that it takes.
    largest: usize,
    /// The code that it closes with when it stops.
    going_away: u16,
    /// Whether it agrees to compression.
    deflates: bool,
}

const ECHO: Target =
    Target { start: Sockeye::echo, path: "/", largest: 1 << 20, going_away: 1001, deflates: true };

const CHANNEL: Target = Target {
    start: Sockeye::serve,
    path: "/c/interop",
    largest: 64 << 10,
    going_away: 1012,
    deflates: true,
};

/// Runs the client, which makes every check below; then ends the server, as the client awaits.
fn passes_all_checks(language: Language, target: &Target, deflate: bool) {
    let mut server = (target.start)(&[]);
    let offer = if deflate { "deflate" } else { "plain" }.to_owned();
    let numbers = [target.largest.to_string(), target.going_away.to_string()];
    let arguments = [&server.ws(target.path), &numbers[0], &numbers[1], &offer];
    let mut client = Script::start(language, "client", &arguments.map(String::as_str));
    for check in checks(target.largest, deflate && target.deflates) {
        assert_eq!(client.report().expect(&check)["check"], check);
    }
    assert!(client.report().expect("the last request").get("ready").is_some());
    server.interrupt();
    assert_eq!(client.report().expect("going away")["check"], "going away");
    client.finish();
    assert!(server.wait().success(), "a server that was interrupted ends with success");
}

/// What a client reports, in this order.
fn checks(largest: usize, compressed: bool) -> Vec<String> {
    let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20];
    let sizes = sizes.iter().filter(|size| **size <= largest);
    let messages = sizes.flat_map(|size| [format!("text {size}"), format!("binary {size}")]);
    let others = ["fragmented text", "fragmented binary", "ping", "close 1000", "close 4321"];
    let others = others.iter().chain(&["too large"]).map(|check| (*check).to_owned());
    let compressed = if compressed { "compressed" } else { "not compressed" };
    let first = ["no subprotocol", compressed].map(str::to_owned);
    first.into_iter().chain(messages).chain(others).collect()
}
