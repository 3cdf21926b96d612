//! The representation in which a channel is read: as the URL says (`?stream=`), or else as `Accept`
//! does.

use axum::extract::Request;
use http::HeaderValue;
use http::header::{CONNECTION, UPGRADE};

use crate::http::accept;
use crate::http::problem::{Code, Problem};
use crate::http::query;
use crate::transport::Transport;

/// What the response depends on beside the URL, for caches: the headers that choose the representation
/// and the wait.
pub(crate) const VARY_ON: &str = "Accept, Prefer, Last-Event-ID, Cache-Control";

/// A representation of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Representation {
    /// One page as a JSON object.
    Json,
    /// Server-Sent Events.
    Events,
    /// Lines of JSON.
    Lines,
}

impl Representation {
    const ALL: [Self; 3] = [Self::Json, Self::Events, Self::Lines];

    /// The one that a `GET` asks for: many clients cannot set headers, so `?stream=` comes first.
    /// `None` if `Accept` names none of them.
    pub(crate) fn of(request: &Request) -> Result<Option<Self>, Problem> {
        let Some(word) = query::parameter(request.uri(), "stream")? else {
            return Ok(Self::accepted(request));
        };
        match word.parse() {
            Ok(Transport::Sse) => Ok(Some(Self::Events)),
            Ok(Transport::Ndjson) => Ok(Some(Self::Lines)),
            Ok(Transport::Ws) => Err(upgrade_required()),
            _ => {
                let detail = "`stream` is sse, ndjson or ws.";
                Err(Problem::new(Code::BadRequest, detail))
            }
        }
    }

    fn accepted(request: &Request) -> Option<Self> {
        let preferred = accept::preferred(request.headers(), &Self::ALL.map(Self::media_type))?;
        Self::ALL.into_iter().find(|form| form.media_type() == preferred)
    }

    /// `406`: the client accepts none of them.
    pub(crate) fn not_acceptable() -> Problem {
        let [json, events, lines] = Self::ALL.map(Self::media_type);
        Problem::new(Code::NotAcceptable, format_args!("Accept {json}, {events} or {lines}."))
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// `426`: `?stream=ws` without a WebSocket handshake (RFC 9110 §15.5.22).
fn upgrade_required() -> Problem {
    let detail =
        "A WebSocket is opened by its handshake: connect to this URL with ws:// or wss://.";
    let websocket = HeaderValue::from_static("websocket");
    Problem::new(Code::UpgradeRequired, detail)
        .with_header(UPGRADE, websocket)
        .with_header(CONNECTION, HeaderValue::from_static("upgrade"))
}
