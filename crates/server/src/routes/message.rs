//! `GET /c/{channel}?at=POSITION`: one message.

use axum::extract::Request;
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderValue, StatusCode};
use sockeye_hub::{ChannelName, Missing, Position, Start};

use crate::app::App;
use crate::auth::{Caller, Right};
use crate::conn::answer::Answer;
use crate::http::conditional::{Known, etag, position_headers};
use crate::http::problem::{Code, Problem};
use crate::http::query;
use crate::http::representation::{Representation, VARY_ON};
use crate::option_names::OptionNames;
use crate::transports::encode;

/// Answers with the message at that position, as it is in a page.
pub(crate) async fn answer(
    app: &App,
    (caller, channel): (&Caller, &ChannelName),
    request: Request,
) -> Result<Answer, Problem> {
    caller.ask(Right::Read, channel).await?;
    let at = query::at(request.uri())?;
    if Representation::of(&request)? != Some(Representation::Json) {
        let detail = "One message is application/json: accept that, and give no `stream`.";
        return Err(Problem::new(Code::NotAcceptable, detail));
    }
    let known = Known::by(request.headers());
    drop(request);
    // What is up to there is known here by now: so that it is here, too.
    let before = Position { offset: at.offset.saturating_sub(1), ..at };
    let _loaded = app.load(caller, (Right::Read, channel), Start::After(before)).await?;
    caller.may(Right::Read, channel)?;
    let entry = app.hub.entry(channel, at).map_err(|missing| not_there(missing, at, app.names))?;
    let vary = [(VARY, HeaderValue::from_static(VARY_ON))];
    if known.includes(&etag(at)) {
        return Ok((StatusCode::NOT_MODIFIED, position_headers(at), vary).into());
    }
    let headers = [(CONTENT_TYPE, "application/json")];
    Ok((position_headers(at), vary, headers, encode::json(&entry)).into())
}

fn not_there(missing: Missing, at: Position, names: OptionNames) -> Problem {
    match missing {
        Missing::Never => Problem::new(
            Code::NotFound,
            format_args!(
                "There is no message at {at}: it is not published yet, or the position is of \
                 another channel or epoch, or of no message."
            ),
        ),
        Missing::Gone => Problem::new(
            Code::Gone,
            format_args!(
                "The message at {at} is not kept any more: see {}.",
                names.of("history_count")
            ),
        ),
    }
}
