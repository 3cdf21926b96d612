//! `cargo xtask conformance`: which test shows which rule, as `docs/internals/conformance.md`.
//!
//! The rules are listed in `docs/internals/rules.txt`; those that have no test of their own are in
//! `docs/internals/not-applicable.txt`, with the reason. Which test shows which rule is read from the
//! sources: a line of the test's documentation names its rules, as in `/// Rules: W54, W56.`

mod sources;

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::shell;
use sources::Test;

const RULES: &str = "docs/internals/rules.txt";
const REASONS: &str = "docs/internals/not-applicable.txt";
const PAGE: &str = "docs/internals/conformance.md";

/// What `cargo xtask conformance` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing; fail when a rule has neither a test nor a reason, or the page is out of date
    #[arg(long)]
    check: bool,
}

/// Writes the page, or checks that it is up to date and has no gaps.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.check {
        return check();
    }
    let report = Report::read()?;
    fs::write(shell::root().join(PAGE), report.page()).with_context(|| format!("write {PAGE}"))?;
    eprintln!("{PAGE}: {}", report.summary());
    Ok(())
}

/// Checks that each rule has a test or a reason and that the page says so: a step of
/// `cargo xtask test`.
pub(crate) fn check() -> Result<()> {
    let report = Report::read()?;
    report.check(&read(PAGE)?)?;
    eprintln!("{}", report.summary());
    Ok(())
}

/// The number of a rule, such as `W54`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    prefix: String,
    number: u32,
}

impl Id {
    fn parse(text: &str) -> Option<Self> {
        let (prefix, number) = text.split_at(text.find(|c: char| c.is_ascii_digit())?);
        if !["W", "WS", "D", "H", "X", "N", "A", "S"].contains(&prefix) {
            return None;
        }
        Some(Self { prefix: prefix.to_owned(), number: number.parse().ok()? })
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

impl Report {
    fn read() -> Result<Self> {
        Self::new(&read(RULES)?, &read(REASONS)?, sources::tests(shell::root())?)
    }

    /// # Errors
    ///
    /// A line of the lists that cannot be read, a test or a reason for a rule that is not listed, and
    /// a rule with both.
    fn new(rules: &str, reasons: &str, tests: Vec<Test>) -> Result<Self> {
        let mut groups: Vec<(String, Vec<_>)> = Vec::new();
        for line in rules.lines() {
            if let Some(heading) = line.strip_prefix("# ") {
                groups.push((heading.to_owned(), Vec::new()));
            } else {
                let (_, rules) =
                    groups.last_mut().with_context(|| format!("{RULES} begins with no heading"))?;
                rules.push(entry(RULES, line)?);
            }
        }
        let lines = reasons.lines().filter(|line| !line.starts_with('#'));
        let reasons = lines.map(|line| entry(REASONS, line)).collect::<Result<_>>()?;
        let mut report = Self { groups, reasons, tests: BTreeMap::new() };
        for id in report.reasons.keys() {
            ensure!(report.has(id), "{REASONS}: {id} is not listed in {RULES}");
        }
        for test in tests {
            for id in &test.rules {
                let Test { file, name, .. } = &test;
                ensure!(report.has(id), "{file}: `{name}` names {id}, not listed in {RULES}");
                let excused = report.reasons.contains_key(id);
                ensure!(!excused, "{file}: `{name}` names {id}, which {REASONS} says has no test");
                report.tests.entry(id.clone()).or_default().push(test.clone());
            }
        }
        Ok(report)
    }

    fn has(&self, id: &Id) -> bool {
        self.groups.iter().flat_map(|(_, rules)| rules).any(|(listed, _)| listed == id)
    }

    /// The rules that have neither a test nor a reason.
    fn missing(&self) -> Vec<&(Id, String)> {
        let rules = self.groups.iter().flat_map(|(_, rules)| rules);
        rules
            .filter(|(id, _)| !self.tests.contains_key(id) && !self.reasons.contains_key(id))
            .collect()
    }

    /// Fails when a rule has neither a test nor a reason, or when `page` is not this report.
    fn check(&self, page: &str) -> Result<()> {
        let missing = self.missing();
        let list: String = missing.iter().map(|(id, title)| format!("\n{id}: {title}")).collect();
        ensure!(missing.is_empty(), "rules with neither a test nor a reason in {REASONS}:{list}");
        ensure!(page == self.page(), "{PAGE} is out of date: `cargo xtask conformance` writes it");
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
             Each rule of the standards and the tests that show it, or why there is none. A line of a \
             test's documentation\nnames its rules (`/// Rule: W54.`); `cargo xtask conformance` finds \
             them in the sources and writes this page.\n\n{}.\n",
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
        let up = "../".repeat(PAGE.matches('/').count());
        let link = |Test { name, file, .. }: &Test| format!("[`{name}`]({up}{file})");
        tests.iter().map(link).collect::<Vec<_>>().join("<br>")
    }
}

/// A line of one of the lists: a number, a tab, a text.
fn entry(file: &str, line: &str) -> Result<(Id, String)> {
    let parts = line.split_once('\t').and_then(|(id, text)| Some((Id::parse(id)?, text)));
    let (id, text) = parts.with_context(|| format!("{file}: `{line}` is not a rule"))?;
    Ok((id, text.to_owned()))
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(shell::root().join(file)).with_context(|| format!("read {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# Frames\nW54\tA client masks\nW56\tA server does not\n";

    fn test(rules: &[&str]) -> Test {
        let rules = rules.iter().map(|id| Id::parse(id).unwrap()).collect();
        Test { name: "masks".to_owned(), file: "tests/masks.rs".to_owned(), rules }
    }

    #[test]
    fn a_rule_with_a_test_or_a_reason_passes() {
        let report = Report::new(LIST, "W56\tWhy\n", vec![test(&["W54"])]).unwrap();
        report.check(&report.page()).unwrap();
        assert_eq!(report.summary(), "2 rules: 1 with a test, 1 with a reason, 0 open");
        assert!(
            report.page().contains("| W54 | A client masks | [`masks`](../../tests/masks.rs) |")
        );
    }

    #[test]
    fn a_rule_with_neither_test_nor_reason_fails() {
        let report = Report::new(LIST, "", vec![test(&["W54"])]).unwrap();
        let error = report.check(&report.page()).unwrap_err().to_string();
        assert!(error.contains("W56: A server does not") && !error.contains("W54"), "{error}");
    }

    #[test]
    fn a_test_or_a_reason_for_an_unknown_rule_fails() {
        let error = Report::new(LIST, "", vec![test(&["W54", "W99"])]).err().unwrap().to_string();
        assert!(error.contains("tests/masks.rs: `masks` names W99"), "{error}");
        let error = Report::new(LIST, "W57\tWhy\n", Vec::new()).err().unwrap().to_string();
        assert!(error.contains("W57"), "{error}");
    }

    #[test]
    fn a_rule_with_both_a_test_and_a_reason_fails() {
        let error = Report::new(LIST, "W54\tWhy\n", vec![test(&["W54"])]).err().unwrap();
        assert!(error.to_string().contains("W54"), "{error}");
    }

    #[test]
    fn a_page_that_is_out_of_date_fails() {
        let report = Report::new(LIST, "", vec![test(&["W54", "W56"])]).unwrap();
        let error = report.check("# Conformance\n").unwrap_err().to_string();
        assert!(error.contains("out of date"), "{error}");
    }
}
