//! Numbers that are no options: the documentation says those of the code.

use crate::{admin, beginning, http2, listener, poll, presence, query, server, stream, visit};

/// Fails unless a page of the documentation says this, wherever its lines end.
pub(crate) fn assert_said(page: &str, sentence: &str) {
    let path = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(sentence), "docs/{page} does not say: {sentence}");
}

#[test]
fn the_documentation_says_the_numbers_of_the_code() {
    let (head, headers) = (server::MAX_HEAD >> 10, beginning::MAX_HEADERS);
    let (poll, stream) = (poll::MAX_BYTES >> 20, stream::AT_ONCE.bytes >> 10);
    let (shown, list) = (admin::MAX_SHOWN, visit::MAX_JSON >> 10);
    let (stalled, sent) = (admin::MAX_WRITE_TIMEOUT.as_secs(), (2 * admin::SEND_BUFFER) >> 10);
    let (piece, slow) = (http2::MAX_PIECE >> 10, http2::SLOW_PIECE);
    let sentences = [
        (
            "limits-and-security.md",
            format!("| head of a request | {head} KiB, {headers} headers |"),
        ),
        ("limits-and-security.md", format!("in the answer to one poll | {poll} MiB, or")),
        ("limits-and-security.md", format!("takes from the log at once | {stream} KiB")),
        ("operations.md", format!("({shown} at most, and some {list} KiB)")),
        ("operations.md", format!("takes nothing of its answer for {stalled} s")),
        ("operations.md", format!("and {sent} KiB in the kernel")),
        ("operate/security.md", format!("pages of some {list} KiB, {stalled} s without progress")),
        (
            "operate/security.md",
            format!("{} members and {} KiB a page", query::MAX_LIMIT, presence::PAGE_BYTES >> 10),
        ),
        ("slow-readers.md", format!("in pieces of at most {piece} KiB")),
        ("slow-readers.md", format!("the next ones are of {slow} bytes")),
        #[cfg(target_os = "linux")]
        ("slow-readers.md", format!("The kernel keeps {} KiB", listener::UNSENT >> 10)),
    ];
    for (page, sentence) in sentences {
        assert_said(page, &sentence);
    }
}
