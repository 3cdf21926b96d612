//! Clients made with Python's `websockets` and Node's `ws` on `sockeye echo` and on a channel of
//! `sockeye serve`, where every client receives its own messages too.

use sockeye_tests::program::Sockeye;
use sockeye_tests::script::{Language, Script};
use sockeye_tests::tls::{Certificates, VARIANTS, Variant};

/// Makes a test of each server for each language, in which they talk over TLS and not, compressed and not.
macro_rules! talks_to {
    ($($name:ident: $language:ident, $target:ident;)+) => {
        $(#[test]
        fn $name() {
            let certificates = Certificates::new();
            for variant in VARIANTS {
                eprintln!("{variant:?}");
                passes_all_checks(Language::$language, &$target, variant, &certificates);
            }
        })+
    };
}

talks_to! {
    pythons_websockets_talks_to_echo: Python, ECHO;
    pythons_websockets_talks_to_a_channel: Python, CHANNEL;
    nodes_ws_talks_to_echo: Node, ECHO;
    nodes_ws_talks_to_a_channel: Node, CHANNEL;
}

/// A server of ours, and what to expect of it.
struct Target {
    start: fn(&[&str]) -> Sockeye,
    path: &'static str,
    /// The largest message that it takes.
    largest: usize,
    /// The code that it closes with when it stops.
    going_away: u16,
}

const ECHO: Target = Target { start: Sockeye::echo, path: "/", largest: 1 << 20, going_away: 1001 };

const CHANNEL: Target =
    Target { start: Sockeye::serve, path: "/c/interop", largest: 64 << 10, going_away: 1012 };

/// Runs the client, which makes every check below; then ends the server, as the client awaits.
fn passes_all_checks(
    language: Language,
    target: &Target,
    variant: Variant,
    certificates: &Certificates,
) {
    let flags = certificates.flags(variant.tls);
    let mut server = (target.start)(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let offer = if variant.deflate { "deflate" } else { "plain" }.to_owned();
    let numbers = [target.largest.to_string(), target.going_away.to_string()];
    let arguments = [&server.ws(target.path), &numbers[0], &numbers[1], &offer];
    let arguments = arguments.map(String::as_str);
    let mut client = Script::start(language, "client", &arguments, certificates);
    for check in checks(target.largest, variant.deflate) {
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
