//! The report as JUnit's XML, which continuous integration shows.

use std::fmt::Write as _;

use super::{Outcome, Report};
use crate::{chapters, verdict::Verdict};

impl Report {
    /// A suite for each chapter, in the form of the schema of Jenkins (junit-10.xsd). Broken rules are failures, what is loose or known is told in the output
    /// of its case, what was not judged is skipped.
    #[must_use]
    pub fn to_junit(&self, peer: &str) -> String {
        let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
        let _ = writeln!(
            text,
            "<testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" time=\"{:.3}\">",
            escaped(peer),
            self.outcomes.len(),
            self.outcomes.iter().filter(|outcome| is_failure(outcome)).count(),
            self.took.as_secs_f64()
        );
        for chapter in chapters::ALL {
            let of = self.outcomes.iter().filter(|outcome| outcome.chapter() == chapter.name);
            let outcomes: Vec<_> = of.collect();
            if outcomes.is_empty() {
                continue;
            }
            let failures = outcomes.iter().filter(|outcome| is_failure(outcome)).count();
            let skipped = outcomes.iter().filter(|one| one.verdict == Verdict::NotJudged).count();
            let _ = writeln!(
                text,
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" \
                 skipped=\"{skipped}\">",
                escaped(chapter.title),
                outcomes.len()
            );
            outcomes.iter().for_each(|outcome| case(&mut text, outcome));
            text.push_str("  </testsuite>\n");
        }
        text + "</testsuites>\n"
    }
}

fn is_failure(outcome: &Outcome) -> bool {
    outcome.verdict == Verdict::Broken && !outcome.is_known
}

fn case(text: &mut String, outcome: &Outcome) {
    let Outcome { id, section, title, expected, came, .. } = outcome;
    let name = escaped(&format!("{id}: {title}"));
    let _ = write!(text, "    <testcase classname=\"{}\" name=\"{name}\"", outcome.chapter());
    let bytes = outcome.trace.to_text("");
    let body = escaped(&format!("{section}\nexpected {expected}\ncame {came}\n{bytes}"));
    let _ = match outcome.verdict {
        Verdict::Passed => writeln!(text, "/>"),
        Verdict::NotJudged => {
            writeln!(text, "><skipped message=\"{}\"/></testcase>", escaped(came))
        }
        Verdict::Broken if !outcome.is_known => {
            writeln!(text, "><failure message=\"{}\">{body}</failure></testcase>", escaped(came))
        }
        verdict => {
            let known = if outcome.is_known { "known, " } else { "" };
            writeln!(text, "><system-out>{known}{}: {body}</system-out></testcase>", verdict.name())
        }
    };
}

/// Text as it stands in XML, without the control characters that XML 1.0 forbids.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            character if character.is_control() => escaped.push('\u{FFFD}'),
            character => escaped.push(character),
        }
    }
    escaped
}
