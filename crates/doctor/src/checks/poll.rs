//! A long poll of a channel of Sockeye's: whether it is held as long as it asks for.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use crate::{
    exam::Exam,
    finding::{Check, Finding},
    link::{Question, Trouble, ask},
    span::{millis, span},
};

/// The longest wait that the server grants.
const LONGEST: u64 = 60;
/// What an answer may come too early: the server counts from the request's arrival.
const SLACK: Duration = Duration::from_millis(500);

const WAIT_LONGER: &str = "let what is in between wait 75 s for an answer (nginx: proxy_read_timeout 75s; \
                           HAProxy: timeout server 75s), or poll with a shorter wait";

/// Asks for the next message, and to wait for it as long as connections are left alone.
pub(crate) async fn long_poll(exam: &Exam<'_>) -> Finding {
    let check = Check::LongPoll;
    let seconds = exam.options.idle.as_secs().clamp(1, LONGEST);
    let wait = Duration::from_secs(seconds);
    let mut question = Question::get(wait + exam.options.timeout);
    let prefer = HeaderValue::from_str(&format!("wait={seconds}"));
    question.headers.extend(prefer.ok().map(|value| (HeaderName::from_static("prefer"), value)));
    let answer = match ask(exam.target, &question).await {
        Ok(answer) => answer,
        Err(Trouble::Ended(after)) => {
            let figure = format!("cut after {} of {}, without an answer", span(after), span(wait));
            return Finding::fail(check, figure)
                .advice(WAIT_LONGER)
                .value("held_ms", millis(after));
        }
        Err(trouble) => return Finding::fail(check, trouble.to_string()).advice(WAIT_LONGER),
    };
    let (status, took) = (answer.response.status(), answer.took);
    let value = |finding: Finding| finding.value("held_ms", millis(took));
    match status {
        StatusCode::OK => {
            let body = answer.body(exam.options.timeout).await.unwrap_or_default();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let has_messages = body["messages"].as_array().is_some_and(|list| !list.is_empty());
            value(held(took, wait, has_messages))
        }
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            let figure = format!("a proxy answers {} after {}", status.as_u16(), span(took));
            value(Finding::fail(check, figure).advice(WAIT_LONGER))
        }
        _ => value(Finding::fail(
            check,
            format!("answered {} after {}", status.as_u16(), span(took)),
        )),
    }
}

fn held(took: Duration, wait: Duration, has_messages: bool) -> Finding {
    let check = Check::LongPoll;
    match took + SLACK >= wait {
        true => Finding::ok(check, format!("held for {}", span(took))),
        false if has_messages => {
            Finding::ok(check, format!("a message came after {}: not held to the end", span(took)))
        }
        false => Finding::warn(
            check,
            format!("answered after {} instead of {}, without a message", span(took), span(wait)),
        )
        .advice("something answers in the server's place, or the server was stopping"),
    }
}
