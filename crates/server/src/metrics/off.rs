//! In the place of the counters in a program without the feature `prometheus`: nothing is counted.

use std::sync::Arc;

use http::StatusCode;
use sockeye_hub::{Entry, Gap, GapReason, Page, Start};

use super::End;
use crate::http::problem::Code;
use crate::transport::Transport;

/// Counts nothing.
#[derive(Debug)]
pub(crate) struct Metrics;

#[expect(clippy::unused_self, reason = "the one that counts uses it")]
impl Metrics {
    pub(crate) fn opened(&self, _: Transport) {}

    pub(crate) fn closed(&self, _: Transport, _: End) {}

    pub(crate) fn resumed(&self, _: Transport, _: Option<GapReason>) {}

    pub(crate) fn gap(&self, _: Transport, _: &Gap) {}

    pub(crate) fn sent(&self, _: Transport, _messages: usize, _bytes: usize) {}

    pub(crate) fn delivered(&self, _: &[Arc<Entry>], _waiting_since: u64) {}

    pub(crate) fn delivered_to(&self, _readers: usize, _: &[Arc<Entry>]) {}

    pub(crate) fn polled(&self, _: Start, _: &Page, _bytes: usize) {}

    pub(crate) fn published(&self, _: Result<(), Code>) {}

    pub(crate) fn answered(&self, _: StatusCode) {}

    pub(crate) fn stream_opened(&self) {}

    pub(crate) fn stream_closed(&self) {}

    pub(crate) fn http2_buffered(&self, _bytes: i64) {}

    pub(crate) fn answers_hold(&self, _bytes: i64) {}

    pub(crate) fn http2_waited(&self) {}

    pub(crate) fn stream_given_up(&self) {}
}
