//! `cargo xtask conformance`: which test shows which rule, as `docs/conformance.md`.
//!
//! The rules are listed in `docs/rules.txt`; those that have no test of their own are in
//! `docs/not-applicable.txt`, with the reason. Which tests there are is read from the sources: the
//! name of a test begins with the numbers of its rules, as in `w054_w056_the_mask_bit_must_fit`.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::shell;

const RULES: &str = "docs/rules.txt";
const REASONS: &str = "docs/not-applicable.txt";
const PAGE: &str = "docs/conformance.md";
/// Where tests are.
const SOURCES: [&str; 2] = ["crates", "tests"];

/// What `cargo xtask conformance` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing; fail when a rule has neither a test nor a reason
    #[arg(long)]
    check: bool,
}

/// Writes the page, or checks that it would have no gaps.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.check {
        return check();
    }
    let report = Report::read()?;
    fs::write(shell::root().join(PAGE), report.page()).with_context(|| format!("write {PAGE}"))?;
    eprintln!("{PAGE}: {}", report.summary());
    Ok(())
}

/// Checks that each rule has a test or a reason: a step of `cargo xtask test`.
pub(crate) fn check() -> Result<()> {
    Report::read()?.check()
}

/// The number of a rule, such as `W54`. In names of tests it is in lower case and may have leading
/// zeroes: `w054`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    prefix: String,
    number: u32,
}

impl Id {
    fn parse(text: &str) -> Option<Self> {
        let (prefix, number) = text.split_at(text.find(|c: char| c.is_ascii_digit())?);
        let prefix = prefix.to_ascii_uppercase();
        if !["W", "WS", "D", "H", "X", "N", "A", "S"].contains(&prefix.as_str()) {
            return None;
        }
        Some(Self { prefix, number: number.parse().ok()? })
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix, self.number)
    }
}

/// The rules with what shows each.
struct Report {
    /// Headings, and the rules below each with their titles.
    groups: Vec<(String, Vec<(Id, String)>)>,
    reasons: BTreeMap<Id, String>,
    tests: BTreeMap<Id, Vec<Test>>,
}

/// A test and the file that it is in, relative to the repository's root.
struct Test {
    name: String,
    file: String,
}

impl Report {
    fn read() -> Result<Self> {
        let mut groups: Vec<(String, Vec<_>)> = Vec::new();
        for line in read(RULES)?.lines() {
            if let Some(heading) = line.strip_prefix("# ") {
                groups.push((heading.to_owned(), Vec::new()));
            } else {
                let (_, rules) =
                    groups.last_mut().context("docs/rules.txt begins with no heading")?;
                rules.push(entry(RULES, line)?);
            }
        }
        let text = read(REASONS)?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let reasons = lines.map(|line| entry(REASONS, line)).collect::<Result<_>>()?;
        Ok(Self { groups, reasons, tests: tests()? })
    }

    /// The rules that have neither a test nor a reason.
    fn missing(&self) -> Vec<&(Id, String)> {
        let rules = self.groups.iter().flat_map(|(_, rules)| rules);
        rules
            .filter(|(id, _)| !self.tests.contains_key(id) && !self.reasons.contains_key(id))
            .collect()
    }

    fn check(&self) -> Result<()> {
        let missing = self.missing();
        for (id, title) in &missing {
            eprintln!("{id}: {title}");
        }
        ensure!(
            missing.is_empty(),
            "{} rules have neither a test nor a reason in {REASONS}",
            missing.len()
        );
        eprintln!("{}", self.summary());
        Ok(())
    }

    fn summary(&self) -> String {
        let rules: usize = self.groups.iter().map(|(_, rules)| rules.len()).sum();
        let tested = self.groups.iter().flat_map(|(_, rules)| rules);
        let tested = tested.filter(|(id, _)| self.tests.contains_key(id)).count();
        let missing = self.missing().len();
        let excused = rules - tested - missing;
        format!("{rules} rules: {tested} with a test, {excused} with a reason, {missing} open")
    }

    fn page(&self) -> String {
        let mut page = format!(
            "# Conformance\n\n\
             Each rule of the standards and the tests that show it, or why there is none. The name of \
             a test begins\nwith the numbers of its rules; `cargo xtask conformance` finds them in \
             the sources and writes this page.\n\n{}.\n",
            self.summary()
        );
        for (heading, rules) in &self.groups {
            page += &format!("\n## {heading}\n\n| rule | | tests |\n|---|---|---|\n");
            for (id, title) in rules {
                page += &format!("| {id} | {title} | {} |\n", self.shown(id));
            }
        }
        page
    }

    /// What stands beside a rule: its tests by file, or the reason, or that both are missing.
    fn shown(&self, id: &Id) -> String {
        let Some(tests) = self.tests.get(id) else {
            return self.reasons.get(id).map_or("**open**".to_owned(), |why| format!("*{why}*"));
        };
        let link = |Test { name, file }: &Test| format!("[`{name}`](../{file})");
        tests.iter().map(link).collect::<Vec<_>>().join("<br>")
    }
}

/// A line of one of the lists: a number, a tab, a text.
fn entry(file: &str, line: &str) -> Result<(Id, String)> {
    let parts = line.split_once('\t').and_then(|(id, text)| Some((Id::parse(id)?, text)));
    let (id, text) = parts.with_context(|| format!("{file}: `{line}` is no rule"))?;
    Ok((id, text.to_owned()))
}

/// All tests whose names begin with a rule's number.
fn tests() -> Result<BTreeMap<Id, Vec<Test>>> {
    let mut files = Vec::new();
    for folder in SOURCES {
        collect_sources(&shell::root().join(folder), &mut files)?;
    }
    files.sort();
    let mut tests = BTreeMap::<Id, Vec<Test>>::new();
    for path in files {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let file = path.strip_prefix(shell::root())?.display().to_string();
        for name in test_names(&text) {
            for id in name.split('_').map_while(Id::parse) {
                let test = Test { name: name.to_owned(), file: file.clone() };
                tests.entry(id).or_default().push(test);
            }
        }
    }
    Ok(tests)
}

fn collect_sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("node_modules") {
            collect_sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The functions that stand below an attribute `#[test]`, `#[tokio::test]` or the like.
fn test_names(source: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    source.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
            return None;
        }
        let line = line.strip_prefix("async ").unwrap_or(line);
        let name = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        name.filter(|_| std::mem::take(&mut is_test))
    })
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(shell::root().join(file)).with_context(|| format!("read {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(name: &str) -> Vec<String> {
        name.split('_').map_while(Id::parse).map(|id| id.to_string()).collect()
    }

    #[test]
    fn a_tests_name_begins_with_its_rules() {
        assert_eq!(ids("w054_w056_the_mask_bit_must_fit"), ["W54", "W56"]);
        assert_eq!(ids("ws2_n09_pages_of_the_same_host"), ["WS2", "N9"]);
        assert_eq!(ids("n2_a_head_may_have_100_fields"), ["N2"]);
        assert!(ids("a_message_of_w1").is_empty());
        assert!(ids("utf8_is_checked").is_empty());
    }

    #[test]
    fn only_what_is_marked_as_a_test_counts() {
        let source = "
            #[test]
            #[should_panic]
            fn one() {}
            #[tokio::test(start_paused = true)]
            async fn two() {}
            #[cfg(test)]
            fn helper() {}
            fn none<T>() {}";
        assert_eq!(test_names(source).collect::<Vec<_>>(), ["one", "two"]);
    }
}
