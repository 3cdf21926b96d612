//! How long a connection lives on which nothing is said: something in between may count silence as an end.

use std::{ops::ControlFlow, time::Duration};

use http::header::TRANSFER_ENCODING;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    stream::EVENTS,
    websocket::{self, Open},
};
use crate::{
    exam::Exam,
    finding::{Check, Finding},
    link::{Activity, ask},
    span::{millis, span},
};

/// What to set where silence is counted as an end.
const WAIT_LONGER: &str = "let it wait 75 s (nginx: proxy_read_timeout 75s; HAProxy: timeout tunnel 75s, \
                           timeout server 75s; a load balancer: its idle timeout)";
/// The shortest time between two Pings that are to keep a connection open.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Leaves a WebSocket alone until the bound, or its end.
pub(crate) async fn websocket(exam: &Exam<'_>) -> Finding {
    let check = Check::WebSocketIdle;
    let bound = exam.options.idle;
    let Open { socket, activity, .. } = match websocket::open(exam, |client| client).await {
        Ok(open) => open,
        Err(error) => return Finding::skip(check, format!("it did not open again: {error}")),
    };
    let begun = Instant::now();
    let (mut reader, writer) = socket.split();
    let ended = timeout(bound, websocket::drain(&mut reader)).await;
    let (lived, silence) = (begun.elapsed(), activity.silence());
    let Ok(closed) = ended else {
        let finding = alive(check, bound, &activity);
        websocket::close(reader, writer).await;
        return finding;
    };
    if !closed.received.is_absent() {
        return Finding::warn(
            check,
            format!(
                "the server closes it after {}: {} {}",
                span(lived),
                closed.code(),
                closed.reason()
            ),
        )
        .advice("say something more often, or let the server wait longer")
        .value("lived_ms", millis(lived));
    }
    let figure = format!("cut after {} without a byte, without a Close", span(silence));
    let finding = Finding::fail(check, figure).value("lived_ms", millis(lived));
    let interval = (silence / 2).max(SHORTEST_INTERVAL);
    match pings_keep(exam, interval, silence + silence / 2).await {
        true => finding.advice(format!(
            "something in between ends silent connections: {WAIT_LONGER}, or Ping more often: one every {} \
             keeps it open (sockeye serve --ping-interval {})",
            span(interval),
            flag(interval)
        )),
        false => finding.advice(format!(
            "something in between ends connections, Pings or not: {WAIT_LONGER}"
        )),
    }
}

/// Whether Pings at this interval keep a WebSocket open for that long.
async fn pings_keep(exam: &Exam<'_>, interval: Duration, long: Duration) -> bool {
    let Ok(Open { socket, .. }) = websocket::open(exam, |client| client).await else {
        return false;
    };
    let until = Instant::now() + long;
    let (mut reader, writer) = socket.split();
    let pinging = async {
        while Instant::now() < until {
            sleep(interval).await;
            if writer.ping().await.is_err() {
                return false;
            }
        }
        true
    };
    let limit = long + interval + exam.options.timeout;
    tokio::select! {
        kept = timeout(limit, pinging) => kept.unwrap_or(false),
        _ = websocket::drain(&mut reader) => false,
    }
}

/// A time as `--ping-interval` takes it.
fn flag(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{}ms", time.as_millis()),
        seconds => format!("{seconds}s"),
    }
}

fn alive(check: Check, bound: Duration, activity: &Activity) -> Finding {
    let silence = activity.longest_silence();
    let figure = match activity.has_received() {
        false => format!("open after {} in which nothing was said", span(bound)),
        true => format!(
            "open after {}; the longest silence was {}, as the server says something",
            span(bound),
            span(silence)
        ),
    };
    Finding::ok(check, figure).value("lived_ms", millis(bound)).value("silence_ms", millis(silence))
}

/// The same with Server-Sent Events.
pub(crate) async fn events(exam: &Exam<'_>) -> Finding {
    let check = Check::EventsIdle;
    let bound = exam.options.idle;
    let mut answer = match ask(exam.target, &EVENTS.question(exam)).await {
        Ok(answer) => answer,
        Err(trouble) => return Finding::skip(check, format!("it did not open again: {trouble}")),
    };
    let is_chunked = answer.response.headers().contains_key(TRANSFER_ENCODING);
    let activity = answer.activity.clone();
    activity.restart();
    let begun = Instant::now();
    let until = begun + bound;
    let end = loop {
        let next = match timeout_at(until, answer.piece()).await {
            Ok(Ok(Some(_))) => ControlFlow::Continue(()),
            Ok(Ok(None)) => ControlFlow::Break(Some(is_chunked)),
            Ok(Err(_)) => ControlFlow::Break(Some(false)),
            Err(_) => ControlFlow::Break(None),
        };
        if let ControlFlow::Break(end) = next {
            break end;
        }
    };
    let (lived, silence) = (begun.elapsed(), activity.silence());
    match end {
        None => alive(check, bound, &activity),
        Some(true) => {
            Finding::warn(check, format!("the server ends the stream after {}", span(lived)))
                .advice(
                    "clients come back by themselves, and ask again: let the server hold it longer",
                )
                .value("lived_ms", millis(lived))
        }
        Some(false) => {
            let figure = format!("cut after {} without a byte", span(silence));
            let interval = flag((silence / 2).max(SHORTEST_INTERVAL));
            Finding::fail(check, figure)
                .advice(format!(
                    "something in between ends silent answers: {WAIT_LONGER}, or have the server say \
                     something more often (sockeye serve --heartbeat {interval})"
                ))
                .value("lived_ms", millis(lived))
        }
    }
}
