//! Answers to clients that get no WebSocket, for now.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use sockeye_proto::handshake::Refusal;

/// An answer that asks to come again after some time, in whole seconds.
pub(crate) fn come_again(status: StatusCode, text: &str, after: Duration) -> Refusal {
    Refusal::new(status, text).header(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)))
}
