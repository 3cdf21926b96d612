//! `POST /tickets`: a ticket for a token.

use axum::extract::Request;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, StatusCode};

use crate::app::App;
use crate::auth::{NoTicket, TICKET_GOOD_FOR};
use crate::conn::answer::Answer;
use crate::http::problem::{Code, Problem};
use crate::limits;

/// The methods of tickets.
const METHODS: &str = "POST, OPTIONS";

/// Answers `201` and `{"ticket":"…","expires_in":60}`.
pub(crate) async fn answer(app: &App, request: Request) -> Result<Answer, Problem> {
    if app.authority.has_tokens() {
        match *request.method() {
            Method::POST => {}
            Method::OPTIONS => {
                return Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into());
            }
            _ => return Err(Problem::method_not_allowed(METHODS)),
        }
    }
    let ticket = app.authority.issue_ticket(&request).await.map_err(|none| match none {
        NoTicket::Refused(problem) => problem,
        NoTicket::TooMany(wait) => {
            let detail = "Too many tickets are unused: use them, or wait.";
            limits::come_again(Problem::new(Code::TooMany, detail), wait)
        }
    })?;
    let json = format!("{{\"ticket\":\"{ticket}\",\"expires_in\":{}}}", TICKET_GOOD_FOR.as_secs());
    Ok((StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], json).into())
}
