//! Which checks are made, in which order: each needs what those before it have shown.

use futures_util::{StreamExt as _, future::LocalBoxFuture, stream::FuturesOrdered};
use tokio::time::Instant;

use crate::{
    checks::{
        http::{self, Plain},
        http2, idle, network,
        origin::{self, Present},
        poll, stream, tls, websocket,
    },
    exam::{Exam, ExamEvent, Options},
    finding::{Check, Finding},
    link::Trouble,
    report::Report,
    target::Target,
};

/// Makes the checks, and tells what they find as soon as they do.
///
/// It takes a little more than [`Options::idle`], and more where something does not answer: up to
/// [`Options::timeout`] for each step. Dropped, it ends at once, and with it all its connections.
pub async fn examine(target: &Target, options: Options, tell: &dyn Fn(&ExamEvent)) -> Report {
    let begun = Instant::now();
    let exam = Exam::new(target, options, tell);
    checks(&exam).await;
    Report::new(target.name(), exam.into_findings(), begun.elapsed())
}

async fn checks(exam: &Exam<'_>) {
    if !exam.options.quick {
        network::proxy(exam);
    }
    if !network::connect(exam).await {
        return;
    }
    if exam.target.address.is_secure() && !tls::tls(exam).await {
        return;
    }
    let plain = http::plain(exam).await;
    if matches!(plain.status, Err(Trouble::NotHttp(_) | Trouble::TooLarge)) {
        return plain.tell(exam, false);
    }
    let is_healthy = plain.status.as_ref().is_ok_and(|status| status.is_success());
    let has = Capabilities {
        is_channel: plain.is_channel,
        may_be_events: exam.target.is_http || plain.is_channel || plain.is_events,
        is_healthy,
    };
    match exam.options.quick {
        true => quick(exam, plain, has).await,
        false => live(exam, plain, has).await,
    }
}

/// What a plain request has shown.
#[derive(Clone, Copy, Debug)]
struct Capabilities {
    is_channel: bool,
    may_be_events: bool,
    is_healthy: bool,
}

/// One request, and a WebSocket where there has to be one.
async fn quick(exam: &Exam<'_>, plain: Plain, has: Capabilities) {
    let needs_websocket = !exam.target.is_http || has.is_channel;
    let opens = needs_websocket && websocket::websocket(exam, true).await;
    plain.tell(exam, opens);
}

async fn live(exam: &Exam<'_>, plain: Plain, has: Capabilities) {
    // Of a URL that refuses plain requests nothing is known before the handshake.
    let (early, late) = if has.is_healthy { (Some(plain), None) } else { (None, Some(plain)) };
    if let Some(plain) = early {
        plain.tell(exam, false);
    }
    let needs_websocket = !exam.target.is_http || has.is_channel;
    let opens = websocket::websocket(exam, needs_websocket).await;
    if let Some(plain) = late {
        plain.tell(exam, opens);
    }
    if opens {
        http2::http2(exam, has.is_channel).await;
    }
    if has.is_channel {
        websocket::v1(exam).await;
    }
    if has.may_be_events {
        stream::stream(exam, stream::EVENTS, has.is_channel).await;
    }
    if has.is_channel {
        stream::stream(exam, stream::LINES, true).await;
    }
    let streams = exam.works(Check::Events);
    if opens || streams || has.is_channel {
        let answers = streams || has.is_channel;
        let present = Present { websocket: opens, answers, channel: has.is_channel };
        origin::origin(exam, present).await;
    } else if has.is_healthy {
        let figure =
            "neither a WebSocket nor an event stream is here: the server answers, and that is all";
        exam.found(Finding::warn(Check::Live, figure));
    }
    waits(exam, has.is_channel).await;
}

/// What takes its time on purpose, side by side.
async fn waits(exam: &Exam<'_>, is_channel: bool) {
    if exam.options.idle.is_zero() {
        return;
    }
    let mut waiting: FuturesOrdered<LocalBoxFuture<'_, Finding>> = FuturesOrdered::new();
    let mut checks = Vec::new();
    if exam.works(Check::StaysOpen) {
        checks.push(Check::WebSocketIdle);
        waiting.push_back(Box::pin(idle::websocket(exam)));
    }
    if exam.works(Check::Events) {
        checks.push(Check::EventsIdle);
        waiting.push_back(Box::pin(idle::events(exam)));
    }
    if is_channel {
        checks.push(Check::LongPoll);
        waiting.push_back(Box::pin(poll::long_poll(exam)));
    }
    if !checks.is_empty() {
        exam.begin_waiting(checks, exam.options.idle);
    }
    while let Some(finding) = waiting.next().await {
        exam.found(finding);
    }
}
