//! Streams: one answer that goes on, as Server-Sent Events or as JSON lines. What buffers answers in between
//! holds them back.

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use tokio::time::{Instant, timeout};

use super::http::advice_on;
use crate::{
    exam::Exam,
    finding::{Check, Finding},
    link::{Answer, Question, Trouble, ask},
    span::{millis, span},
};

/// Paddings that are tried to fill a buffer: `?pad=` of Sockeye's streams.
const PADS: [&str; 3] = ["4096", "16384", "65536"];

/// What to do about a buffer.
const UNBUFFER: &str = "let what is in between pass answers on as they come (nginx: proxy_buffering off, \
                        proxy_http_version 1.1; no gzip for text/event-stream; lighttpd: \
                        server.stream-response-body = 2); long polls get through such a buffer";

/// A stream that is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    check: Check,
    accept: &'static str,
    name: &'static str,
    /// What makes it begin at once.
    parameters: &'static [(&'static str, &'static str)],
}

/// Server-Sent Events.
pub(crate) const EVENTS: Kind = Kind {
    check: Check::Events,
    accept: "text/event-stream",
    name: "event stream",
    parameters: &[],
};
/// JSON lines, which begin with the first message: padding is what comes before it.
pub(crate) const LINES: Kind = Kind {
    check: Check::Lines,
    accept: "application/x-ndjson",
    name: "stream of JSON lines",
    parameters: &[("pad", "1")],
};

impl Kind {
    /// The request for it, as a browser makes it.
    pub(crate) fn question<'q>(self, exam: &Exam<'_>) -> Question<'q> {
        Question { parameters: self.parameters, ..Question::get(exam.options.timeout) }
            .header(ACCEPT, self.accept)
            .header(CACHE_CONTROL, "no-cache")
            .header(ACCEPT_ENCODING, "gzip, deflate, br")
    }
}

/// Opens the stream and sees how soon its first byte comes. `is_channel` is whether the server is known to
/// send something at once.
pub(crate) async fn stream(exam: &Exam<'_>, kind: Kind, is_channel: bool) {
    exam.begin(kind.check);
    let begun = Instant::now();
    let finding = match ask(exam.target, &kind.question(exam)).await {
        Ok(answer) => opened(exam, kind, is_channel, answer, begun).await,
        Err(Trouble::Silent(_)) if is_channel => held_back(exam, kind, "not even the head").await,
        Err(trouble @ Trouble::Silent(_)) => Finding::fail(kind.check, trouble.to_string()).advice(
            format!("if the server sends events there, something holds them back: {UNBUFFER}"),
        ),
        Err(trouble) => {
            let finding = Finding::fail(kind.check, trouble.to_string());
            match trouble.advice() {
                Some(advice) => finding.advice(advice),
                None => finding,
            }
        }
    };
    exam.found(finding);
}

async fn opened(
    exam: &Exam<'_>,
    kind: Kind,
    is_channel: bool,
    mut answer: Answer,
    begun: Instant,
) -> Finding {
    let status = answer.response.status();
    if !status.is_success() || !answer.is(kind.accept) {
        let of: String =
            answer.header(CONTENT_TYPE).unwrap_or("no type").chars().take(60).collect();
        let figure = format!("no {}: answered {} with {of}", kind.name, status.as_u16());
        return match (is_channel, advice_on(status)) {
            (false, _) => Finding::skip(kind.check, figure),
            (true, Some(advice)) => Finding::fail(kind.check, figure).advice(advice),
            (true, None) => Finding::fail(kind.check, figure),
        };
    }
    let limit = exam.options.timeout;
    let coding = answer.header(CONTENT_ENCODING).map(str::to_owned);
    let compressed = coding.as_ref().map_or(String::new(), |name| format!(", compressed ({name})"));
    let finding = match timeout(limit, answer.piece()).await {
        Ok(Ok(Some(_))) => {
            let took = begun.elapsed();
            let figure = format!("the first byte after {}{compressed}", span(took));
            Finding::ok(kind.check, figure).value("ms", millis(took))
        }
        Ok(ended) => ended_at_once(kind, ended),
        Err(_) if is_channel => held_back(exam, kind, "the head, and nothing of the stream").await,
        Err(_) => Finding::warn(
            kind.check,
            format!("the head came{compressed}, and nothing after it in {}", span(limit)),
        )
        .advice(format!("nothing was sent so far, or something holds it back: {UNBUFFER}")),
    };
    match coding {
        Some(coding) => finding.value("content_encoding", coding),
        None => finding,
    }
}

fn ended_at_once(kind: Kind, ended: Result<Option<Bytes>, hyper::Error>) -> Finding {
    let figure = match ended {
        Err(error) => format!("the stream breaks off at once: {error}"),
        Ok(_) => "the stream ends at once, without an event".to_owned(),
    };
    Finding::fail(kind.check, figure)
        .advice("look at the server's log, and whether something in between ends answers")
}

/// Nothing comes of a stream that begins at once: how much fills the buffer that holds it?
async fn held_back(exam: &Exam<'_>, kind: Kind, came: &str) -> Finding {
    let limit = exam.options.timeout;
    let figure = format!("held back: in {} there came {came}", span(limit));
    for pad in PADS {
        let parameters = [("pad", pad)];
        let question = Question { parameters: &parameters, ..kind.question(exam) };
        let passes = async {
            let mut answer = ask(exam.target, &question).await.ok()?;
            answer.piece().await.ok()?
        };
        if let Ok(Some(_)) = timeout(limit, passes).await {
            return Finding::fail(kind.check, format!("{figure}; with {pad} bytes more it comes"))
                .advice(format!(
                    "{UNBUFFER}; until then ?pad={pad} fills the buffer at the beginning"
                ))
                .value("held_back", true);
        }
    }
    Finding::fail(kind.check, figure).advice(UNBUFFER).value("held_back", true)
}
