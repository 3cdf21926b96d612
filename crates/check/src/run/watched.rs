//! What is watched for in all cases.

use crate::{
    case::{Case, Expect},
    link::Mistake,
    report::Outcome,
    verdict::Ruling,
};

/// Rules on what was watched for in all cases.
pub(super) fn watched(cases: &[Case], outcomes: &mut [Outcome], mistakes: &[(String, Mistake)]) {
    let is_alone = cases.iter().all(|case| matches!(case.expect, Expect::Never(_)));
    for (case, outcome) in cases.iter().zip(outcomes) {
        let Expect::Never(what) = case.expect else { continue };
        if is_alone {
            outcome.rule(Ruling::not_judged("no other case has been tried"));
            continue;
        }
        let mut made = mistakes.iter().filter(|(_, mistake)| mistake.what == what);
        let ruling = match made.next() {
            None => Ruling::passed("never seen"),
            Some((id, mistake)) => {
                let more = made.count();
                let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                Ruling::against(case.level, format!("in {id}{more}: {}", mistake.shown))
            }
        };
        outcome.rule(ruling);
    }
}
