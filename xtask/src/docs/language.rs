//! Turns of phrase that are not plain technical English: `CONTRIBUTING.md` says what to write instead.
//!
//! Documents, comments, messages and the names of tests are read alike. A phrase may be broken over two lines
//! of a comment.

use anyhow::{Result, ensure};
use regex_lite::Regex;

use super::{Source, line_of, sources};

/// Where people write for people.
const FILES: [&str; 9] =
    ["*.md", "*.rs", "*.js", "*.mjs", "*.ts", "*.py", "*.html", "*.toml", "*.yml"];
/// Written by a command, or the list below itself.
const EXCEPT: [&str; 3] =
    ["docs/internals/conformance.md", "xtask/src/docs/language.rs", "clients/js/served/"];
/// Between these marks a document shows what not to write.
const MARKS: [&str; 2] = ["<!-- language: examples -->", "<!-- language: end -->"];

/// What is not written anywhere, as a regular expression whose spaces may be line breaks, and what is.
const PATTERNS: &[(&str, &str)] = &[
    (r"can not", "cannot"),
    (r"(one|what|each|he) who", "a client that, the task that"),
    (r"what one (may|can|has|gets|is|does|shows)", "what a client may"),
    (r"(last|first|one|those) whom", "that, which"),
    (r"(he|him|his|himself)", "it, they"),
    (r"save (where|that|for|when|what|by)", "except"),
    (r"goes for", "applies to"),
    (r"by way of", "through"),
    (r"(is|are) none of an?", "is not a"),
    (r"is no (JSON|WebSocket|URL|HTTP|UTF-8|valid|number|rule|name)", "is not a"),
    (r"has (shown|left) no", "has sent no"),
    (r"(everybody|everyone|nobody) has (left|gone)", "all connections have ended"),
    (r"whoever", "the task that, a client that"),
    (r"whom", "that, which"),
    // At the beginning of a sentence; "people who publish" is good English.
    (
        r"(?-i:Who) (waits|polls|rings|listens|calls|reads|sends|comes|asks|publishes|drops|joins|has|is|fails|takes|holds|begins|does)",
        "a client that, the task that",
    ),
    (r"(?-i:who) (drops|polls|rings) ", "a client that"),
    (
        r"(of|for|with|after|in|by|at|most|holds?|takes?|has|have|be|once|until|that|lets) so (many|much)",
        "that many, that much",
    ),
    (r"(?-i:So) (many|much) [a-z]+", "that many, that much"),
    (
        r"so (many|few) (bytes|messages|entries|channels|milliseconds|seconds|connections|items|threads)",
        "that many",
    ),
    (r"(says?|said|told|tells?) goodbye|farewells?", "closes, ends"),
    (r"(?-i:[Nn]obody|[Ss]omebody)('s)?", "no client, no task, another program"),
    (r"(she|hers?|herself)", "it, they"),
];

/// What is not written in documents either.
const IN_DOCUMENTS: &[(&str, &str)] = &[
    (
        r"(?-i:who) (is|are|was|were) (refused|let|cut|told|given|kept|woken|slow)",
        "a client that is refused",
    ),
    (r"but for", "except"),
    (r"is no (position|token)", "is not a"),
    (r"(guests?|seats?|crowds?)", "connection, permit, many connections, close"),
    (r"good (one|token)s?", "valid"),
];

/// Fails if a file has one of these phrases: a part of `cargo xtask test format`.
pub(crate) fn check() -> Result<()> {
    let (everywhere, in_documents) = (compile(PATTERNS)?, compile(IN_DOCUMENTS)?);
    let mut files = sources(&FILES)?;
    files.retain(|file| !EXCEPT.iter().any(|path| file.path.starts_with(path)));
    let mut findings: Vec<_> = files.iter().flat_map(|file| findings(file, &everywhere)).collect();
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    findings.extend(documents.flat_map(|file| self::findings(file, &in_documents)));
    for finding in &findings {
        eprintln!("{finding}");
    }
    ensure!(findings.is_empty(), "{} phrases that CONTRIBUTING.md replaces", findings.len());
    Ok(())
}

fn compile(patterns: &[(&str, &'static str)]) -> Result<Vec<(Regex, &'static str)>> {
    let compile = |&(phrase, instead): &(&str, &'static str)| {
        // Between the words of a comment there may be its next line's beginning.
        let phrase = phrase.replace(' ', r"(?: +|\s*\n\s*(?://[/!]? ?|\* |# )?)");
        Ok((Regex::new(&format!(r"(?i)\b(?:{phrase})\b"))?, instead))
    };
    patterns.iter().map(compile).collect()
}

fn findings(file: &Source, patterns: &[(Regex, &str)]) -> Vec<String> {
    let shown = examples(&file.text);
    let is_shown = |at: usize| shown.iter().any(|range| range.contains(&at));
    let mut findings = Vec::new();
    // Of a function's name the words, in as many bytes.
    let text = with_words_of_names(&file.text);
    for (pattern, instead) in patterns {
        for found in pattern.find_iter(&text).filter(|found| !is_shown(found.start())) {
            let words = found.as_str().split_whitespace().filter(|word| !word.starts_with("//"));
            let words = words.collect::<Vec<_>>().join(" ");
            let line = line_of(&file.text, found.start());
            findings.push(format!("{}:{line}: `{words}`; better: {instead}", file.path));
        }
    }
    findings
}

/// The text with spaces for the underscores in the names of functions, which for tests are sentences.
fn with_words_of_names(text: &str) -> String {
    let is_named = |line: &str| line.trim_start().trim_start_matches("async ").starts_with("fn ");
    let words = |line: &str| match line.split_once('(') {
        Some((name, rest)) if is_named(line) => format!("{}({rest}", name.replace('_', " ")),
        _ => line.to_owned(),
    };
    text.split_inclusive('\n').map(words).collect()
}

/// The parts of a document that show what not to write.
fn examples(text: &str) -> Vec<std::ops::Range<usize>> {
    let [begin, end] = MARKS;
    let begins = text.match_indices(begin).map(|(at, _)| at);
    begins.map(|at| at..text[at..].find(end).map_or(text.len(), |length| at + length)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let file = Source { path: "a.md".to_owned(), text: text.to_owned() };
        let patterns = compile(PATTERNS).expect("they are regular expressions");
        let in_documents = compile(IN_DOCUMENTS).expect("they are regular expressions");
        [findings(&file, &patterns), findings(&file, &in_documents)].concat()
    }

    #[test]
    fn phrases_are_found_with_their_lines() {
        assert_eq!(found("It\ncan not read."), ["a.md:2: `can not`; better: cannot"]);
        assert_eq!(
            found("    /// It can\n    /// not read."),
            ["a.md:1: `can not`; better: cannot"]
        );
        assert_eq!(
            found("Who is refused has not taken any"),
            ["a.md:1: `Who is`; better: a client that, the task that"]
        );
        assert_eq!(found("One who shows no token; he may nothing").len(), 2);
        assert_eq!(found("the text is no JSON").len(), 1);
        // Two patterns have "so many" here.
        assert_eq!(
            found("/// Whoever waits. Who drops it has left, for so many seconds.").len(),
            4
        );
        assert_eq!(
            found("    async fn nobody_waits_for_it() {}"),
            ["a.md:1: `nobody`; better: no client, no task, another program"]
        );
    }

    #[test]
    fn plain_sentences_pass() {
        for text in [
            "A refused request consumes no tokens.",
            "It is no longer open; people who read this know who published.",
            "let can_not = this; // the header, the history, the seating",
            "so that many of them",
            "The clients whose token has expired; so many-sided; the people who publish.",
            "fn who_is_asked(who: &str) {}",
        ] {
            assert!(found(text).is_empty(), "{text}: {:?}", found(text));
        }
    }

    #[test]
    fn examples_of_what_not_to_write_pass() {
        let [begin, end] = MARKS;
        assert!(found(&format!("{begin}\n| can not |\n{end}\n")).is_empty());
        assert_eq!(found(&format!("{begin}\n{end}\ncan not")).len(), 1);
    }
}
