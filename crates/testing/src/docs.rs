//! The documentation says the numbers of the code.

/// Fails unless a page below `docs/` says this, wherever its lines end.
///
/// # Panics
///
/// If the page does not say it, or is not there.
#[track_caller]
pub fn assert_documented(page: &str, sentence: &str) {
    let path = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(sentence), "docs/{page} does not say: {sentence}");
}
