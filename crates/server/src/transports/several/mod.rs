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

use crate::json::in_one_line;
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
    in_one_line(&String::from_utf8_lossy(&json)).into_owned()
}

/// `{"ch":…,"gap":{…}}`.
fn gap(channel: &ChannelName, gap: &Gap) -> String {
    format!("{{\"ch\":\"{channel}\",\"gap\":{}}}", encode::gap_json(gap))
}

/// `{"ch":…,"at":…,"end":true}`.
fn end(channel: &ChannelName, at: Position) -> String {
    encode::end_json(&format!("\"ch\":\"{channel}\","), at)
}

/// Whether the channel has ended, and the reader stands there.
fn has_been_told(reader: &Reader) -> bool {
    let lag = reader.lag();
    lag.ended && lag.gap.is_none() && reader.position() == lag.end
}

/// The pages of `count` channels, in their order, within one budget: each gets an equal part of what those before it
/// have left. The turns begin with the channel `first`. When all bytes are taken, the others have to wait.
fn pages(
    (count, first): (usize, usize),
    budget: Budget,
    mut page: impl FnMut(usize, Budget) -> Page,
) -> Vec<Page> {
    let mut pages: Vec<_> = std::iter::repeat_with(|| None).take(count).collect();
    let (mut entries, mut bytes) = (budget.entries, budget.bytes);
    for turn in 0..count {
        let (index, left) = ((first + turn) % count, count - turn);
        let entries_now = if bytes == 0 { 0 } else { entries.div_ceil(left) };
        let made = page(index, Budget::entries(entries_now).bytes(bytes / left as u64));
        let encoded = made.entries.iter().map(|entry| entry.encoded_len()).sum();
        (entries, bytes) =
            (entries.saturating_sub(made.entries.len()), bytes.saturating_sub(encoded));
        pages[index] = Some(made);
    }
    pages.into_iter().flatten().collect()
}

/// Whose turn is first, by where the channels are read from: another one when some of them have gone on, so that none
/// has to wait for ever.
fn first_turn(positions: impl Iterator<Item = Position>, count: usize) -> usize {
    let sum = positions.fold(0_u64, |sum, position| sum.wrapping_add(position.offset));
    usize::try_from(sum % count.max(1) as u64).unwrap_or_default()
}

/// The text as a line that is JSON with another member first.
fn with_id<'a>(id: &str, json: &'a str) -> Cow<'a, str> {
    match json.strip_prefix('{') {
        Some(rest) => format!("{{\"id\":\"{id}\",{rest}").into(),
        None => json.into(),
    }
}
