//! Errors as a client sees them: `application/problem+json` (RFC 9457) with a stable `code`.

use std::fmt;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

/// What went wrong, in a word that programs may rely on.
///
/// The words are the same on every transport; the HTTP status belongs to the word unless the
/// constructor of a [`Problem`] says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The channel's name breaks the rules for names.
    BadChannel,
    /// The event's name breaks the rules for names, or is reserved.
    BadEvent,
    /// What calls itself JSON is not, or not such as every client can parse.
    BadJson,
    /// The request comes from a page that may not use this server, or names a host it is not.
    BadOrigin,
    /// `after` is none of the forms of a position.
    BadPosition,
    /// The request is wrong in some other way; the detail says in which.
    BadRequest,
    /// The server has no room for the message.
    InsufficientStorage,
    /// The caller is known, and may not do that.
    Forbidden,
    /// The server failed; it is not the client's fault.
    Internal,
    /// The resource does not have this method.
    MethodNotAllowed,
    /// The resource has none of the forms the client accepts.
    NotAcceptable,
    /// There is nothing at this path.
    NotFound,
    /// The message is larger than the server takes.
    TooLarge,
    /// Too many requests, connections or subscriptions: slower, or fewer.
    TooMany,
    /// There is no token, or it is not good any more.
    Unauthorized,
    /// The server is not taking requests now.
    Unavailable,
    /// The body is of a type, charset or coding that the server does not take.
    UnsupportedType,
    /// The WebSocket handshake is of a version the server does not speak.
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

    /// What the code means, for a person.
    fn title(self) -> &'static str {
        match self {
            Self::BadChannel => "Not a channel's name",
            Self::BadEvent => "Not an event's name",
            Self::BadJson => "Not JSON",
            Self::BadOrigin => "Origin not allowed",
            Self::BadPosition => "Not a position",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Not allowed",
            Self::InsufficientStorage => "No room",
            Self::Internal => "Internal error",
            Self::MethodNotAllowed => "Method not allowed",
            Self::NotAcceptable => "Not acceptable",
            Self::NotFound => "Nothing here",
            Self::TooLarge => "Message too large",
            Self::TooMany => "Too many",
            Self::Unauthorized => "Not authorized",
            Self::Unavailable => "Unavailable",
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

/// One error answer: the code, and a sentence that says what to do.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    status: StatusCode,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// An answer with the status of its code.
    pub(crate) fn new(code: Code, detail: impl fmt::Display) -> Self {
        let status = code.status();
        Self { code, status, detail: detail.to_string(), headers: Vec::new() }
    }

    /// What went wrong, as other transports name it, too.
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

    /// The same, and the connection ends with it: what follows on it can not be trusted to be
    /// a request, or would have to be read for nothing.
    pub(crate) fn and_close(self) -> Self {
        self.with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// `405`, naming the methods there are (RFC 9110 §15.5.6).
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(Code::MethodNotAllowed, format_args!("Use one of: {allow}."))
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }

    /// `404` for a path that names nothing.
    pub(crate) fn not_found() -> Self {
        Self::new(Code::NotFound, "A channel is at /c/NAME, the console at /.")
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
