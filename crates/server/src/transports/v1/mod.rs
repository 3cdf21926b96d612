//! `sockeye.v1`: many channels on one connection, with positions, answers and gaps.
//!
//! A connection is one task: a [`session`] reads [`command`]s, [`execute`]s them, and sends their
//! answers and the messages of its [`subscriptions`] as [`frame`]s. Where an authoriser is asked, a command waits for
//! what is [decided](deciding). While it has nothing else to send, groups send the messages of busy channels by their
//! [`wire`].

mod command;
mod deciding;
mod execute;
mod frame;
mod session;
mod subscriptions;
mod wire;

use std::sync::Arc;

use sockeye::{CloseCode, CloseFrame, Config, Opening, WebSocket};
use sockeye_hub::{ChannelName, Start};
use tokio::time::{timeout, timeout_at};

pub use self::command::{Command, Mistake};
pub(crate) use self::frame::refusal_json;
use self::session::V1Session;
use crate::app::App;
use crate::auth::Caller;
use crate::conn::http2::StreamBudget;
use crate::lifecycle::drain::ConnectionGuard;
use crate::limits::peer::Peer;
use crate::metrics::End;
use crate::options::ChannelOptions;
use crate::transport::Transport;
use crate::transports::publication::max_json;
use crate::transports::websocket::{self, LAST_MESSAGES};

/// The code and reason of a Close.
type Closing = (u16, &'static str);

/// All of them.
mod ending {
    use super::Closing;

    pub(super) const NO_TOKEN: Closing = (4401, "no valid token in time: send `auth` first");
    pub(super) const EXPIRED: Closing = (4401, "the token has expired: connect with a fresh one");
    pub(super) const REVOKED: Closing =
        (4401, "the token has been revoked: connect with another one");
    pub(super) const DISCONNECTED: Closing = (4403, "disconnected by an operator");
    pub(super) const NOT_TEXT: Closing = (1003, "sockeye.v1 is JSON in text frames");
    pub(super) const RESTARTING: Closing = (1012, "the server restarts: connect again");
    pub(super) const BAD_TOKENS: Closing = (4429, "too many invalid tokens");
    pub(super) const TOO_LATE: Closing = (4401, "too many commands before a valid `auth`");
}

/// Limits of a connection on which messages of the options' `max_message` bytes can be published.
pub(crate) fn config(options: &ChannelOptions) -> Config {
    websocket::config(options, max_json(options.max_message))
}

/// Commands per second, unless the options say otherwise.
pub(crate) const MAX_COMMANDS: u32 = 100;

/// The longest message of a client that has not sent a token yet.
const MAX_FRAME: usize = 16 << 10;

/// Limits of a connection without a token yet: the largest frame has room for one, and a larger one is
/// refused by its header.
pub(crate) fn anonymous_config(options: &ChannelOptions) -> Config {
    const MAX_FRAGMENTS: usize = 16;
    websocket::config(options, MAX_FRAME).max_fragments(MAX_FRAGMENTS)
}

/// Serves the connection in a task of its own, on `/c/{channel}` already subscribed to that.
pub(crate) fn spawn(
    opening: Opening,
    app: &Arc<App>,
    (caller, peer, stream_budget): (Caller, Peer, StreamBudget),
    home: Option<(&ChannelName, Start)>,
) {
    // Before the response is sent: what is published once the client knows that it is connected reaches
    // it.
    let record = app.register.begin(Transport::V1, caller.id(), peer);
    let session = V1Session::begin(app, (caller, stream_budget), record, home);
    let guard = app.drain.guard();
    let session = Box::new(session);
    tokio::spawn(async move {
        if let Ok(socket) = websocket::opened(opening).await {
            // A task of its own, without memory for what the handshake needed.
            tokio::spawn(live(socket, session, guard));
        }
    });
}

async fn live(socket: WebSocket, mut session: Box<V1Session>, guard: ConnectionGuard) {
    let (mut incoming, mut outgoing) = socket.split();
    incoming.hold_close();
    let disconnected = session.record.disconnected();
    let ending = tokio::select! {
        biased;
        () = guard.close_at() => Some(ending::RESTARTING),
        () = disconnected => Some(ending::DISCONNECTED),
        ending = session.converse(&mut incoming, &mut outgoing) => ending,
    };
    session.leave_groups();
    if ending.is_none() {
        // The client may wait for its answers with its Close.
        let _ = Box::pin(timeout(LAST_MESSAGES, session.finish(&mut outgoing))).await;
    }
    // What still arrives is not executed.
    drop(incoming);
    let Some((code, reason)) = ending else {
        if session.record.is_tapped() {
            Box::pin(websocket::show_closed(&session.record, &outgoing)).await;
        }
        return;
    };
    session.record.ends(match code {
        1012 => End::Drain,
        4401 => End::Expired,
        4403 => End::Disconnected,
        _ => End::Refused,
    });
    let is_restarting = code == ending::RESTARTING.0;
    if is_restarting {
        // Without an answer the client does not know whether its message was taken. Boxed: it comes once.
        let last_close = guard.last_close().await;
        let _ = Box::pin(timeout_at(last_close, session.answer_publications())).await;
    }
    let bye = is_restarting.then(|| frame::bye(guard.retry()));
    if let Some(bye) = &bye {
        session.record.show_sent("bye", bye);
    }
    session.record.show_close(code, reason);
    let told = session.conclude(bye, &mut outgoing);
    if let (Ok(()), Ok(code)) = (told, CloseCode::try_from(code))
        && let Ok(frame) = CloseFrame::new(code, reason)
    {
        // Whether the client receives it changes nothing.
        outgoing.close(frame).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_COMMANDS, MAX_FRAME, execute, session, subscriptions};
    use crate::transports::websocket::MAX_PUBLISHING;
    use sockeye_testing::assert_documented;

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
            ("operate/limits.md", format!("twice as many at once | {MAX_COMMANDS} |")),
            ("operate/operations.md", format!("a connection has {} at most", subscriptions::MAX)),
            ("channels/protocol-v1.md", format!("{MAX_PUBLISHING} publications that are not kept")),
            ("channels/slow-readers.md", format!("{spoken} KiB that it was given to write")),
            ("channels/slow-readers.md", format!("{answers} KiB of answers")),
            ("channels/slow-readers.md", format!("An answer to `read` has {read} KiB of JSON")),
        ];
        for (page, sentence) in sentences {
            assert_documented(page, &sentence);
        }
    }
}
