//! The report that people read on a terminal.

use std::fmt::Write as _;

use super::{
    Outcome, Report,
    groups::{Group, grouped},
};
use crate::{chapters, verdict::Verdict};

impl Report {
    /// Chapters with the findings, those that are alike together; with `everything` each case by itself, with
    /// its bytes.
    #[must_use]
    pub fn to_text(&self, everything: bool) -> String {
        let mut text = String::new();
        for chapter in chapters::ALL {
            let of = self.outcomes.iter().filter(|outcome| outcome.chapter() == chapter.name);
            let outcomes: Vec<_> = of.collect();
            if outcomes.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{}", headline(chapter.title, &outcomes));
            if everything {
                outcomes.iter().for_each(|outcome| line(&mut text, outcome, true));
                continue;
            }
            for Group { first, others } in grouped(outcomes.into_iter().filter(is_finding)) {
                line(&mut text, first, false);
                let names: Vec<_> = others.iter().map(|other| &*other.id).collect();
                match names.len() {
                    0 => {}
                    count => {
                        let _ = writeln!(text, "         and {count} more: {}", names.join(", "));
                    }
                }
            }
        }
        text + &self.summary()
    }

    /// The last lines: how many have which verdict.
    fn summary(&self) -> String {
        let counts = self.counts();
        let mut text = format!(
            "\n{} passed, {} broken, {} loose, {} for information",
            counts.passed, counts.broken, counts.loose, counts.information
        );
        if counts.known > 0 {
            let _ = write!(text, ", {} known", counts.known);
        }
        let _ = write!(text, "; {} not judged", counts.not_judged);
        let interrupted = if self.is_interrupted { ", interrupted" } else { "" };
        let _ = writeln!(text, ", in {:.1} s{interrupted}", self.took.as_secs_f64());
        for (why, count) in self.reasons() {
            let _ = writeln!(text, "  not judged: {count} because {why}");
        }
        text
    }

    /// Why cases were not judged, the most frequent first.
    fn reasons(&self) -> Vec<(String, usize)> {
        let mut reasons: Vec<(String, usize)> = Vec::new();
        for outcome in self.outcomes.iter().filter(|one| one.verdict == Verdict::NotJudged) {
            let because = match outcome.came.strip_prefix("needs a peer that ") {
                Some("echoes") => "the peer does not echo".to_owned(),
                Some("compresses") => "the peer does not compress".to_owned(),
                Some("takes any text") => "the peer ends at any text of ours".to_owned(),
                Some("takes any binary message") => {
                    "the peer ends at any binary message of ours".to_owned()
                }
                _ if outcome.came == "needs a peer with WebSockets over HTTP/2" => {
                    "the peer opens no WebSockets over HTTP/2".to_owned()
                }
                _ => outcome.came.clone(),
            };
            match reasons.iter_mut().find(|(why, _)| *why == because) {
                Some((_, count)) => *count += 1,
                None => reasons.push((because, 1)),
            }
        }
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }
}

/// What is told without being asked for.
fn is_finding(outcome: &&Outcome) -> bool {
    outcome.verdict.is_fault() || outcome.verdict == Verdict::Information
}

fn headline(title: &str, outcomes: &[&Outcome]) -> String {
    let count = |verdict| outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
    let mut parts = vec![format!("{} passed", count(Verdict::Passed))];
    for verdict in [Verdict::Broken, Verdict::Loose, Verdict::NotJudged] {
        if count(verdict) > 0 {
            parts.push(format!("{} {}", count(verdict), verdict.name()));
        }
    }
    format!("{title}: {}", parts.join(", "))
}

fn line(text: &mut String, outcome: &Outcome, everything: bool) {
    let verdict = match (outcome.verdict, outcome.is_known) {
        (Verdict::Passed, _) => "ok",
        (Verdict::Information, _) => "info",
        (_, true) => "known",
        (verdict, false) => verdict.name(),
    };
    let Outcome { id, section, title, expected, came, .. } = outcome;
    let _ = writeln!(text, "  {verdict:<6} {section} · {title} [{id}]");
    if everything || outcome.verdict.is_fault() {
        let _ = writeln!(text, "         expected {expected}");
    }
    let _ = writeln!(text, "         came     {came}");
    if everything || outcome.verdict.is_fault() {
        text.push_str(&outcome.trace.to_text("         "));
    }
}
