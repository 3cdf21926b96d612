//! `POST /tickets`: a ticket for a token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, ORIGIN};
use http::{Method, StatusCode};

use super::tickets::{GOOD_FOR, TooMany};
use super::{Credential, Standing, no_token};
use crate::limits;
use crate::problem::{Code, Problem};
use crate::router::App;

/// What can be done with the tickets.
const METHODS: &str = "POST, OPTIONS";

/// Answers `201` and `{"ticket":"…","expires_in":60}`. A ticket is had for a token, not for
/// another ticket: that would make one that is used up good again.
pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let Some(keyring) = app.authority.keyring() else {
        let detail = "There are no tokens here, so there are no tickets: leave them out.";
        return Err(Problem::new(Code::NotFound, detail));
    };
    match *request.method() {
        Method::POST => {}
        Method::OPTIONS => {
            return Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response());
        }
        _ => return Err(Problem::method_not_allowed(METHODS)),
    }
    let Some(Credential::Token(token)) = Credential::of(&request)? else { return Err(no_token()) };
    let Standing::Bearer(pass) = keyring.caller(token)?.0 else { return Err(no_token()) };
    // The guard has found the origin to be one that may come.
    let origin = request.headers().get(ORIGIN).cloned();
    let ticket = keyring
        .tickets
        .issue(token, pass, origin)
        .map_err(|_| Problem::new(Code::Internal, "The system has no random bytes."))?
        .map_err(|TooMany(wait)| {
            let detail = "There are too many tickets that were not used: use them, or wait.";
            limits::come_again(Problem::new(Code::TooMany, detail), wait)
        })?;
    let json = format!("{{\"ticket\":\"{ticket}\",\"expires_in\":{}}}", GOOD_FOR.as_secs());
    Ok((StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], json).into_response())
}
