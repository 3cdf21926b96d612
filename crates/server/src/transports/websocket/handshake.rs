//! The WebSocket handshake: what is refused, and which subprotocol is chosen.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use sockeye::{Config, DeflateConfig, Opening, Origins, Refusal, Upgrade};

use crate::app::App;
use crate::http::problem::{Code, Problem};

/// The subprotocol `sockeye.v1`.
const V1: &str = "sockeye.v1";

/// The prefix of our subprotocols. A client that offers one, and none that is known, does not expect a
/// plain WebSocket.
const OWN_SUBPROTOCOLS: &str = "sockeye.";

/// A handshake that can be accepted.
pub(crate) struct Handshake {
    upgrade: Upgrade,
}

impl Handshake {
    /// Checks the request. The origin rules were checked for all transports alike.
    pub(crate) fn begin(app: &App, request: &mut Request) -> Result<Self, Problem> {
        if app.drain.has_begun() {
            let detail = "The server is stopping: connect again in a moment.";
            return Err(Problem::new(Code::Unavailable, detail));
        }
        let upgrade = Upgrade::new(request).map_err(|refusal| refused(&refusal))?;
        let upgrade = upgrade.subprotocol_of([V1]);
        let is_known = upgrade.chosen_subprotocol().is_some();
        if !is_known && upgrade.subprotocols().any(|name| name.starts_with(OWN_SUBPROTOCOLS)) {
            let detail = "This server does not speak that subprotocol: offer sockeye.v1, or none.";
            return Err(Problem::new(Code::NotAcceptable, detail));
        }
        Ok(Self { upgrade })
    }

    /// Whether `sockeye.v1` was chosen.
    pub(crate) fn is_v1(&self) -> bool {
        self.upgrade.chosen_subprotocol().is_some()
    }

    /// The response, with compression only if there is a `deflate`, and what becomes the WebSocket once
    /// it is sent.
    pub(crate) fn accept(
        self,
        app: &App,
        config: &Arc<Config>,
        deflate: Option<DeflateConfig>,
    ) -> Result<(Response, Opening), Problem> {
        let (response, opening) = self
            .upgrade
            .origins(Origins::Any)
            .config(Arc::clone(config))
            .http2_write_timeout(app.write_timeout)
            .deflate(deflate)
            .accept()
            .map_err(|refusal| Problem::new(Code::Internal, refusal.text()))?;
        Ok((response.map(|()| Body::empty()), opening))
    }
}

/// A refused handshake as a problem, with the headers that the protocol requires.
fn refused(refusal: &Refusal) -> Problem {
    let code = match refusal.status() {
        StatusCode::UPGRADE_REQUIRED => Code::UpgradeRequired,
        _ => Code::BadRequest,
    };
    let problem = Problem::new(code, refusal.text()).with_status(refusal.status());
    refusal
        .headers()
        .iter()
        .fold(problem, |problem, (name, value)| problem.with_header(name.clone(), value.clone()))
}
