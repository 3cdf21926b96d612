//! A server: the cases side by side, and what they found once more.

use std::sync::Arc;

use sockeye_wire::Role;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use super::{
    CheckError, OnProgress, Options, Progress, bounded,
    findings::{Findings, not_judged, wants_confirmation},
};
use crate::{
    case::{Case, Expect},
    judge::{Peer, Timeouts, judge},
    probe::{self, Abilities},
    report::Report,
    target::Target,
    verdict::{Judged, Verdict},
};

/// Checks a server. When `stop` is ready before all cases are judged, the report has what was found
/// until then.
///
/// # Errors
///
/// When it is not reached, or does not open a WebSocket at this URL.
pub async fn check_server(
    target: &Target,
    options: &Options,
    on_progress: OnProgress<'_>,
    stop: impl Future<Output = ()>,
) -> Result<Report, CheckError> {
    let began = Instant::now();
    let abilities = probe::server(target, options.timeouts()).await?;
    let cases = options.cases(Role::Server);
    let options = &options.for_peer(&abilities);
    let run = Run { target: target.clone(), abilities, timeouts: options.timeouts() };
    let mut findings = Findings::of(&cases);
    let running = run.everything(&cases, options, on_progress, &mut findings);
    let left = bounded(running, stop, began, options).await;
    let outcomes = findings.conclude(&cases, left.unwrap_or("the check itself failed"));
    Ok(Report::new(abilities, outcomes, began.elapsed(), left.is_some()))
}

#[derive(Clone)]
struct Run {
    target: Target,
    abilities: Abilities,
    timeouts: Timeouts,
}

impl Run {
    /// Every case, then what has a fault once more, then whether the server is still there.
    async fn everything(
        &self,
        cases: &[Case],
        options: &Options,
        on_progress: OnProgress<'_>,
        findings: &mut Findings,
    ) {
        let mut done = 0;
        let all = cases.iter().enumerate();
        self.side_by_side(all, options.jobs, |at, judged| {
            done += 1;
            on_progress(Progress { done, all: cases.len() });
            findings.keep(at, &cases[at].id, judged, true);
        })
        .await;
        let is_due = |(at, case): &(usize, &Case)| {
            findings.first(*at).is_some_and(|judged| self.is_due_again(case, judged))
        };
        let faults: Vec<_> = cases.iter().enumerate().filter(is_due).collect();
        let patient = Self { timeouts: options.longer_timeouts(), ..self.clone() };
        let keep = |at: usize, judged| findings.keep(at, &cases[at].id, judged, false);
        patient.side_by_side(faults.into_iter(), options.jobs.div_ceil(2), keep).await;
        let mut all = cases.iter().enumerate();
        if let Some((at, last)) = all.find(|(_, case)| case.id == "endings/serves-afterwards") {
            let judged = self.one(last).await;
            let is_fault = judged.ruling.verdict.is_fault();
            findings.keep(at, &last.id, judged, true);
            if is_fault {
                findings.keep(at, &last.id, patient.one(last).await, false);
            }
        }
    }

    /// Whether a case is tried again: it has found a fault, or its handshake was refused.
    fn is_due_again(&self, case: &Case, judged: &Judged) -> bool {
        let is_refused = judged.ruling.verdict == Verdict::NotJudged
            && self.abilities.missing(case).is_none()
            && !matches!(case.expect, Expect::Never(_))
            && !case.is_slow();
        is_refused || wants_confirmation(case, &judged.ruling)
    }

    /// Judges cases, so many at a time.
    async fn side_by_side<'c>(
        &self,
        cases: impl Iterator<Item = (usize, &'c Case)>,
        jobs: usize,
        mut keep: impl FnMut(usize, Judged),
    ) {
        // Messages that others are sent too would be taken for echoes: one after the other there.
        let jobs = if self.abilities.is_broadcast { 1 } else { jobs };
        let (places, slow) = (Arc::new(Semaphore::new(jobs)), Arc::new(Semaphore::new(SLOW)));
        let mut running = JoinSet::new();
        for (at, case) in cases {
            let places = if case.is_slow() { Arc::clone(&slow) } else { Arc::clone(&places) };
            let (run, case) = (self.clone(), case.clone());
            running.spawn(async move {
                let _place = places.acquire_owned().await;
                (at, run.one(&case).await)
            });
        }
        while let Some(joined) = running.join_next().await {
            // One that has panicked is left without a verdict.
            if let Ok((at, judged)) = joined {
                keep(at, judged);
            }
        }
    }

    /// Judges a case, unless the peer lacks what it needs.
    async fn one(&self, case: &Case) -> Judged {
        match (&case.expect, self.abilities.missing(case)) {
            (_, Some(why)) => not_judged(why),
            (Expect::Never(_), None) => not_judged("nothing is sent for this"),
            _ => judge(case, Peer::Server(&self.target), self.timeouts).await,
        }
    }
}

/// How many cases wait for deadlines of the server at a time, beside the others.
const SLOW: usize = 16;
