//! Errors as a client sees them: `application/problem+json` (RFC 9457) with a stable `code`.

use std::fmt;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

/// What went wrong, as a stable word for programs.
///
/// The words are the same on every transport; the HTTP status follows from the word unless the
/// constructor of a [`Problem`] says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The name of the channel is invalid.
    BadChannel,
    /// The name of the event is invalid, or reserved.
    BadEvent,
    /// The JSON is malformed, or beyond what every client can parse.
    BadJson,
    /// The request comes from a page that may not use this server, or names another host.
    BadOrigin,
    /// `after` is not a position.
    BadPosition,
    /// The request is invalid in another way; the detail says in which.
    BadRequest,
    /// The channel has ended.
    Ended,
    /// What was there is not kept any more.
    Gone,
    /// The storage for messages is used up.
    InsufficientStorage,
    /// The caller is authenticated, and may not do that.
    Forbidden,
    /// The server failed; it is not the client's fault.
    Internal,
    /// The resource does not have this method.
    MethodNotAllowed,
    /// The resource has no representation that the client accepts.
    NotAcceptable,
    /// There is nothing at this path.
    NotFound,
    /// The message is larger than the limit.
    TooLarge,
    /// Too many requests, connections or subscriptions.
    TooMany,
    /// The token is missing or invalid.
    Unauthorized,
    /// The server does not take requests now.
    Unavailable,
    /// The type, charset or coding of the body is not supported.
    UnsupportedType,
    /// The WebSocket handshake is of a version that is not supported.
    UpgradeRequired,
}

impl Code {
    /// The HTTP status that goes with the code.
    fn status(self) -> StatusCode {
        match self {
            Self::BadChannel
            | Self::BadEvent
            | Self::BadJson
            | Self::BadPosition
            | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::BadOrigin | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Ended => StatusCode::CONFLICT,
            Self::Gone => StatusCode::GONE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::InsufficientStorage => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the code means, for people.
    fn title(self) -> &'static str {
        match self {
            Self::BadChannel => "Invalid channel name",
            Self::BadEvent => "Invalid event name",
            Self::BadJson => "Invalid JSON",
            Self::BadOrigin => "Origin not allowed",
            Self::BadPosition => "Invalid position",
            Self::BadRequest => "Bad request",
            Self::Ended => "Channel ended",
            Self::Forbidden => "Forbidden",
            Self::Gone => "Gone",
            Self::InsufficientStorage => "Insufficient storage",
            Self::Internal => "Internal error",
            Self::MethodNotAllowed => "Method not allowed",
            Self::NotAcceptable => "Not acceptable",
            Self::NotFound => "Not found",
            Self::TooLarge => "Message too large",
            Self::TooMany => "Too many requests",
            Self::Unauthorized => "Unauthorized",
            Self::Unavailable => "Service unavailable",
            Self::UnsupportedType => "Unsupported media type",
            Self::UpgradeRequired => "Upgrade required",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// An error response: the code, and a sentence that says what to do.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    status: StatusCode,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with the status of its code.
    pub(crate) fn new(code: Code, detail: impl fmt::Display) -> Self {
        let status = code.status();
        Self { code, status, detail: detail.to_string(), headers: Vec::new() }
    }

    /// The code, which is the same on all transports.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// A sentence that says what to do.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same with another status, where HTTP has a more precise one.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with a header that belongs to the refusal.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Closes the connection after the response: what follows on it may not be a request, or would have
    /// to be read in vain.
    pub(crate) fn and_close(self) -> Self {
        self.with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// `405`, with the methods that there are (RFC 9110 §15.5.6).
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(Code::MethodNotAllowed, format_args!("Use one of: {allow}."))
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }

    /// `404` for a path that names nothing.
    pub(crate) fn not_found() -> Self {
        Self::new(
            Code::NotFound,
            match cfg!(feature = "console") {
                true => "A channel is at /c/NAME, the console at /.",
                false => "A channel is at /c/NAME.",
            },
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Json<'a> {
            code: Code,
            title: &'static str,
            status: u16,
            detail: &'a str,
        }
        let json = Json {
            code: self.code,
            title: self.code.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        // Strings and numbers always serialise; an empty body would still carry the status.
        let body = serde_json::to_vec(&json).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
