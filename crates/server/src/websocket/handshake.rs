//! How a request becomes a WebSocket: what is refused, and which subprotocol is chosen.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::UPGRADE;
use http::{Method, StatusCode};
use hyper::ext::Protocol;
use sockeye::{Config, DeflateConfig, Opening, Origins, Refusal, Upgrade};

use crate::problem::{Code, Problem};
use crate::router::App;
use crate::v1;

/// Subprotocols of ours begin with this. A client that offers one, and none that is known, does
/// not expect a plain WebSocket.
const OWN_SUBPROTOCOLS: &str = "sockeye.";

/// Whether a request asks for a WebSocket rather than for the resource: by `Upgrade`, or over HTTP/2
/// by extended CONNECT (RFC 8441 §4).
pub(crate) fn is_handshake(request: &Request) -> bool {
    if request.method() == Method::CONNECT {
        return request.extensions().get::<Protocol>().is_some();
    }
    let lines = request.headers().get_all(UPGRADE).iter().flat_map(|line| line.to_str());
    let mut protocols = lines.flat_map(|line| line.split(','));
    protocols.any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

/// A handshake that can be granted.
pub(super) struct Handshake {
    upgrade: Upgrade,
}

impl Handshake {
    /// Checks the request. Which pages may connect was decided for all transports alike.
    pub(super) fn begin(app: &App, request: &mut Request) -> Result<Self, Problem> {
        if app.drain.has_begun() {
            let detail = "The server is stopping: connect again in a moment.";
            return Err(Problem::new(Code::Unavailable, detail));
        }
        let upgrade = Upgrade::new(request).map_err(|refusal| refused(&refusal))?;
        let upgrade = upgrade.subprotocol_of([v1::SUBPROTOCOL]);
        let is_known = upgrade.chosen_subprotocol().is_some();
        if !is_known && upgrade.subprotocols().any(|name| name.starts_with(OWN_SUBPROTOCOLS)) {
            let detail = "This server does not speak that subprotocol: offer sockeye.v1, or none.";
            return Err(Problem::new(Code::NotAcceptable, detail));
        }
        Ok(Self { upgrade })
    }

    /// Whether `sockeye.v1` is to be spoken.
    pub(super) fn is_v1(&self) -> bool {
        self.upgrade.chosen_subprotocol().is_some()
    }

    /// The answer to give, with compression only if there is a `deflate`, and what becomes the WebSocket once it is given.
    pub(super) fn accept(
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

/// A handshake that is none, as a problem with the headers the protocol asks for.
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
