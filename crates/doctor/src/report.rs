//! What was found, for people and for programs.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use crate::{
    finding::{Check, Finding, Verdict},
    span::{millis, span},
};

/// How wide the names of checks are.
const NAME_WIDTH: usize = 14;

/// Transports, and the checks that show whether one works.
const TRANSPORTS: [(&str, &[Check]); 4] = [
    ("WebSockets", &[Check::WebSocket, Check::StaysOpen, Check::WebSocketIdle]),
    ("WebSockets over HTTP/2", &[Check::Http2]),
    ("Server-Sent Events", &[Check::Events, Check::EventsIdle]),
    ("long polls", &[Check::LongPoll]),
];

/// All findings of an examination.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The URL, without a password.
    pub url: String,
    /// The findings, in the order of the checks.
    pub findings: Vec<Finding>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    pub(crate) fn new(url: String, findings: Vec<Finding>, took: Duration) -> Self {
        Self { url, findings, took }
    }

    /// Whether nothing has failed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Fail)
    }

    /// Everything, with the [summary](Self::summary) at the end.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines = self.findings.iter().map(|finding| Self::line(finding) + "\n");
        lines.collect::<String>() + "\n" + &self.summary()
    }

    /// A finding for people: its line, and below it what to do.
    #[must_use]
    pub fn line(finding: &Finding) -> String {
        let Finding { check, verdict, figure, advice, .. } = finding;
        let mut line = format!("{:<4}  {:<NAME_WIDTH$}  {figure}", verdict.name(), check.name());
        if let Some(advice) = advice {
            // Writing to a string cannot fail.
            let _ = write!(line, "\n{:1$}→ {advice}", "", 4 + 2 + NAME_WIDTH + 2);
        }
        line
    }

    /// How many have which verdict, and what works.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |verdict| self.findings.iter().filter(|one| one.verdict == verdict).count();
        let counts = [Verdict::Ok, Verdict::Warn, Verdict::Fail, Verdict::Skip]
            .map(|verdict| format!("{} {}", count(verdict), verdict.name()));
        format!("{} in {}: {}", counts.join(", "), span(self.took), self.conclusion())
    }

    /// What works from here, in a sentence.
    fn conclusion(&self) -> String {
        let working: Vec<_> =
            TRANSPORTS.iter().filter(|(_, of)| self.works(of)).map(|(name, _)| *name).collect();
        let failing: Vec<_> =
            TRANSPORTS.iter().filter(|(_, of)| self.fails(of)).map(|(name, _)| *name).collect();
        match (working.is_empty(), failing.is_empty(), self.is_well()) {
            (true, true, true) => "the server answers".to_owned(),
            (true, true, false) => "nothing live works from here".to_owned(),
            (true, false, _) => format!("{} do not work from here", list(&failing)),
            (false, true, _) => format!("{} work from here", list(&working)),
            (false, false, _) => {
                format!("{} work from here, {} do not", list(&working), list(&failing))
            }
        }
    }

    /// Whether one of the checks was made, and none failed.
    fn works(&self, checks: &[Check]) -> bool {
        let is_good = |finding: &Finding| matches!(finding.verdict, Verdict::Ok | Verdict::Warn);
        let mut of = self.findings.iter().filter(|finding| checks.contains(&finding.check));
        of.clone().any(is_good) && of.all(|finding| finding.verdict != Verdict::Fail)
    }

    fn fails(&self, checks: &[Check]) -> bool {
        let mut of = self.findings.iter().filter(|finding| checks.contains(&finding.check));
        of.any(|finding| finding.verdict == Verdict::Fail)
    }

    /// Everything for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "url": self.url,
            "well": self.is_well(),
            "summary": self.conclusion(),
            "took_ms": millis(self.took),
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        })
    }
}

/// `a`, `a and b`, `a, b and c`.
fn list(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conclusion_says_what_works_and_what_does_not() {
        let report = |findings| Report::new("ws://h/".to_owned(), findings, Duration::from_secs(2));
        let works = report(vec![
            Finding::ok(Check::WebSocket, "opens"),
            Finding::skip(Check::Http2, "none"),
            Finding::warn(Check::Events, "slow"),
        ]);
        let expected = "1 ok, 1 warn, 0 fail, 1 skip in 2.0 s: WebSockets and Server-Sent Events work from here";
        assert_eq!(works.summary(), expected);
        assert!(works.is_well());
        let cut = report(vec![
            Finding::ok(Check::WebSocket, "opens"),
            Finding::fail(Check::WebSocketIdle, "cut").advice("let it wait"),
            Finding::ok(Check::LongPoll, "held"),
        ]);
        assert!(cut.summary().ends_with("long polls work from here, WebSockets do not"));
        assert!(!cut.is_well());
        assert!(
            cut.to_text()
                .contains("fail  websocket-idle  cut\n                      → let it wait")
        );
        assert_eq!(cut.to_json()["findings"][1]["advice"], "let it wait");
        let gone = report(vec![Finding::fail(Check::Connect, "refused")]);
        assert!(gone.summary().ends_with("nothing live works from here"));
        let answers = report(vec![Finding::ok(Check::Http, "answered 200")]);
        assert!(answers.summary().ends_with("the server answers"));
    }
}
