//! `docs/channels/works-with.md`.

use std::fmt::Write as _;

use crate::{Check, Ecosystem, PEERS, Package, Peer};

const INTRODUCTION: &str = "\
# Works with

<!-- Written by `cargo xtask interop --write`. -->

Clients and servers of other projects, each run against `sockeye serve`, `sockeye echo` and `sockeye connect` by the tests
([tests/interop](../../tests/interop), one small program per library in `clients/`). A library that is not here may work as well: Sockeye speaks
[the standards](../internals/conformance.md). The version is the one that was tried. Debian's Chromium and Firefox ESR are tried by [tests/browser](../../tests/browser),
with their own `WebSocket`, `EventSource` and `fetch`.

- **echo**: text, bytes and 1 MiB come back from `sockeye echo`, and the close is clean; *compressed* where the library offers it and it was used.
- **channel**: a plain WebSocket on a channel of `sockeye serve` publishes and reads.
- **SSE**, **JSON lines**, **long poll**: heartbeats of silent streams are not taken for messages, and after a cut connection the reader goes on
  with what it missed: *by itself*, or by a few lines of the user's, which send the last position.
- **publish**: a `POST` with the type of body that the library names by itself arrives as the text it is.
- **server**: our client and `sockeye connect` talk to it; *compressed* where it agrees to that.

## Rust

tokio-tungstenite, from crates.io: its client on `sockeye echo` and on a channel of `sockeye serve`, our client on its server, over TCP and
over TLS, in all sizes of frames ([tests/interop/tungstenite.rs](../../tests/interop/tungstenite.rs)). It has no compression. How to change from it:
[from tokio-tungstenite](../library/from-tokio-tungstenite.md).
";

/// The page, with the version that was tried of each.
#[must_use]
pub fn page(version: impl Fn(&Peer) -> String) -> String {
    let mut page = INTRODUCTION.to_owned();
    for ecosystem in Ecosystem::ALL {
        let peers: Vec<_> = PEERS.iter().filter(|peer| peer.ecosystem == ecosystem).collect();
        let _ = writeln!(page, "\n## {}\n", ecosystem.name());
        page += "| | version | from | echo | channel | SSE | JSON lines | long poll | publish | server |\n";
        page += "|---|---|---|---|---|---|---|---|---|---|\n";
        for peer in &peers {
            let cells = [
                peer.name.to_owned(),
                version(peer),
                source(peer.package),
                grade(peer, &[(Check::EchoCompressed, "compressed"), (Check::Echo, "yes")]),
                grade(peer, &[(Check::Channel, "yes")]),
                grade(peer, &[(Check::EventSource, "by itself"), (Check::EventStream, "yes")]),
                grade(peer, &[(Check::JsonLines, "yes")]),
                grade(peer, &[(Check::LongPoll, "yes")]),
                grade(peer, &[(Check::Publish, "yes")]),
                grade(peer, &[(Check::ServerCompressed, "compressed"), (Check::Server, "yes")]),
            ];
            let _ = writeln!(page, "| {} |", cells.join(" | "));
        }
        let notes: Vec<_> = peers.iter().filter(|peer| !peer.note.is_empty()).collect();
        let gap = if notes.is_empty() { "" } else { "\n" };
        page += gap;
        for peer in notes {
            let _ = writeln!(page, "- **{}**: {}", peer.name, peer.note);
        }
    }
    page
}

/// Whether this is the page of the table as it is now, whatever versions it names.
#[must_use]
pub fn fresh(found: &str) -> bool {
    let version = |peer: &Peer| {
        let heading = format!("\n## {}\n", peer.ecosystem.name());
        let section = found.split_once(&heading).map_or("", |(_, rest)| rest);
        let section = section.split("\n## ").next().unwrap_or_default();
        let row = format!("\n| {} | ", peer.name);
        let row = section.split_once(&row).map_or("", |(_, rest)| rest);
        row.split(" | ").next().unwrap_or_default().to_owned()
    };
    page(version) == found
}

fn source(package: Package) -> String {
    match package {
        Package::Debian(name) => format!("Debian `{name}`"),
        Package::Npm(name) => format!("npm `{name}`"),
        Package::Pip(name) => format!("PyPI `{name}`"),
        Package::Program(_) => "built in".to_owned(),
    }
}

fn grade(peer: &Peer, grades: &[(Check, &'static str)]) -> String {
    let best = grades.iter().find(|(check, _)| peer.does.contains(check));
    best.map_or("", |(_, word)| word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_the_table() {
        let found = include_str!("../../../docs/channels/works-with.md");
        assert!(fresh(found), "`cargo xtask interop --write` makes docs/channels/works-with.md");
    }

    #[test]
    fn a_page_that_lacks_a_row_is_not_fresh() {
        let whole = page(|_| "1.2".to_owned());
        assert!(fresh(&whole));
        let row = whole.lines().rfind(|line| line.starts_with("| ")).expect("a row");
        assert!(!fresh(&whole.replace(&format!("{row}\n"), "")));
    }
}
