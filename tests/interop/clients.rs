//! Clients made with Python's `websockets` and Node's `ws` on `sockeye echo` and on a channel of
//! `sockeye serve`, where everyone hears what he himself says.

use sockeye_tests::program::Sockeye;
use sockeye_tests::script::{Language, Script};

const MIB: usize = 1 << 20;
const KIB_64: usize = 64 << 10;

#[test]
fn pythons_websockets_talks_to_echo() {
    passes_all_checks(Language::Python, Sockeye::echo(&[]), "/", MIB, 1001);
}

#[test]
fn nodes_ws_talks_to_echo() {
    passes_all_checks(Language::Node, Sockeye::echo(&[]), "/", MIB, 1001);
}

#[test]
fn pythons_websockets_talks_to_a_channel() {
    passes_all_checks(Language::Python, Sockeye::serve(&[]), "/c/interop", KIB_64, 1012);
}

#[test]
fn nodes_ws_talks_to_a_channel() {
    passes_all_checks(Language::Node, Sockeye::serve(&[]), "/c/interop", KIB_64, 1012);
}

/// Runs the client, which makes every check below; then ends the server, as the client awaits: with
/// the code `going_away`.
fn passes_all_checks(
    language: Language,
    mut server: Sockeye,
    path: &str,
    largest: usize,
    going_away: u16,
) {
    let arguments = [server.ws(path), largest.to_string(), going_away.to_string()];
    let mut client = Script::start(language, "client", &arguments.each_ref().map(String::as_str));
    for check in checks(largest) {
        assert_eq!(client.report().expect(&check)["check"], check);
    }
    assert!(client.report().expect("the last request").get("ready").is_some());
    server.interrupt();
    assert_eq!(client.report().expect("going away")["check"], "going away");
    client.finish();
    assert!(server.wait().success(), "a server that was interrupted ends with success");
}

/// What a client reports, in this order.
fn checks(largest: usize) -> Vec<String> {
    let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, MIB];
    let sizes = sizes.iter().filter(|size| **size <= largest);
    let messages = sizes.flat_map(|size| [format!("text {size}"), format!("binary {size}")]);
    let others = ["fragmented text", "fragmented binary", "ping", "close 1000", "close 4321"];
    let others = others.iter().chain(&["too large"]).map(|check| (*check).to_owned());
    ["no subprotocol".to_owned()].into_iter().chain(messages).chain(others).collect()
}
