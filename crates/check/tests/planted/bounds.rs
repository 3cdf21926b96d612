//! Peers that go on for ever, or say nothing: the check ends, and says what it could not judge.

use std::{future::pending, time::Duration};

use sockeye_check::{CheckError, Report, Verdict, check_server};

use crate::{defect::Defect, http2, options, server, target};

async fn checked(defect: Defect, more: &[&str], max_time: Duration) -> Result<Report, CheckError> {
    let target = target(server::start(Some(defect)), http2::start(Some(defect)).await);
    // One of each kind of expectation.
    let cases = [
        "opening/plain",
        "framing/text-of-1",
        "framing/rsv1-text",
        "control/ping-empty",
        "close/code-1000",
        "close/then-text",
        "compression/window-9",
        "endings/cut",
    ];
    let options =
        options(&[&cases, more].concat()).answer_timeout(Duration::from_secs(1)).max_time(max_time);
    check_server(&target, &options, &|_| {}, pending()).await
}

/// What it answers would be behind more than is read: it is told so before the first case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_floods_is_told_at_once() {
    let error = checked(Defect::Floods, &[], Duration::from_mins(5)).await.err();
    let Some(CheckError::Floods(why)) = error else { panic!("{error:?}") };
    let told = "sends without end: more than 50000 frames or 64 MiB that nothing has asked for; no answer can be \
                told from that";
    assert!(why.ends_with(told), "{why}");
}

/// Pings hold no case up: what is waited for is waited for as long as if there were none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_sends_pings_for_ever_and_answers_nothing_is_judged() {
    let report = checked(Defect::Drips, &[], Duration::from_mins(5)).await.expect("a report");
    let text = report.to_text(true);
    assert!(!report.is_interrupted && report.abilities.is_mute, "{text}");
    for (id, came) in [("control/ping-empty", "no Pong"), ("close/code-1000", "no Close")] {
        let outcome = report.outcomes.iter().find(|outcome| outcome.id == id).expect(id);
        assert_eq!((outcome.verdict, &*outcome.came), (Verdict::Broken, came), "{text}");
    }
}

/// A check has an end, with what was found until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_takes_too_long_reports_what_it_has() {
    let report = checked(Defect::Mute, &["limits/no-close-answered"], Duration::from_secs(4))
        .await
        .expect("a report");
    let text = report.to_text(true);
    assert!(report.is_interrupted, "{text}");
    let why = "the time of the check was over before it was tried";
    assert!(report.outcomes.iter().any(|outcome| outcome.came.contains(why)), "{text}");
}
