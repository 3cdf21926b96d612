//! What the server says: one JSON object in each text frame.
//!
//! Names of channels and positions need no escapes, and an `id` comes back as it came.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use sockeye_hub::{Change, ChannelName, Gap, Lag, Page, Position};

use super::command::{Id, Mistake};
use crate::message::{self, quoted};
use crate::presence::{member_json, page_json};
use crate::problem::{Code, Problem};

/// Every how many seconds something should be heard on the connection: what `hello` says.
const PING: u64 = 25;

/// The first frame: whether a token is still to be shown, and on `/c/{channel}` the answer to the
/// subscription that came with the handshake.
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

/// The last frame before the close of a server that stops.
pub(super) fn bye(retry: Duration) -> String {
    format!("{{\"bye\":{{\"why\":\"drain\",\"retry_ms\":{}}}}}", retry.as_millis())
}

/// The answer to a command that was carried out.
pub(super) fn ok(id: Option<Id<'_>>, members: impl Display) -> String {
    format!("{{{}\"ok\":{{{members}}}}}", First(id))
}

/// The answer to a command that was refused.
pub(super) fn err(id: Option<Id<'_>>, problem: &Problem) -> String {
    format!("{{{}\"err\":{}}}", First(id), Refusal(problem))
}

impl Mistake<'_> {
    /// The frame that tells the client.
    pub fn frame(&self) -> String {
        err(self.id, &self.problem)
    }
}

/// A gap in what one subscription gets.
pub(super) fn gap(channel: &ChannelName, gap: &Gap) -> String {
    format!("{{\"ch\":\"{channel}\",\"gap\":{}}}", message::gap_json(gap))
}

/// Who came to a channel, who left it, or, for one who could not be told each, who is there.
pub(super) fn change(channel: &ChannelName, change: &Change) -> String {
    let told = match change {
        Change::Join(member) => format!("\"join\":{}", member_json(member)),
        Change::Leave(member) => format!("\"leave\":{}", member_json(member)),
        Change::Anew(presence) => format!("\"presence\":{{{}}}", page_json(presence)),
    };
    format!("{{\"ch\":\"{channel}\",{told}}}")
}

/// A subscription has ended without having been told to.
pub(super) fn ended(channel: &ChannelName, problem: &Problem) -> String {
    format!("{{\"ch\":\"{channel}\",\"err\":{}}}", Refusal(problem))
}

/// `"at":…`: what a publication is answered with.
pub(super) struct At(pub(super) Position);

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"at\":\"{}\"", self.0)
    }
}

/// What a subscription is answered with: where the channel is, whether nothing before that is
/// missing, and how many messages up to there follow.
pub(super) struct Subscribed<'a>(pub(super) &'a Lag);

impl Display for Subscribed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Lag { end, entries, gap } = self.0;
        let recovered = gap.is_none();
        write!(f, "\"at\":\"{end}\",\"recovered\":{recovered},\"missed\":{entries}")
    }
}

/// What `read` is answered with: the same members as a poll.
pub(super) struct Messages<'a>(pub(super) &'a Page);

impl Display for Messages<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Page { gap, entries, at } = self.0;
        write!(f, "\"at\":\"{at}\",\"messages\":[")?;
        for (index, entry) in entries.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}", String::from_utf8_lossy(&message::json(entry)))?;
        }
        f.write_str("]")?;
        gap.as_ref().map_or(Ok(()), |gap| write!(f, ",\"gap\":{}", message::gap_json(gap)))
    }
}

/// `"id":…,`, if there is one.
struct First<'a>(Option<Id<'a>>);

impl Display for First<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |Id(id)| write!(f, "\"id\":{id},"))
    }
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

/// The most that a refusal says: it may repeat a part of the command.
const MAX_DETAIL: usize = 512;

fn shortened(detail: &str) -> &str {
    &detail[..detail.floor_char_boundary(MAX_DETAIL)]
}

/// Whether the same command may be taken another time.
fn may_work_later(code: Code) -> bool {
    matches!(code, Code::InsufficientStorage | Code::Internal | Code::TooMany | Code::Unavailable)
}
