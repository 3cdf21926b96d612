//! `POST /revoke` of the address for operators: tokens that are not valid any more.

use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::CONTENT_TYPE;
use tokio::time::timeout;

use crate::app::App;
use crate::auth::{Revocation, RevokeError};
use crate::http::problem::{Code, Problem};

/// The largest body, in bytes.
const MAX: usize = 4096;

/// What a body may be.
const HOW: &str = "Send {\"jti\":\"…\"}, {\"sub\":\"…\"}, {\"sub\":\"…\",\"before\":SECONDS} or {\"before\":SECONDS}, each with \
                   \"exp\":SECONDS or without";

/// The route.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(app: Arc<App>) -> Router<S> {
    Router::new().route("/revoke", post(answer).with_state(app))
}

async fn answer(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let body = timeout(app.body_timeout, to_bytes(request.into_body(), MAX)).await;
    let too_large = || {
        let detail = format_args!("A revocation has at most {MAX} bytes.");
        Problem::new(Code::TooLarge, detail).and_close()
    };
    let late = || Problem::new(Code::BadRequest, "The body took too long.").and_close();
    let body = body.map_err(|_| late())?.map_err(|_| too_large())?;
    let revocation = Revocation::from_json(&body)
        .map_err(|wrong| Problem::new(Code::BadJson, format_args!("{HOW}: {wrong}.")))?;
    app.authority.revoke(revocation).await.map_err(|error| refused(&error))?;
    let json = format!("{{\"revoked\":{}}}", app.authority.revoked());
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

fn refused(error: &RevokeError) -> Problem {
    let code = match error {
        RevokeError::NoTokens => Code::NotFound,
        RevokeError::Full => Code::InsufficientStorage,
        RevokeError::NotStored(_) => Code::Internal,
        _ => Code::BadRequest,
    };
    Problem::new(code, format_args!("{error}."))
}
