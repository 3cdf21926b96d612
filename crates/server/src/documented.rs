//! Numbers that are not options, and the words for transports: the documentation and the browser's code say
//! those of the code.

use sockeye_hub::MAX_QUEUED_BYTES;
use sockeye_testing::assert_documented;

use crate::conn;
use crate::conn::http2;
use crate::conn::protocol;
use crate::http::query;
use crate::limits::debts;
use crate::metrics::connections;
use crate::net::listener;
use crate::routes::admin;
use crate::routes::bulk;
use crate::routes::several;
use crate::server::operators;
use crate::transport::Transport;
use crate::transports::poll;
use crate::transports::presence;
use crate::transports::stream;

#[test]
fn the_documentation_says_the_numbers_of_the_code() {
    let (head, headers) = (conn::MAX_HEAD >> 10, protocol::MAX_HEADERS);
    let (poll, stream) = (poll::MAX_BYTES >> 20, stream::AT_ONCE.bytes >> 10);
    let (shown, list) = (admin::MAX_SHOWN, connections::MAX_JSON >> 10);
    let (stalled, sent) =
        (operators::MAX_WRITE_TIMEOUT.as_secs(), (2 * operators::SEND_BUFFER) >> 10);
    let (piece, slow) = (http2::MAX_PIECE >> 10, http2::SLOW_PIECE);
    assert_eq!(debts::MOST, 65_536);
    let queued = MAX_QUEUED_BYTES >> 20;
    let sentences = [
        ("operate/memory.md", "| 65,536 in each of four tables;".to_owned()),
        ("operate/memory.md", format!("or for NATS | {queued} MiB and one message; further ones")),
        ("operate/limits.md", format!("| head of a request | {head} KiB, {headers} headers |")),
        ("operate/limits.md", format!("in the answer to one poll | {poll} MiB, or")),
        ("operate/limits.md", format!("read by one request | {} |", several::MAX_CHANNELS)),
        ("operate/limits.md", format!("lines, a list | {} |", bulk::MAX_MESSAGES)),
        ("operate/limits.md", format!("takes from the log at once | {stream} KiB")),
        ("operate/operations.md", format!("({shown} at most, and some {list} KiB)")),
        ("operate/operations.md", format!("takes nothing of its answer for {stalled} s")),
        ("operate/operations.md", format!("and {sent} KiB in the kernel")),
        ("operate/security.md", format!("pages of some {list} KiB, {stalled} s without progress")),
        (
            "operate/security.md",
            format!("{} members and {} KiB a page", query::MAX_LIMIT, presence::PAGE_BYTES >> 10),
        ),
        ("channels/slow-readers.md", format!("in pieces of at most {piece} KiB")),
        ("channels/slow-readers.md", format!("the next ones are of {slow} bytes")),
        #[cfg(target_os = "linux")]
        ("channels/slow-readers.md", format!("The kernel keeps {} KiB", listener::UNSENT >> 10)),
    ];
    for (page, sentence) in sentences {
        assert_documented(page, &sentence);
    }
}

/// The words for transports in a file of the repository, between two texts.
fn words_in(file: &str, before: &str, after: &str) -> Vec<Transport> {
    let path = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{file}: no {before}"));
    let (list, _) = rest.split_once(after).unwrap_or_else(|| panic!("{file}: no {after}"));
    let is_letter = |letter: char| letter.is_ascii_alphanumeric();
    let words = list.split(|letter| !is_letter(letter)).filter(|word| !word.is_empty());
    let parse = |word: &str| word.parse().unwrap_or_else(|error| panic!("{file}: {word}: {error}"));
    words.map(parse).collect()
}

#[test]
fn the_browser_and_the_documentation_have_the_words_for_transports() {
    let is_resumable = |word: &Transport| !matches!(word, Transport::Ws | Transport::Ndjson);
    let client: Vec<_> = Transport::ALL.into_iter().filter(is_resumable).collect();
    let module = "clients/js/src/transports.js";
    assert_eq!(words_in(module, "export const TRANSPORTS = [", "]"), client);
    assert_eq!(words_in("clients/js/sockeye.d.ts", "export type Transport = ", ";"), client);
    for language in ["en", "zh"] {
        let file = format!("{}/console/{language}.js", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let line = text.lines().find(|line| line.trim_start().starts_with("over: {"));
        let line = line.unwrap_or_else(|| panic!("{file} names no transports"));
        for transport in &client {
            assert!(line.contains(&format!(" {transport}: '")), "{file}: {transport}");
        }
    }
    let words = Transport::ALL.map(|word| format!("`{word}`")).join(", ");
    let row = format!("| **transport** | a way in which entries reach a client: {words} |");
    assert_documented("internals/glossary.md", &row);
    for transport in Transport::ALL {
        assert_documented("operate/operations.md", &format!("`{transport}`"));
        assert_documented("tools/measuring.md", &format!("| `{transport}`"));
    }
}
