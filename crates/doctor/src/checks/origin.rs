//! Pages: whether those of an origin get a WebSocket, and may read answers (CORS).

use http::{
    HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    },
};

use super::websocket;
use crate::{
    exam::Exam,
    finding::{Check, Finding},
    link::{Question, ask},
};

/// What is there for pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    /// A WebSocket.
    pub(crate) websocket: bool,
    /// Answers to read: a stream, or a channel.
    pub(crate) answers: bool,
    /// A channel of Sockeye's.
    pub(crate) channel: bool,
}

/// Tries the origin that was given; without one, that of pages of the server itself.
pub(crate) async fn origin(exam: &Exam<'_>, present: Present) {
    exam.begin(Check::Origin);
    let own = exam.target.own_origin();
    let given = exam.target.headers.get(ORIGIN).and_then(|value| value.to_str().ok());
    let origin = given.unwrap_or(&own).to_owned();
    let finding = match attempt(exam, present, &origin, origin == own).await {
        Err(finding) => Finding { check: Check::Origin, ..finding },
        Ok(what) => {
            let other = match given {
                Some(_) => "",
                None => "; --origin tries another page",
            };
            let figure = format!("pages of {origin} {what}{other}");
            Finding::ok(Check::Origin, figure)
        }
    };
    exam.found(finding.value("origin", origin));
}

/// What pages of the origin may do.
async fn attempt(
    exam: &Exam<'_>,
    present: Present,
    origin: &str,
    is_own: bool,
) -> Result<&'static str, Finding> {
    if present.websocket
        && let Err(finding) = websocket::opens_for(exam, origin).await
    {
        let figure = format!("pages of {origin} get no WebSocket: {}", finding.figure);
        return Err(Finding::fail(Check::Origin, figure).advice(match is_own {
            true => {
                "the server does not take this for its own name: pass Host on in the proxy (nginx: \
                 proxy_set_header Host $http_host), let a trusted proxy say X-Forwarded-Proto, or name \
                 the origin (sockeye serve --allow-origin)"
            }
            false => "have the server allow the origin (sockeye serve --allow-origin)",
        }));
    }
    if is_own || !present.answers {
        return Ok(if present.websocket { "get WebSockets" } else { "may read what is there" });
    }
    if !may_read(exam, origin).await {
        let figure =
            format!("pages of {origin} may not read answers: no Access-Control-Allow-Origin");
        return Err(Finding::fail(Check::Origin, figure)
            .advice("have the server allow the origin (sockeye serve --allow-origin)"));
    }
    if present.channel && !may_publish(exam, origin).await {
        let figure =
            format!("pages of {origin} may read, and not publish: the preflight is refused");
        return Err(Finding::fail(Check::Origin, figure)
            .advice("let OPTIONS and its answer through the proxy"));
    }
    Ok("get what is there")
}

async fn may_read(exam: &Exam<'_>, origin: &str) -> bool {
    let Some(question) = question(exam, Method::GET, origin) else { return false };
    let answer = ask(exam.target, &question).await;
    answer.is_ok_and(|answer| {
        let allowed = answer.header(ACCESS_CONTROL_ALLOW_ORIGIN);
        allowed.is_some_and(|allowed| allowed == origin || allowed == "*")
    })
}

/// The preflight of a publication (Fetch §4.8).
async fn may_publish(exam: &Exam<'_>, origin: &str) -> bool {
    let Some(question) = question(exam, Method::OPTIONS, origin) else { return false };
    let question = question
        .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type");
    let answer = ask(exam.target, &question).await;
    answer.is_ok_and(|answer| {
        let methods = answer.header(ACCESS_CONTROL_ALLOW_METHODS).unwrap_or_default();
        answer.response.status().is_success()
            && methods.split(',').any(|method| method.trim() == "POST")
    })
}

fn question(exam: &Exam<'_>, method: Method, origin: &str) -> Option<Question<'static>> {
    let mut question = Question { method, ..Question::get(exam.options.timeout) };
    question.headers.insert(ORIGIN, HeaderValue::from_str(origin).ok()?);
    Some(question)
}
