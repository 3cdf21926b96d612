//! What was found so far: each case once, and faults once more.

use super::watched::watched;
use crate::{
    case::Case,
    link::Mistake,
    report::Outcome,
    verdict::{Judged, Ruling},
};

/// Both times of each case, in the order of the cases.
#[derive(Debug)]
pub(super) struct Findings {
    first: Vec<Option<Judged>>,
    again: Vec<Option<Judged>>,
    /// Mistakes of the peer's frames, each with the case that it was made in.
    mistakes: Vec<(String, Mistake)>,
}

impl Findings {
    pub(super) fn of(cases: &[Case]) -> Self {
        let none = || cases.iter().map(|_| None).collect();
        Self { first: none(), again: none(), mistakes: Vec::new() }
    }

    /// What the case has found the first time.
    pub(super) fn first(&self, at: usize) -> Option<&Judged> {
        self.first[at].as_ref()
    }

    /// Keeps what the case with this id has found; the first time, if `is_new`.
    pub(super) fn keep(&mut self, at: usize, id: &str, mut judged: Judged, is_new: bool) {
        let mistakes = judged.mistakes.drain(..).map(|mistake| (id.to_owned(), mistake));
        self.mistakes.extend(mistakes);
        if is_new {
            (self.first[at], self.again[at]) = (Some(judged), None);
        } else {
            self.again[at] = Some(judged);
        }
    }

    /// The outcomes; `why` the cases without one were not tried.
    pub(super) fn conclude(self, cases: &[Case], why: &str) -> Vec<Outcome> {
        let judged = self.first.into_iter().zip(self.again);
        let outcome = |(case, (first, again)): (&Case, (Option<Judged>, Option<Judged>))| {
            let Judged { ruling, trace, .. } = match (first, again) {
                (None, _) => not_judged(why),
                (Some(first), Some(again)) => {
                    Judged { ruling: confirmed(&first.ruling, again.ruling), ..again }
                }
                (Some(first), None) if wants_confirmation(case, &first.ruling) => {
                    Judged { ruling: unconfirmed(&first.ruling, why), ..first }
                }
                (Some(first), None) => first,
            };
            Outcome::new(case, ruling, trace)
        };
        let mut outcomes: Vec<_> = cases.iter().zip(judged).map(outcome).collect();
        watched(cases, &mut outcomes, &self.mistakes);
        outcomes
    }
}

/// A case that nothing was sent for.
pub(super) fn not_judged(why: impl Into<String>) -> Judged {
    Judged::from_ruling(Ruling::not_judged(why))
}

/// Whether what came is told only when it has happened twice. What waits for a deadline of the peer is
/// tried once.
pub(super) fn wants_confirmation(case: &Case, ruling: &Ruling) -> bool {
    ruling.verdict.is_fault() && !case.is_slow()
}

/// The ruling of both times.
fn confirmed(first: &Ruling, again: Ruling) -> Ruling {
    if first.verdict.is_fault() && !again.verdict.is_fault() {
        return Ruling::information(format!("{} (once of two times: {})", again.came, first.came));
    }
    again
}

/// What was found once, and could not be tried again.
fn unconfirmed(first: &Ruling, why: &str) -> Ruling {
    Ruling::not_judged(format!("not tried again, {why}; the first time: {}", first.came))
}
