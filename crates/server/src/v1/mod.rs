//! `sockeye.v1`: many channels on one connection, with positions, answers and gaps.
//!
//! A connection is one task: a [`session`] reads [`command`]s, [`execute`]s them, and tells their
//! answers and the messages of its [`subscriptions`] as [`frame`]s.

mod command;
mod execute;
mod frame;
mod session;
mod subscriptions;

use std::sync::Arc;

use sockeye::{CloseCode, CloseFrame, Config, Opening};
use sockeye_hub::{ChannelName, Start};
use tokio::time::timeout;

pub use self::command::{Command, Mistake};
use self::session::Session;
use crate::auth::Caller;
use crate::drain::Guest;
use crate::http2::Share;
use crate::metrics::{End, Transport};
use crate::options::ServerOptions;
use crate::peer::Peer;
use crate::router::App;
use crate::websocket::{self, LAST_MESSAGES};

/// The name by which a client asks for it.
pub(crate) const SUBPROTOCOL: &str = "sockeye.v1";

/// Why this end closes: a close code and a reason.
type Ending = (u16, &'static str);

/// The reasons there are.
mod ending {
    use super::Ending;

    pub(super) const NO_TOKEN: Ending = (4401, "no good token came in time: send `auth` first");
    pub(super) const EXPIRED: Ending = (4401, "the token has expired: connect with a fresh one");
    pub(super) const NOT_TEXT: Ending = (1003, "sockeye.v1 is JSON in text frames");
    pub(super) const RESTARTING: Ending = (1012, "the server restarts: connect again");
    pub(super) const BAD_TOKENS: Ending = (4429, "too many invalid tokens");
    pub(super) const TOO_LATE: Ending = (4401, "too many commands before a good `auth`");
}

/// Limits of the connection, where messages of the options' `max_message` bytes can be published: a byte of
/// them may be written as six in JSON (`\u0007`), and has members round it.
pub(crate) fn config(options: &ServerOptions) -> Config {
    const MEMBERS: usize = 4096;
    websocket::config(options, options.max_message.saturating_mul(6).saturating_add(MEMBERS))
}

/// Commands in a second, unless the options say otherwise.
pub(crate) const MAX_COMMANDS: u32 = 100;

/// The longest message of a client that has still to show a token.
const MAX_FRAME: usize = 16 << 10;

/// Limits of a connection that has still to show a token: the largest frame has room for one, and is
/// refused by its header.
pub(crate) fn anonymous_config(options: &ServerOptions) -> Config {
    const MAX_FRAGMENTS: usize = 16;
    websocket::config(options, MAX_FRAME).max_fragments(MAX_FRAGMENTS)
}

/// Lets the connection live in a task of its own, on `/c/{channel}` already subscribed to that.
pub(crate) fn spawn(
    opening: Opening,
    app: &Arc<App>,
    (caller, peer, share): (Caller, Peer, Share),
    home: Option<(&ChannelName, Start)>,
) {
    // Before the answer goes out: what is published once the client knows that it is connected
    // reaches it.
    let visit = app.visits.begin(Transport::V1, &caller, peer);
    let session = Session::begin(app, (caller, share), visit, home);
    let guest = app.drain.admit();
    tokio::spawn(live(opening, session, guest));
}

async fn live(opening: Opening, mut session: Session, guest: Guest) {
    let Ok(socket) = websocket::opened(opening).await else { return };
    let (mut incoming, mut outgoing) = socket.split();
    incoming.hold_close();
    let ending = tokio::select! {
        biased;
        () = guest.turn_to_leave() => Some(ending::RESTARTING),
        ending = session.converse(&mut incoming, &mut outgoing) => ending,
    };
    if ending.is_none() {
        // The client may wait for its answers with its Close.
        let _ = timeout(LAST_MESSAGES, session.finish(&mut outgoing)).await;
    }
    // What still comes is not done any more.
    drop(incoming);
    let Some((code, reason)) = ending else { return };
    session.visit.ends(match code {
        1012 => End::Drain,
        4401 => End::Expired,
        _ => End::Refused,
    });
    let bye = (code == ending::RESTARTING.0).then(|| frame::bye(guest.retry()));
    let told = session.conclude(bye, &mut outgoing);
    if let (Ok(()), Ok(code)) = (told, CloseCode::try_from(code))
        && let Ok(frame) = CloseFrame::new(code, reason)
    {
        // How the client takes it changes nothing.
        outgoing.close(frame).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_COMMANDS, MAX_FRAME, execute, session, subscriptions};
    use crate::numbers::assert_said;

    #[test]
    fn the_documentation_says_the_numbers_of_the_code() {
        let (frame, commands) = (MAX_FRAME >> 10, session::MAX_BEFORE_AUTH);
        assert_eq!(session::MAX_BAD_TOKENS, 8, "in words");
        let read = execute::READ_AT_ONCE.bytes >> 10;
        let (spoken, answers) = (session::SPEAK_AT_ONCE >> 10, session::MAX_ANSWERS >> 10);
        let sentences = [
            ("operate/security.md", format!("frames of {frame} KiB, refused by their header")),
            ("operate/security.md", format!("{commands} commands; 10 s")),
            ("operate/security.md", "on one WebSocket the eighth closes it".to_owned()),
            ("operate/security.md", format!("{read} KiB of JSON for `read`")),
            ("limits-and-security.md", format!("twice as many at once | {MAX_COMMANDS} |")),
            ("operations.md", format!("a connection has {} at most", subscriptions::MAX)),
            ("slow-readers.md", format!("{spoken} KiB that it was given to write")),
            ("slow-readers.md", format!("{answers} KiB of answers")),
            ("slow-readers.md", format!("An answer to `read` has {read} KiB of JSON")),
        ];
        for (page, sentence) in sentences {
            assert_said(page, &sentence);
        }
    }
}
