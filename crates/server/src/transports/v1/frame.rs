//! Frames of the server: one JSON object in each text frame.
//!
//! Names of channels and positions need no escapes, and an `id` is repeated as it came.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use sockeye_hub::{ChannelName, Gap, Lag, Page, Position, PresenceChange};

use super::command::{Id, Mistake};
use crate::http::problem::{Code, Problem};
use crate::json::quoted;
use crate::transports::encode;
use crate::transports::presence::{member_json, page_json};

/// The interval of pings in seconds, which `hello` announces.
const PING: u64 = 25;

/// The first frame: whether a token is needed, and on `/c/{channel}` the answer to the subscription of
/// the handshake.
pub(super) fn hello(
    max_message: usize,
    needs_token: bool,
    subscribed: Option<(&ChannelName, &Lag)>,
) -> String {
    let mut hello = format!("{{\"hello\":{{\"ping\":{PING},\"max_message\":{max_message}");
    if needs_token {
        hello.push_str(",\"auth\":true");
    }
    if let Some((channel, lag)) = subscribed {
        hello.push_str(&format!(",\"ch\":\"{channel}\",{}", Subscribed(lag)));
    }
    hello.push_str("}}");
    hello
}

/// The last frame before the close of a server that drains.
pub(super) fn bye(retry: Duration) -> String {
    format!("{{\"bye\":{{\"why\":\"drain\",\"retry_ms\":{}}}}}", retry.as_millis())
}

/// The answer to a command that was executed.
pub(super) fn ok(id: Option<Id<'_>>, members: impl Display) -> String {
    format!("{{{}\"ok\":{{{members}}}}}", First(id))
}

/// The answer to a command that was refused.
pub(super) fn err(id: Option<Id<'_>>, problem: &Problem) -> String {
    format!("{{{}\"err\":{}}}", First(id), Refusal(problem))
}

impl Mistake<'_> {
    /// The frame with the error.
    pub fn frame(&self) -> String {
        err(self.id, &self.problem)
    }
}

/// A gap in what one subscription gets.
pub(super) fn gap(channel: &ChannelName, gap: &Gap) -> String {
    format!("{{\"ch\":\"{channel}\",\"gap\":{}}}", encode::gap_json(gap))
}

/// The channel has ended, and with it the subscription.
pub(super) fn end(channel: &ChannelName, at: Position) -> String {
    encode::end_json(&format!("\"ch\":\"{channel}\","), at)
}

/// A member joined or left, or, for a client that could not be told each, all members.
pub(super) fn change(channel: &ChannelName, change: &PresenceChange) -> String {
    let told = match change {
        PresenceChange::Join(member) => format!("\"join\":{}", member_json(member)),
        PresenceChange::Leave(member) => format!("\"leave\":{}", member_json(member)),
        PresenceChange::Anew(presence) => format!("\"presence\":{{{}}}", page_json(presence)),
    };
    format!("{{\"ch\":\"{channel}\",{told}}}")
}

/// A subscription has ended without a command of the client.
pub(super) fn ended(channel: &ChannelName, problem: &Problem) -> String {
    format!("{{\"ch\":\"{channel}\",\"err\":{}}}", Refusal(problem))
}

/// `"at":…`: the answer to a publication.
pub(super) struct At(pub(super) Position);

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"at\":\"{}\"", self.0)
    }
}

/// `"at":…,"end":true`: the answer to the end of a channel.
pub(super) struct EndAt(pub(super) Position);

impl Display for EndAt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", At(self.0), encode::END_MEMBER)
    }
}

/// The answer to a subscription: where the channel is, whether nothing before that is missing, and how
/// many messages up to there follow.
pub(super) struct Subscribed<'a>(pub(super) &'a Lag);

impl Display for Subscribed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Lag { end, entries, gap, .. } = self.0;
        let recovered = gap.is_none();
        write!(f, "\"at\":\"{end}\",\"recovered\":{recovered},\"missed\":{entries}")
    }
}

/// The answer to `read`: the same members as a poll.
pub(super) struct Messages<'a>(pub(super) &'a Page);

impl Display for Messages<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Page { gap, entries, at, end } = self.0;
        write!(f, "\"at\":\"{at}\",\"messages\":[")?;
        for (index, entry) in entries.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}", String::from_utf8_lossy(&encode::json(entry)))?;
        }
        f.write_str("]")?;
        if let Some(gap) = gap {
            write!(f, ",\"gap\":{}", encode::gap_json(gap))?;
        }
        f.write_str(if *end { encode::END_MEMBER } else { "" })
    }
}

/// `"id":…,`, if there is one.
struct First<'a>(Option<Id<'a>>);

impl Display for First<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |Id(id)| write!(f, "\"id\":{id},"))
    }
}

/// A refusal as an answer has it: `{"code":…,"message":…,"retry":…}`.
pub(crate) fn refusal_json(problem: &Problem) -> String {
    Refusal(problem).to_string()
}

/// `{"code":…,"message":…,"retry":…}`
struct Refusal<'a>(&'a Problem);

impl Display for Refusal<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let code = self.0.code();
        let (message, retry) = (quoted(shortened(self.0.detail())), may_work_later(code));
        write!(f, "{{\"code\":\"{code}\",\"message\":{message},\"retry\":{retry}}}")
    }
}

/// The longest text of an error: it may repeat a part of the command.
const MAX_DETAIL: usize = 512;

fn shortened(detail: &str) -> &str {
    &detail[..detail.floor_char_boundary(MAX_DETAIL)]
}

/// Whether the same command may succeed another time.
fn may_work_later(code: Code) -> bool {
    matches!(code, Code::InsufficientStorage | Code::Internal | Code::TooMany | Code::Unavailable)
}
