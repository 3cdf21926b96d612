//! `sockeye doctor`: what it says of servers that are well, and of what is between it and them.

mod between;
mod hostile;
mod servers;
mod usage;

use serde_json::Value;
use sockeye_tests::program::run;

/// What an examination has found.
struct Found {
    code: Option<i32>,
    report: Value,
}

/// Runs it with `--json`.
fn examine(args: &[&str]) -> Found {
    let output = run(&[&["doctor", "--json"], args].concat(), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    });
    Found { code: output.status.code(), report }
}

impl Found {
    fn findings(&self) -> &[Value] {
        self.report["findings"].as_array().expect("findings")
    }

    /// The finding of a check.
    #[track_caller]
    fn of(&self, check: &str) -> &Value {
        let found = self.findings().iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("no {check} in {:#}", self.report))
    }

    /// Fails unless the check has this verdict, and its figure or advice have these words.
    #[track_caller]
    fn assert(&self, check: &str, verdict: &str, words: &[&str]) {
        let finding = self.of(check);
        let text = format!("{} {}", finding["figure"], finding["advice"]);
        assert_eq!(finding["verdict"], verdict, "{check}: {text}");
        for word in words {
            assert!(text.contains(word), "{check} has no {word:?}: {text}");
        }
    }

    /// The checks with this verdict.
    fn with(&self, verdict: &str) -> Vec<&str> {
        let of = self.findings().iter().filter(|finding| finding["verdict"] == verdict);
        of.filter_map(|finding| finding["check"].as_str()).collect()
    }

    /// Fails unless these checks failed, no other, and the exit code says so.
    #[track_caller]
    fn assert_failed(&self, checks: &[&str]) {
        assert_eq!(self.with("fail"), checks, "{:#}", self.report);
        assert_eq!(self.code, Some(i32::from(!checks.is_empty())));
        assert_eq!(self.report["well"], checks.is_empty());
    }
}
