//! Several channels by one request: `GET /c/a,b,c`. Each message says its channel, and one composite
//! position is where all of them stand.
//!
//! - [`poll`]: polls and long polls.
//! - [`stream`]: Server-Sent Events and NDJSON.

pub(crate) mod poll;
pub(crate) mod stream;

use std::borrow::Cow;

use futures_util::future::select_all;
use sockeye_hub::{Budget, ChannelName, Entry, Gap, Page, Position, Reader};

use crate::transports::encode;

/// What is read, and where from.
pub(crate) struct Reading {
    pub(crate) channels: Vec<ChannelName>,
    /// In the order of the channels, if the request says where to begin.
    pub(crate) starts: Option<Vec<sockeye_hub::Start>>,
    /// Whether the request comes back to where an earlier stream ended.
    pub(crate) comes_back: bool,
}

/// Waits until one of the readers has something, the end of its channel included; for ever if all are over.
async fn readable(readers: &[Reader]) {
    let waiting: Vec<_> = readers
        .iter()
        .filter(|reader| !reader.is_over())
        .map(|reader| Box::pin(reader.readable()))
        .collect();
    if waiting.is_empty() {
        return std::future::pending().await;
    }
    select_all(waiting).await;
}

/// The message with its channel, in one line.
fn message(channel: &ChannelName, entry: &Entry) -> String {
    let json = encode::v1(channel, entry);
    encode::in_one_line(&String::from_utf8_lossy(&json)).into_owned()
}

/// `{"ch":…,"gap":{…}}`.
fn gap(channel: &ChannelName, gap: &Gap) -> String {
    format!("{{\"ch\":\"{channel}\",\"gap\":{}}}", encode::gap_json(gap))
}

/// `{"ch":…,"at":…,"end":true}`.
fn end(channel: &ChannelName, at: Position) -> String {
    encode::end_json(&format!("\"ch\":\"{channel}\","), at)
}

/// The part of a budget that each of `left` channels gets, of which `taken` is gone.
fn share(budget: Budget, taken: (usize, u64), left: usize) -> Budget {
    let entries = budget.entries.saturating_sub(taken.0).div_ceil(left.max(1));
    let bytes = budget.bytes.saturating_sub(taken.1) / left.max(1) as u64;
    Budget::entries(entries).bytes(bytes)
}

/// What a page takes of a budget.
fn taken(pages: &[Page]) -> (usize, u64) {
    let entries = || pages.iter().flat_map(|page| &page.entries);
    (entries().count(), entries().map(|entry| entry.encoded_len()).sum())
}

/// The text as a line that is JSON with another member first.
fn with_id<'a>(id: &str, json: &'a str) -> Cow<'a, str> {
    match json.strip_prefix('{') {
        Some(rest) => format!("{{\"id\":\"{id}\",{rest}").into(),
        None => json.into(),
    }
}
