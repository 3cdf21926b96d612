//! Which cases are tried, and how.

use std::time::Duration;

use sockeye_wire::Role;

use crate::{case::Case, chapters, judge::Timeouts, probe::Abilities};

/// Which cases are tried, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Cases whose id begins with one of these; all, if there are none.
    pub only: Vec<String>,
    /// Cases whose id begins with one of these are left out.
    pub skip: Vec<String>,
    /// How many connections are open at a time, at most.
    pub jobs: usize,
    /// How long an answer may take. Default 5 s.
    pub answer_timeout: Duration,
    /// How long to wait for a reaction to what is wrong, before the peer is asked whether it still
    /// answers. Default 300 ms; three times as long when a finding is tried again.
    pub quiet: Duration,
    /// How long the whole check may take, from the first connection on. Default 5 min.
    pub max_time: Duration,
}

/// What a peer gets for an answer that has answered nothing at all.
const MUTE: Duration = Duration::from_secs(1);

impl Default for Options {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            skip: Vec::new(),
            jobs: 16,
            answer_timeout: Duration::from_secs(5),
            quiet: Duration::from_millis(300),
            max_time: Duration::from_mins(5),
        }
    }
}

impl Options {
    /// Tries cases whose id begins with one of these; all, if there are none. Default none.
    #[must_use]
    pub fn only(self, only: Vec<String>) -> Self {
        Self { only, ..self }
    }

    /// Leaves out cases whose id begins with one of these. Default none.
    #[must_use]
    pub fn skip(self, skip: Vec<String>) -> Self {
        Self { skip, ..self }
    }

    /// Opens that many connections at a time, at most. Default 16.
    #[must_use]
    pub fn jobs(self, jobs: usize) -> Self {
        Self { jobs: jobs.max(1), ..self }
    }

    /// Waits so long for an answer. Default 5 s.
    #[must_use]
    pub fn answer_timeout(self, answer_timeout: Duration) -> Self {
        Self { answer_timeout, ..self }
    }

    /// Waits so long for a reaction to what is wrong, before the peer is asked whether it still answers.
    /// Default 300 ms.
    #[must_use]
    pub fn quiet(self, quiet: Duration) -> Self {
        Self { quiet, ..self }
    }

    /// Ends the whole check after so long: what is not tried by then is not judged. Default 5 min.
    #[must_use]
    pub fn max_time(self, max_time: Duration) -> Self {
        Self { max_time, ..self }
    }

    /// The same, with a shorter timeout for a peer that answers neither messages nor Pings: nearly every case would
    /// wait to its end.
    pub(super) fn for_peer(&self, abilities: &Abilities) -> Self {
        let answer_timeout =
            if abilities.is_mute { self.answer_timeout.min(MUTE) } else { self.answer_timeout };
        self.clone().answer_timeout(answer_timeout)
    }

    /// The cases for peers of this role that these options leave.
    #[must_use]
    pub fn cases(&self, peer: Role) -> Vec<Case> {
        let begins = |id: &str, with: &[String]| with.iter().any(|begin| id.starts_with(begin));
        let cases = chapters::all(peer)
            .filter(|case| self.only.is_empty() || begins(&case.id, &self.only))
            .filter(|case| !begins(&case.id, &self.skip));
        cases.cloned().collect()
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        Timeouts { answer: self.answer_timeout, quiet: self.quiet }
    }

    /// With what a fault is tried again.
    pub(super) fn longer_timeouts(&self) -> Timeouts {
        Timeouts { answer: self.answer_timeout * 2, quiet: self.quiet * 3 }
    }
}
