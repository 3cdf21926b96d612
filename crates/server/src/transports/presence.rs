//! Presence as JSON, and how a poll is present between two requests.
//!
//! A transport that keeps a connection holds the lease of `app.join(channel, caller.id())` from before
//! its response until it ends. A poll calls [`stay`] with each response.

use std::time::Duration;

use axum::extract::Request;
use sockeye_hub::{ChannelName, Hub, Member, Presence};

use crate::app::App;
use crate::auth::Caller;
use crate::http::problem::{Code, Problem};
use crate::json::quoted;
use crate::limits::peer::Peer;

/// Bytes of JSON in one page at most, unless one member alone is larger.
pub(crate) const PAGE_BYTES: usize = 64 << 10;

/// How long a client that polls stays present at least.
const STAY_AT_LEAST: Duration = Duration::from_mins(1);

/// The members of a channel after one of them, at all nodes of a cluster: what [`page_json`] shows.
pub(crate) async fn page(
    hub: &Hub,
    channel: &ChannelName,
    after: Option<&str>,
    limit: usize,
) -> Result<Presence, Problem> {
    let max = Hub::MAX_ID_LEN;
    if after.is_some_and(|id| id.len() > max) {
        let detail = format_args!("`after` is the id of a member, of at most {max} bytes.");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    Ok(hub.presence_of_all(channel, after, limit).await)
}

/// `"count":2,"members":[{"id":"ann","since":…}]`, and with `,"next":"ann"` the id to continue after
/// if there are more members than these.
pub(crate) fn page_json(presence: &Presence) -> String {
    let mut json = format!("\"count\":{},\"members\":[", presence.count);
    let (mut last, mut next) = (None, presence.next.as_deref());
    for member in &presence.members {
        let told = member_json(member);
        if last.is_some() && json.len() + told.len() > PAGE_BYTES {
            next = last;
            break;
        }
        if last.is_some() {
            json.push(',');
        }
        json.push_str(&told);
        last = Some(&*member.id);
    }
    json.push(']');
    if let Some(next) = next {
        json.push_str(&format!(",\"next\":{}", quoted(next)));
    }
    json
}

/// `{"id":"ann","since":…}`.
pub(crate) fn member_json(member: &Member) -> String {
    format!("{{\"id\":{},\"since\":{}}}", quoted(&member.id), member.since)
}

/// Makes a client that polls and waits for that long present, until its next poll is due: for 1.5 times
/// its wait, and for a minute at least.
///
/// A client without an id is identified by its address, so clients that share one count once: all that
/// come through one proxy, or by a Unix socket. Too few is better than each poll as another.
pub(crate) fn stay(app: &App, channel: &ChannelName, request: &Request, wait: Duration) {
    if !app.counts(channel) {
        return;
    }
    let key = Peer::of(request).address().map(|address| address.to_string()).unwrap_or_default();
    let until_next = (wait * 3 / 2).max(STAY_AT_LEAST);
    let caller = Caller::of(request);
    app.hub.renew(channel, &key, app.shown(channel, caller.id()), until_next);
}
