//! One connection: what it has been told, what it reads, and what it is still to be told.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use sockeye::{Error, Message, Text, Writer};
use sockeye_hub::{ChannelName, Reader, Start};
use tokio::time::sleep;

use super::command::Command;
use super::pace::Pace;
use super::subscriptions::{Subscription, Subscriptions, Turn};
use super::{Ending, ending, frame};
use crate::auth::Caller;
use crate::message::{self, slot};
use crate::problem::{Code, Problem};
use crate::router::App;
use crate::visit::Visit;

/// Answers that wait because the client does not read, in bytes: beyond them its commands wait
/// unread.
const MAX_ANSWERS: usize = 64 << 10;
/// Publications under way: beyond them commands wait, too.
const MAX_PUBLISHING: usize = 16;

/// The largest frame of one who has shown no token where one is needed.
const MAX_OF_STRANGER: usize = 16 << 10;

/// Commands in a second, and in a burst.
const COMMANDS: (u32, u32) = (100, 200);
/// How often a client may be told that it is too fast before it is sent away.
const WARNINGS: (u32, u32) = (10, 200);

/// The state of one connection.
pub(super) struct Session {
    pub(super) app: Arc<App>,
    pub(super) caller: Caller,
    pub(super) visit: Visit,
    /// Until when what the caller has shown is good.
    expiry: Pin<Box<dyn Future<Output = Ending> + Send>>,
    /// The channel of the URL: the one that is meant where none is named.
    pub(super) home: Option<ChannelName>,
    pub(super) subscriptions: Subscriptions,
    pub(super) publishing: FuturesUnordered<Answering>,
    answers: VecDeque<String>,
    answers_bytes: usize,
    commands: Pace,
    warnings: Pace,
}

/// An answer that is not known yet.
type Answering = Pin<Box<dyn Future<Output = String> + Send>>;

impl Session {
    /// A session that begins with `hello`, and on `/c/{channel}` with the subscription to it.
    pub(super) fn begin(
        app: &Arc<App>,
        caller: Caller,
        visit: Visit,
        home: Option<(&ChannelName, Start)>,
    ) -> Self {
        let mut session = Self {
            app: Arc::clone(app),
            expiry: Box::pin(expiry(caller.clone(), app.auth_timeout)),
            caller,
            visit,
            home: home.map(|(channel, _)| channel.clone()),
            subscriptions: Subscriptions::default(),
            publishing: FuturesUnordered::new(),
            answers: VecDeque::new(),
            answers_bytes: 0,
            commands: Pace::new(COMMANDS.0, COMMANDS.1),
            warnings: Pace::new(WARNINGS.0, WARNINGS.1),
        };
        let reader = home.map(|(channel, start)| app.hub.subscribe(channel, start));
        let subscribed = reader.as_ref().map(|reader| (reader.channel(), reader.lag()));
        let subscribed = subscribed.as_ref().map(|(channel, lag)| (*channel, lag));
        let needs_token = session.caller.is_stranger();
        session.answer(frame::hello(app.max_message, needs_token, subscribed));
        if let (Some(reader), Some((_, start))) = (reader, home) {
            session.add_subscription(reader, start, false);
        }
        session
    }

    /// Adds a subscription that begins at `start`.
    pub(super) fn add_subscription(&mut self, reader: Reader, start: Start, presence: bool) {
        let reading = self.visit.reads(&reader, start);
        let (hub, id) = (&self.app.hub, self.caller.id());
        self.subscriptions.add(Subscription::new(hub, reader, reading, id, presence));
    }

    /// Listens and tells until the client leaves, which is `None`, or there is a reason to close.
    ///
    /// Answers go before messages, and of the messages each channel's in its turn; nothing is
    /// taken from a log before there is room for it on the way to the client.
    pub(super) async fn converse(
        &mut self,
        incoming: &mut sockeye::Reader,
        outgoing: &mut Writer,
    ) -> Option<Ending> {
        let mut is_written = true;
        loop {
            tokio::task::consume_budget().await;
            let (may_listen, wants_to_speak) = (self.may_listen(), self.wants_to_speak());
            tokio::select! {
                biased;
                ending = &mut self.expiry => return Some(ending),
                Some(answer) = self.publishing.next() => self.answer(answer),
                message = incoming.next(), if may_listen => {
                    if let Err(ending) = self.hear(message?.ok()?).await {
                        return Some(ending);
                    }
                }
                Some(()) = self.subscriptions.wake() => {}
                done = room_or_written(outgoing, wants_to_speak),
                    if wants_to_speak || !is_written =>
                {
                    done.ok()?;
                    if wants_to_speak {
                        self.speak(outgoing).ok()?;
                    }
                    is_written = !wants_to_speak;
                }
            }
        }
    }

    /// Tells the answers that are left and the last words, whether there is room or not: there is
    /// little of them.
    pub(super) fn conclude(
        mut self,
        bye: Option<String>,
        outgoing: &mut Writer,
    ) -> Result<(), Error> {
        self.answers.extend(bye);
        self.speak_answers(outgoing)
    }

    /// Goes on for this caller, as long as what he has shown is good.
    pub(super) fn become_caller(&mut self, caller: Caller) {
        self.expiry = Box::pin(expiry(caller.clone(), self.app.auth_timeout));
        self.caller = caller;
    }

    /// Ends a subscription that the client has not ended itself, and says why.
    pub(super) fn end_subscription(&mut self, channel: &ChannelName, problem: &Problem) {
        self.subscriptions.remove(channel);
        self.answer(frame::ended(channel, problem));
    }

    /// Has the client told something before any message.
    pub(super) fn answer(&mut self, frame: String) {
        self.answers_bytes += frame.len();
        self.answers.push_back(frame);
    }

    fn may_listen(&self) -> bool {
        self.answers_bytes < MAX_ANSWERS && self.publishing.len() < MAX_PUBLISHING
    }

    /// Takes a frame of the client's.
    async fn hear(&mut self, message: Message) -> Result<(), Ending> {
        let Message::Text(text) = message else { return Err(ending::NOT_TEXT) };
        if self.caller.is_stranger() && text.len() > MAX_OF_STRANGER {
            return Err(ending::TOO_LARGE);
        }
        let now = Instant::now();
        let is_late = !self.commands.allows_one(now);
        if is_late && !self.warnings.allows_one(now) {
            return Err(ending::TOO_FAST);
        }
        match Command::parse(&text) {
            Ok(command) if is_late => {
                let (rate, burst) = COMMANDS;
                let detail = format_args!("At most {rate} commands in a second, {burst} at once.");
                self.answer(frame::err(command.id, &Problem::new(Code::TooMany, detail)));
            }
            Ok(command) => self.execute(command).await,
            Err(mistake) => self.answer(mistake.frame()),
        }
        Ok(())
    }

    fn wants_to_speak(&self) -> bool {
        !self.answers.is_empty() || self.subscriptions.are_ready()
    }

    /// Says all answers or, if there are none, what one subscription has to tell.
    fn speak(&mut self, outgoing: &mut Writer) -> Result<(), Error> {
        if !self.answers.is_empty() {
            return self.speak_answers(outgoing);
        }
        let Some(turn) = self.subscriptions.next_turn() else { return Ok(()) };
        let Turn { channel, changes, page, is_over } = turn;
        for change in &changes {
            outgoing.start_send_unpin(frame::change(&channel, change).into())?;
        }
        let (gap, entries) = page.map(|page| (page.gap, page.entries)).unwrap_or_default();
        if let Some(gap) = &gap {
            outgoing.start_send_unpin(frame::gap(&channel, gap).into())?;
        }
        for entry in &entries {
            let message = text(message::v1(&channel, entry));
            match message::prepared(entry, slot::V1_FRAME, &message, outgoing) {
                Some(prepared) => outgoing.start_send_prepared(&prepared)?,
                None => outgoing.start_send_unpin(message)?,
            }
        }
        if is_over {
            let detail = "Too slow for this channel: subscribe again, after the gap.";
            self.answer(frame::ended(&channel, &Problem::new(Code::Unavailable, detail)));
        }
        Ok(())
    }

    fn speak_answers(&mut self, outgoing: &mut Writer) -> Result<(), Error> {
        self.answers_bytes = 0;
        self.answers.drain(..).try_for_each(|answer| outgoing.start_send_unpin(answer.into()))
    }
}

/// Waits until what the caller has shown is not good any more. One who has shown nothing is given
/// some time to do so.
async fn expiry(caller: Caller, auth_timeout: Duration) -> Ending {
    if caller.is_stranger() {
        sleep(auth_timeout).await;
        return ending::NO_TOKEN;
    }
    caller.expired().await;
    ending::EXPIRED
}

/// Waits for room on the connection or, if there is nothing to say, until all is written.
async fn room_or_written(outgoing: &mut Writer, room: bool) -> Result<(), Error> {
    poll_fn(|cx| match room {
        true => outgoing.poll_ready_unpin(cx),
        false => outgoing.poll_flush_unpin(cx),
    })
    .await
}

fn text(json: Bytes) -> Message {
    Message::Text(Text::try_from(json).expect("JSON is UTF-8"))
}
