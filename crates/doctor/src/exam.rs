//! What all checks use: the target, the options, and where findings go.

use std::{cell::RefCell, time::Duration};

use crate::{
    finding::{Check, Finding, Verdict},
    target::Target,
};

/// How patient an examination is, and how much of it there is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How long one step may take: a connection, an answer. Default 10 s.
    pub timeout: Duration,
    /// How long connections are kept on which nothing is said; none are if it is zero. Default 30 s.
    pub idle: Duration,
    /// Only what shows whether the server works: one request, and a WebSocket where there should be one.
    /// Default no.
    pub quick: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), idle: Duration::from_secs(30), quick: false }
    }
}

impl Options {
    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// Sets [`idle`](Self::idle).
    #[must_use]
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// Sets [`quick`](Self::quick).
    #[must_use]
    pub fn quick(mut self, quick: bool) -> Self {
        self.quick = quick;
        self
    }
}

/// What an examination tells while it goes on.
#[derive(Clone, Debug)]
pub enum ExamEvent {
    /// These checks have begun; how long they may take, if they wait on purpose.
    Begun(Vec<Check>, Option<Duration>),
    /// A check has found this.
    Found(Finding),
}

/// An examination that goes on.
pub(crate) struct Exam<'e> {
    pub(crate) target: &'e Target,
    pub(crate) options: Options,
    tell: &'e dyn Fn(&ExamEvent),
    found: RefCell<Vec<Finding>>,
}

impl<'e> Exam<'e> {
    pub(crate) fn new(target: &'e Target, options: Options, tell: &'e dyn Fn(&ExamEvent)) -> Self {
        Self { target, options, tell, found: RefCell::default() }
    }

    /// Says that a check begins.
    pub(crate) fn begin(&self, check: Check) {
        (self.tell)(&ExamEvent::Begun(vec![check], None));
    }

    /// Says that checks begin which wait for so long.
    pub(crate) fn begin_waiting(&self, checks: Vec<Check>, time: Duration) {
        (self.tell)(&ExamEvent::Begun(checks, Some(time)));
    }

    /// Keeps and tells what was found.
    pub(crate) fn found(&self, finding: Finding) -> Verdict {
        let verdict = finding.verdict;
        self.found.borrow_mut().push(finding.clone());
        (self.tell)(&ExamEvent::Found(finding));
        verdict
    }

    /// Whether a check was made, and neither failed nor was skipped.
    pub(crate) fn works(&self, check: Check) -> bool {
        let found = self.found.borrow();
        let mut of = found.iter().filter(|finding| finding.check == check).peekable();
        of.peek().is_some()
            && of.all(|finding| matches!(finding.verdict, Verdict::Ok | Verdict::Warn))
    }

    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.found.into_inner()
    }
}
