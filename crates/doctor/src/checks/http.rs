//! A plain request: whether what answers is a server of HTTP, how quickly, and what its clock says.

use std::time::{Duration, SystemTime};

use http::{
    StatusCode,
    header::{AGE, DATE, LOCATION, SERVER},
};
use serde_json::Value;

use crate::{
    exam::Exam,
    finding::{Check, Finding},
    link::{Answer, Question, Trouble, ask},
    span::{millis, span},
};

/// A first byte that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Clocks that differ by more are wrong: the header has whole seconds, and the way takes time.
const MOST_DIFFERENCE: Duration = Duration::from_secs(5);

/// What a plain request has shown.
#[derive(Debug)]
pub(crate) struct Plain {
    /// The answer's status; why there is none.
    pub(crate) status: Result<StatusCode, Trouble>,
    /// Whether this is a channel of Sockeye's.
    pub(crate) is_channel: bool,
    /// Whether it answers with events that were not asked for.
    pub(crate) is_events: bool,
    /// The code of the problem that Sockeye answers with.
    pub(crate) problem: Option<String>,
    took: Duration,
    server: Option<String>,
    clock: Option<Finding>,
    location: Option<String>,
}

/// Asks for the URL as a program does that wants to read it.
pub(crate) async fn plain(exam: &Exam<'_>) -> Plain {
    exam.begin(Check::Http);
    let answer = match ask(exam.target, &Question::get(exam.options.timeout)).await {
        Ok(answer) => answer,
        Err(trouble) => return Plain::without(Err(trouble)),
    };
    let status = answer.response.status();
    let mut plain = Plain {
        took: answer.took,
        server: answer.header(SERVER).map(|name| name.chars().take(60).collect()),
        clock: Some(clock(&answer)),
        is_events: answer.is("text/event-stream"),
        location: answer.header(LOCATION).map(str::to_owned),
        ..Plain::without(Ok(status))
    };
    let is_problem = answer.is("application/problem+json");
    if is_problem || answer.is("application/json") {
        let body = answer.body(exam.options.timeout).await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        plain.is_channel =
            exam.target.may_be_channel() && body["at"].is_string() && body["messages"].is_array();
        plain.problem = body["code"].as_str().filter(|_| is_problem).map(str::to_owned);
    }
    plain
}

impl Plain {
    fn without(status: Result<StatusCode, Trouble>) -> Self {
        Self {
            status,
            is_channel: false,
            is_events: false,
            problem: None,
            took: Duration::ZERO,
            server: None,
            clock: None,
            location: None,
        }
    }

    /// Tells of it. What a WebSocket's URL answers otherwise is of no matter where that opens.
    pub(crate) fn tell(self, exam: &Exam<'_>, opens_websocket: bool) {
        let finding = match &self.status {
            Err(trouble) if opens_websocket => Finding::skip(
                Check::Http,
                format!("a request that is not a handshake gets no answer: {trouble}"),
            ),
            Err(trouble) => {
                let finding = Finding::fail(Check::Http, trouble.to_string());
                match trouble.advice() {
                    Some(advice) => finding.advice(advice),
                    None => finding,
                }
            }
            Ok(status) => self.answered(*status, exam.target.is_http && !opens_websocket),
        };
        exam.found(finding);
        let no_date = || Finding::skip(Check::Clock, "the answer has no Date");
        if self.status.is_ok() && !exam.options.quick {
            exam.found(self.clock.unwrap_or_else(no_date));
        }
    }

    fn answered(&self, status: StatusCode, has_to_be_good: bool) -> Finding {
        let by = self.server.as_ref().map_or(String::new(), |name| format!(" by {name}"));
        let code = self.problem.as_ref().map_or(String::new(), |code| format!(" ({code})"));
        let what = if self.is_channel { ", a channel of Sockeye's" } else { "" };
        let figure = format!("answered {}{code}{by} in {}{what}", status.as_u16(), span(self.took));
        let finding = match status {
            _ if status.is_redirection() && has_to_be_good => {
                let to = self.location.as_deref().unwrap_or("nowhere");
                Finding::fail(Check::Http, format!("{figure}, and sends to {to}"))
                    .advice("give the URL that it sends to")
            }
            _ if has_to_be_good && !status.is_success() => {
                let finding = Finding::fail(Check::Http, figure);
                match advice_on(status) {
                    Some(advice) => finding.advice(advice),
                    None => finding,
                }
            }
            _ if self.took > SLOW => Finding::warn(Check::Http, figure).advice(
                "the first byte comes late: look at the load of the server and of what is before it",
            ),
            _ => Finding::ok(Check::Http, figure),
        };
        finding.value("status", status.as_u16()).value("ms", millis(self.took))
    }
}

/// What to do about a refusal.
pub(crate) fn advice_on(status: StatusCode) -> Option<&'static str> {
    Some(match status.as_u16() {
        401 => "give --token, or -u NAME:PASSWORD",
        403 => {
            "give a token that may do this (--token), or have the server allow the origin \
             (--allow-origin) and pass Host on in the proxy"
        }
        404 => {
            "look at the path: a channel of Sockeye's is at /c/NAME, its WebSocket for many at /connect"
        }
        407 => "the proxy wants a name and a password: write them into its URL",
        429 => "the server takes no more from this address for now: try again later",
        502 | 504 => "a proxy answers, and does not reach the server behind it",
        503 => "the server, or a proxy before it, is overloaded or stopping",
        _ => return None,
    })
}

/// The difference between the server's clock and this machine's.
fn clock(answer: &Answer) -> Finding {
    let Some(date) = answer.header(DATE) else {
        return Finding::skip(Check::Clock, "the answer has no Date");
    };
    let Ok(date) = httpdate::parse_http_date(date) else {
        return Finding::warn(Check::Clock, format!("the Date of the answer is not one: {date}"));
    };
    let age = answer.header(AGE).and_then(|age| age.parse().ok()).map_or(0, |age: u32| age);
    let now = SystemTime::now();
    compare(date + Duration::from_secs(age.into()), now, answer.took)
}

/// `date` has whole seconds, and was written during the `took` before `now`.
fn compare(date: SystemTime, now: SystemTime, took: Duration) -> Finding {
    let (earliest, latest) = (date, date + Duration::from_secs(1));
    let ahead = earliest.duration_since(now).unwrap_or_default();
    let behind = now.duration_since(latest).unwrap_or_default().saturating_sub(took);
    let difference = ahead.max(behind);
    let sign = if ahead > behind { "ahead of" } else { "behind" };
    if difference <= MOST_DIFFERENCE {
        let figure = "the server's clock and this machine's agree";
        return Finding::ok(Check::Clock, figure).value("seconds", difference.as_secs());
    }
    let figure = format!("the server's clock is {} {sign} this machine's", span(difference));
    let signed = difference.as_secs().cast_signed() * if ahead > behind { 1 } else { -1 };
    Finding::warn(Check::Clock, figure)
        .advice(
            "set the one that is wrong (NTP): tokens and certificates begin and end at the wrong time",
        )
        .value("seconds", signed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    #[test]
    fn whole_seconds_and_the_way_are_no_difference() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let judge = |ahead: u64, behind: u64, took| {
            let now = date + Duration::from_millis(behind) - Duration::from_millis(ahead);
            let finding = compare(date, now, Duration::from_millis(took));
            (finding.verdict, finding.figure)
        };
        for (ahead, behind, took) in
            [(0, 999, 0), (0, 5_900, 0), (5_000, 0, 0), (0, 30_900, 25_000)]
        {
            assert_eq!(judge(ahead, behind, took).0, Verdict::Ok, "{ahead} {behind} {took}");
        }
        let (verdict, figure) = judge(0, 121_000, 0);
        assert_eq!(verdict, Verdict::Warn);
        assert_eq!(figure, "the server's clock is 120 s behind this machine's");
        let (verdict, figure) = judge(3_600_000, 0, 10);
        assert_eq!(verdict, Verdict::Warn);
        assert_eq!(figure, "the server's clock is 60 minutes ahead of this machine's");
    }
}
