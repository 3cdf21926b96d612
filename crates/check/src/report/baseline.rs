//! Failures that a project knows, so that only new ones count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use sockeye_wire::Role;

use super::Report;
use crate::{chapters, verdict::Verdict};

/// Known failures: a line for each, `broken framing/rsv2-text`; `#` begins a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline(BTreeMap<String, Verdict>);

impl Baseline {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// The first line that has another form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut known = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let mut words = line.split_whitespace();
            let verdict = match words.next() {
                None => continue,
                Some("broken") => Verdict::Broken,
                Some("loose") => Verdict::Loose,
                Some(_) => return Err(wrong(at)),
            };
            match (words.next(), words.next()) {
                (Some(id), None) => known.insert(id.to_owned(), verdict),
                _ => return Err(wrong(at)),
            };
        }
        Ok(Self(known))
    }

    /// The failures of a report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let faults = report.outcomes.iter().filter(|outcome| outcome.verdict.is_fault());
        Self(faults.map(|outcome| (outcome.id.clone(), outcome.verdict)).collect())
    }

    /// Its file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = "# Known failures, for sockeye check --baseline\n".to_owned();
        for (id, verdict) in &self.0 {
            let _ = writeln!(text, "{} {id}", verdict.name());
        }
        text
    }

    /// Its ids that are those of no case for peers of this role: misspelt, renamed, or of the other role.
    #[must_use]
    pub fn unknown(&self, peer: Role) -> Vec<String> {
        let known: BTreeSet<_> = chapters::all(peer).map(|case| &*case.id).collect();
        self.0.keys().filter(|id| !known.contains(id.as_str())).cloned().collect()
    }

    /// Marks what is known, and gives the ids that are fixed: in the baseline, and passed now.
    pub fn apply(&self, report: &mut Report) -> Vec<String> {
        let mut fixed = Vec::new();
        for outcome in &mut report.outcomes {
            let Some(known) = self.0.get(&outcome.id) else { continue };
            // What was loose and is broken now is new.
            outcome.is_known = outcome.verdict.is_fault() && outcome.verdict <= *known;
            if matches!(outcome.verdict, Verdict::Passed | Verdict::Information) {
                fixed.push(outcome.id.clone());
            }
        }
        fixed
    }
}

fn wrong(at: usize) -> String {
    format!("line {} is not 'broken ID' or 'loose ID'", at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let text = "# why\nbroken framing/rsv2-text # see the tracker\n\nloose close/code-999\n";
        let baseline = Baseline::parse(text).expect("a baseline");
        assert_eq!(Baseline::parse(&baseline.to_text()), Ok(baseline));
        for wrong in ["bad x", "broken", "loose a b"] {
            assert_eq!(
                Baseline::parse(wrong),
                Err("line 1 is not 'broken ID' or 'loose ID'".into())
            );
        }
    }

    #[test]
    fn ids_of_no_case_are_found() {
        let text = "broken framing/rsv-2-text\nloose close/code-999\nbroken response/no-accept\n";
        let baseline = Baseline::parse(text).expect("a baseline");
        assert_eq!(baseline.unknown(Role::Server), ["close/code-999", "response/no-accept"]);
        assert_eq!(baseline.unknown(Role::Client), ["close/code-999"]);
    }
}
