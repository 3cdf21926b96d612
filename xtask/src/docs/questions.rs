//! Files that the documents name exist, and the answers of `CONTRIBUTING.md` to a newcomer's questions are true.

use anyhow::{Context as _, Result, ensure};

use super::{Source, markdown, read, sources};
use crate::shell;

/// The page with the questions.
const PAGE: &str = "CONTRIBUTING.md";
const HEADING: &str = "## Where is it?";
/// Where the files of the answers are.
const CRATES: &str = "crates";
const BROWSER_CLIENT: &str = "clients/js/";
/// How many questions there are at least.
const QUESTIONS: usize = 20;

/// A row of the table: a question, the file that answers it, and a text that stands in that file.
#[derive(Debug, PartialEq, Eq)]
struct Answer<'a> {
    question: &'a str,
    file: &'a str,
    item: &'a str,
}

/// Checks the answers, and every source file that a document names.
pub(crate) fn check() -> Result<()> {
    let page = read(PAGE)?;
    let answers = answers(&page)?;
    let mut problems = Vec::new();
    for Answer { question, file, item } in &answers {
        let is_in_crates = !file.starts_with(BROWSER_CLIENT);
        let text = if is_in_crates { read(&format!("{CRATES}/{file}")) } else { read(file) };
        if !text.is_ok_and(|text| text.contains(item)) {
            problems.push(format!("{PAGE}: {question} There is no `{item}` in {file}"));
        }
    }
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let files = shell::output(&mut shell::command("git", list))?;
    let files: Vec<_> = files.lines().collect();
    let pages = sources(&["docs/*.md", PAGE])?;
    problems.extend(pages.iter().flat_map(|page| unknown_files(page, &files)));
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    ensure!(problems.is_empty(), "{} files are not where the documents say", problems.len());
    ensure!(answers.len() >= QUESTIONS, "{PAGE} answers {} questions", answers.len());
    Ok(())
}

fn answers(page: &str) -> Result<Vec<Answer<'_>>> {
    let (_, rest) = page.split_once(HEADING).with_context(|| format!("{PAGE} has no {HEADING}"))?;
    let section = rest.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = |row: &'_ str| row.trim_matches('|').split(" | ").map(str::trim).count();
    rows.map(|row| {
        ensure!(cells(row) == 3, "{PAGE}: three cells are needed: {row}");
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        let mut next = || cells.next().unwrap_or_default().trim_matches('`');
        Ok(Answer { question: next(), file: next(), item: next() })
    })
    .collect()
}

/// The files that a page names, in code, by the end of their path, and that are not there.
fn unknown_files(page: &Source, files: &[&str]) -> Vec<String> {
    let is_source = |name: &str| {
        let path = name.rsplit_once('.').filter(|(_, end)| ["rs", "mjs"].contains(end));
        path.is_some_and(|(path, _)| path.chars().all(|c| c.is_alphanumeric() || "/_-".contains(c)))
    };
    let exists =
        |name: &str| files.iter().any(|file| *file == name || file.ends_with(&format!("/{name}")));
    let named = markdown::codes(&page.text).into_iter().filter(|name| is_source(name));
    named
        .filter(|name| !exists(name))
        .map(|name| format!("{}: no file {name}", page.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_a_file_and_what_stands_in_it() {
        let page = "## Where is it?\n\n| question | file | there |\n|---|---|---|\n\
                    | What waits? | `a/b.rs` | `fn wait` |\n\n## Next\n| x | y |\n";
        let expected = Answer { question: "What waits?", file: "a/b.rs", item: "fn wait" };
        assert_eq!(answers(page).expect("a table"), [expected]);
        assert!(answers("## Where is it?\n| q | f | t |\n| Who? | `a` |").is_err());
    }

    #[test]
    fn files_are_found_by_the_end_of_their_path() {
        let text = "See `log/run.rs`, `run.rs` and `gone.rs`; `*.rs` and `a.b().rs` are not names.";
        let page = Source { path: "docs/a.md".to_owned(), text: text.to_owned() };
        let files = ["crates/hub/src/log/run.rs"];
        assert_eq!(unknown_files(&page, &files), ["docs/a.md: no file gone.rs"]);
    }
}
