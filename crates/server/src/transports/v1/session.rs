//! One connection: what it reads, and what it has still to send.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use sockeye::{Error, Message, Text, Writer};
use sockeye_hub::{ChannelName, Reader, Source, Start};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, sleep_until};

use super::command::{self, Command};
use super::deciding::{Decided, Deciding, decided};
use super::subscriptions::{Subscription, Subscriptions, Turn};
use super::wire::wire;
use super::{Closing, ending, frame};
use crate::app::App;
use crate::auth::{Caller, Ending, Lost, Right};
use crate::conn::http2::StreamBudget;
use crate::fanout::Outlet;
use crate::http::problem::{Code, Problem};
use crate::limits::pace::Pace;
use crate::limits::subjects::SubjectPermit;
use crate::metrics::End;
use crate::metrics::connections::ConnectionRecord;
use crate::tap::event::Data;
use crate::transports::encode::{self, entry_form};
use crate::transports::websocket::{MAX_PUBLISHING, was_given_up};

/// Bytes of answers that wait because the client does not read: beyond them its commands wait unread.
pub(super) const MAX_ANSWERS: usize = 16 << 10;

/// The approximate maximum of one answer: a page of messages or of members.
const MAX_ANSWER: usize = 64 << 10;

/// Bytes handed to the connection before all of it is written; beyond them one frame more.
pub(super) const SPEAK_AT_ONCE: usize = 32 << 10;

/// Commands that a client without a token may send.
pub(super) const MAX_BEFORE_AUTH: u32 = 16;
/// Tokens that may be refused on one connection.
pub(super) const MAX_BAD_TOKENS: u32 = 8;

/// The state of one connection.
pub(super) struct V1Session {
    pub(super) app: Arc<App>,
    pub(super) caller: Caller,
    /// Ends when the token expires.
    expiry: Pin<Box<dyn Future<Output = Closing> + Send>>,
    /// Gives the rights of its subscriptions that the caller has lost, where they are asked for again.
    losing: Option<Losing>,
    /// The channel of the URL, for commands that name none.
    pub(super) home: Option<ChannelName>,
    pub(super) subscriptions: Subscriptions,
    pub(super) source: Source,
    /// Publications in progress: they are answered in their order.
    pub(super) publishing: FuturesOrdered<Answering>,
    /// A command that waits for room for its answer, or for what is being decided.
    heard: Option<Message>,
    /// What has to be asked for before the next command is executed.
    pub(super) deciding: Option<Deciding>,
    /// What was said of the command that is executed next.
    pub(super) decided: Option<Box<Decided>>,
    answers: VecDeque<String>,
    answers_bytes: usize,
    /// What one subscription has still to send.
    turn: Option<Box<Turn>>,
    commands: Pace,
    /// What counts it as one of its subject, where the handshake had no token.
    pub(super) subject_permit: Option<SubjectPermit>,
    /// Commands before authentication, and tokens that were refused.
    before_auth: u32,
    /// Whether it has no token, and reads a channel that all may read.
    reads_publicly: bool,
    bad_tokens: u32,
    /// The Close to send after the answers.
    ending: Option<Closing>,
    stream_budget: StreamBudget,
    /// Whether messages wait until other streams of the connection hold less.
    waits: bool,
    /// Dropped after the subscriptions: they end with the connection, or before it.
    pub(super) record: ConnectionRecord,
}

/// An answer that is not known yet.
type Answering = Pin<Box<dyn Future<Output = String> + Send>>;

/// Rights that are lost, when some are.
type Losing = Pin<Box<dyn Future<Output = Vec<Lost>> + Send>>;

impl V1Session {
    /// A session that begins with `hello`, and on `/c/{channel}` with the subscription to it.
    pub(super) fn begin(
        app: &Arc<App>,
        (caller, stream_budget): (Caller, StreamBudget),
        record: ConnectionRecord,
        home: Option<(&ChannelName, Start)>,
    ) -> Self {
        let mut session = Self {
            app: Arc::clone(app),
            expiry: Box::pin(expiry(caller.clone(), app.auth_timeout)),
            losing: None,
            caller,
            record,
            home: home.map(|(channel, _)| channel.clone()),
            subscriptions: Subscriptions::default(),
            source: Source::new(),
            publishing: FuturesOrdered::new(),
            heard: None,
            deciding: None,
            decided: None,
            answers: VecDeque::new(),
            answers_bytes: 0,
            turn: None,
            commands: Pace::new(app.command_rate),
            subject_permit: None,
            before_auth: 0,
            reads_publicly: false,
            bad_tokens: 0,
            ending: None,
            stream_budget,
            waits: false,
        };
        let reader = home.map(|(channel, start)| app.hub.subscribe(channel, start));
        let subscribed = reader.as_ref().map(|reader| (reader.channel(), reader.lag()));
        let subscribed = subscribed.as_ref().map(|(channel, lag)| (*channel, lag));
        // On a channel that all may read, none is needed.
        let needs_token = session.caller.is_anonymous() && home.is_none();
        session.answer(frame::hello(app.max_message, needs_token, subscribed));
        if let (Some(reader), Some((_, start))) = (reader, home) {
            session.add_subscription(reader, start, false);
        }
        session
    }

    /// Adds a subscription that begins at `start`.
    pub(super) fn add_subscription(&mut self, reader: Reader, start: Start, presence: bool) {
        let channel_read = self.record.reads(&reader, start);
        if self.caller.is_anonymous() {
            // It may read this without a token: it need not send one at all.
            self.reads_publicly = true;
            self.expiry = Box::pin(std::future::pending());
        }
        let (app, id) = (&self.app, self.caller.id());
        self.subscriptions.add(Subscription::new(app, reader, channel_read, id, presence));
        self.watch_rights();
    }

    /// From now on the rights of the subscriptions there are now are asked for again, if that is how it is
    /// decided.
    pub(super) fn watch_rights(&mut self) {
        if !self.caller.is_asked() {
            return;
        }
        let mut rights = Vec::new();
        for (channel, presence) in self.subscriptions.channels() {
            rights.push((Right::Read, channel.clone()));
            rights.extend(presence.then(|| (Right::Presence, channel.clone())));
        }
        let caller = self.caller.clone();
        self.losing = Some(Box::pin(async move { caller.lost(&rights).await }));
    }

    /// Ends the subscriptions that need one of these rights.
    fn lose(&mut self, rights: &[Lost]) {
        for lost in rights {
            if self.subscriptions.contains(&lost.channel) {
                self.end_subscription(&lost.channel, &lost.problem());
            }
        }
        self.watch_rights();
    }

    /// Executes commands and sends messages until the client leaves, which is `None`, or there is a
    /// reason to close.
    ///
    /// Answers are sent before messages, and the channels take turns; nothing is taken from a log
    /// before there is room for it on the way to the client.
    pub(super) async fn converse(
        &mut self,
        incoming: &mut sockeye::Reader,
        outgoing: &mut Writer,
    ) -> Option<Closing> {
        let mut is_written = true;
        loop {
            tokio::task::consume_budget().await;
            self.record.set_busy(true);
            self.hear(outgoing).await;
            if self.ending.is_some() {
                return self.ending;
            }
            is_written = self.settle(outgoing, is_written);
            let (pause, has_room) = (self.commands.pause(), self.has_room());
            let wants_to_speak = self.wants_to_speak();
            tokio::select! {
                biased;
                ending = &mut self.expiry => return Some(ending),
                lost = lost(&mut self.losing), if self.losing.is_some() => self.lose(&lost),
                decided = decided(&mut self.deciding), if self.deciding.is_some() => self.decide(decided),
                Some(answer) = self.publishing.next() => self.answer(answer),
                message = incoming.next(), if has_room && pause.is_none() => {
                    self.heard = Some(self.or_lost(message?)?);
                }
                () = self.stream_budget.freed(), if self.waits => self.waits = false,
                () = paused(pause), if has_room && pause.is_some() => {}
                Some(()) = self.subscriptions.wake() => {}
                done = written(outgoing), if wants_to_speak || !is_written => {
                    self.or_lost(done)?;
                    let spoken = self.speak(outgoing);
                    is_written = !self.or_lost(spoken)?;
                }
            }
        }
    }

    /// Lets subscriptions without news wait for it: by groups, if the connection has nothing else to send and
    /// all `is_written`. Gives whether it is.
    fn settle(&mut self, outgoing: &Writer, is_written: bool) -> bool {
        let is_occupied =
            self.heard.is_some() || self.deciding.is_some() || !self.publishing.is_empty();
        // What a stream of HTTP/2 may hold depends on the others of its connection.
        if is_occupied || self.stream_budget.is_limited() {
            self.subscriptions.settle(|_, _| None);
            return is_written;
        }
        if self.wants_to_speak() {
            return is_written;
        }
        // A group may have sent more than the client has read.
        if !is_written || outgoing.buffered_amount() > 0 {
            return false;
        }
        self.record.set_busy(false);
        // One that found it free before may have sent, and said that it is busy, in between.
        if outgoing.buffered_amount() > 0 {
            self.record.set_busy(true);
            return false;
        }
        let (groups, wire) = (&self.app.groups, wire(outgoing));
        self.subscriptions.settle(|reader, unchanged| {
            let outlet = || match unchanged {
                None => Outlet::SharedFrames(outgoing.clone()),
                Some(unchanged) => Outlet::WatchedFrames(Box::new((outgoing.clone(), unchanged))),
            };
            groups.join(reader, wire?, outlet)
        });
        true
    }

    /// From now on no group sends anything, and what it has not sent can be read.
    pub(super) fn leave_groups(&mut self) {
        self.record.set_busy(true);
        self.subscriptions.leave_groups();
    }

    /// Sends what is left for a client that has sent its Close: the answers to its commands, and
    /// messages.
    pub(super) async fn finish(&mut self, outgoing: &mut Writer) -> Result<(), Error> {
        self.answer_publications().await;
        // Not by the task's budget, without which those whose group has let them go would look as if they had nothing.
        while let Some(Some(())) = unconstrained(self.subscriptions.wake()).now_or_never() {}
        loop {
            if std::mem::take(&mut self.waits) {
                self.stream_budget.freed().await;
            }
            if !self.wants_to_speak() {
                break;
            }
            written(outgoing).await?;
            self.speak(outgoing)?;
        }
        written(outgoing).await
    }

    /// Answers the publications in progress.
    pub(super) async fn answer_publications(&mut self) {
        while let Some(answer) = self.publishing.next().await {
            self.answer(answer);
        }
    }

    /// The result, unless the connection was lost; then the reason is recorded.
    fn or_lost<T>(&self, done: Result<T, Error>) -> Option<T> {
        if done.as_ref().is_err_and(was_given_up) {
            self.record.ends(End::Stalled);
        }
        done.ok()
    }

    /// Sends the remaining answers and the last frame, whether there is room or not: they are few.
    pub(super) fn conclude(
        mut self,
        bye: Option<String>,
        outgoing: &mut Writer,
    ) -> Result<(), Error> {
        self.answers.extend(bye);
        self.answers.drain(..).try_for_each(|answer| outgoing.start_send_unpin(answer.into()))
    }

    /// Continues as this caller, until its token expires.
    pub(super) fn become_caller(&mut self, caller: Caller) {
        self.expiry = Box::pin(expiry(caller.clone(), self.app.auth_timeout));
        self.record.identified_as(caller.id());
        self.caller = caller;
        // What it has lost is asked for at once.
        self.losing = None;
    }

    /// Counts a token that was refused, as one in a request is counted; after too many the connection
    /// is closed.
    pub(super) fn refused(&mut self, problem: Problem) -> Problem {
        let problem = self.app.limits.refused(problem, self.record.peer());
        self.bad_tokens += 1;
        if problem.code() == Code::TooMany || self.bad_tokens >= MAX_BAD_TOKENS {
            self.ending = Some(ending::BAD_TOKENS);
        }
        problem
    }

    /// Ends a subscription that the client has not ended itself, and says why.
    pub(super) fn end_subscription(&mut self, channel: &ChannelName, problem: &Problem) {
        self.unsubscribe(channel);
        self.answer(frame::ended(channel, problem));
    }

    /// Whether the channel is subscribed to, or messages of it are still to be sent.
    pub(super) fn is_subscribed(&self, channel: &ChannelName) -> bool {
        self.subscriptions.contains(channel)
            || self.turn.as_ref().is_some_and(|turn| turn.channel == *channel)
    }

    /// Ends a subscription: nothing more of its channel is sent.
    pub(super) fn unsubscribe(&mut self, channel: &ChannelName) {
        self.subscriptions.remove(channel);
        self.turn = self.turn.take().filter(|turn| turn.channel != *channel);
    }

    /// Queues an answer, before any message.
    pub(super) fn answer(&mut self, frame: String) {
        self.record.show_sent("answer", &frame);
        self.answers_bytes += frame.len();
        self.answers.push_back(frame);
    }

    /// Whether another command may be read.
    fn has_room(&self) -> bool {
        self.heard.is_none()
            && self.deciding.is_none()
            && self.answers_bytes < MAX_ANSWERS
            && self.publishing.len() < MAX_PUBLISHING
    }

    /// Executes the command that was read, if there is room for an answer and it is known what it may do.
    async fn hear(&mut self, outgoing: &Writer) {
        if self.deciding.is_some() {
            return;
        }
        let Some(message) = self.heard.take() else { return };
        // Before there is room for an answer: other streams of the connection have it meanwhile.
        if let Some(deciding) = self.deciding(&message) {
            (self.heard, self.deciding) = (Some(message), Some(deciding));
            return;
        }
        let expected = self.unread(outgoing) + MAX_ANSWER;
        if self.stream_budget.try_make(|| (), |()| expected).is_none() {
            (self.heard, self.waits) = (Some(message), true);
            return;
        }
        // Boxed: between its commands a connection has no room for one.
        Box::pin(self.take(message, outgoing)).await;
        self.decided = None;
        self.stream_budget.set(self.unread(outgoing));
    }

    async fn take(&mut self, message: Message, outgoing: &Writer) {
        let Message::Text(text) = message else {
            self.record.show_received("binary", || Data::Hidden(message.len()));
            self.ending = Some(ending::NOT_TEXT);
            return;
        };
        self.record.show_received("command", || command::shown(&text));
        let was_anonymous = self.caller.is_anonymous();
        match Command::parse(&text) {
            Ok(command) => {
                // As messages of a plain WebSocket and POSTs, which have a rate only where one is set.
                if self.app.message_rate.is_some() || !command.is_publication() {
                    self.commands.count();
                }
                self.execute(command).await;
            }
            Err(mistake) => {
                self.commands.count();
                self.answer(mistake.frame());
            }
        }
        if !was_anonymous {
            return;
        }
        if !self.caller.is_anonymous() {
            outgoing.set_config(Arc::clone(&self.app.v1_config));
            return;
        }
        if self.reads_publicly {
            return;
        }
        self.before_auth += 1;
        if self.before_auth >= MAX_BEFORE_AUTH {
            self.ending.get_or_insert(ending::TOO_LATE);
        }
    }

    fn wants_to_speak(&self) -> bool {
        let has_messages = self.turn.is_some() || self.subscriptions.are_ready();
        !self.answers.is_empty() || has_messages && !self.waits
    }

    /// Bytes that the client has not read.
    fn unread(&self, outgoing: &Writer) -> usize {
        self.answers_bytes + outgoing.buffered_amount()
    }

    /// Sends as much as is handed to the connection at once: answers first, then the turns of
    /// subscriptions. Returns whether anything was sent.
    fn speak(&mut self, outgoing: &mut Writer) -> Result<bool, Error> {
        let mut has_spoken = false;
        while outgoing.buffered_amount() < SPEAK_AT_ONCE
            && let Some(answer) = self.answers.pop_front()
        {
            self.answers_bytes -= answer.len();
            outgoing.start_send_unpin(answer.into())?;
            has_spoken = true;
        }
        let stream_budget = self.stream_budget.clone();
        stream_budget.set(self.unread(outgoing));
        let tell = || (self.tell_messages(outgoing), self.unread(outgoing));
        match stream_budget.try_make(tell, |(_, unread)| *unread) {
            Some((told, _)) => has_spoken |= told?,
            None => self.waits = true,
        }
        Ok(has_spoken)
    }

    /// Sends the turns of subscriptions. Returns whether anything was sent.
    fn tell_messages(&mut self, outgoing: &mut Writer) -> Result<bool, Error> {
        let mut has_told = false;
        self.subscriptions.rouse();
        while outgoing.buffered_amount() < SPEAK_AT_ONCE {
            let turn = self.turn.take().or_else(|| self.subscriptions.next_turn().map(Box::new));
            let Some(mut turn) = turn else { break };
            has_told = true;
            if self.tell(&mut turn, outgoing)? {
                self.turn = Some(turn);
            }
        }
        Ok(has_told)
    }

    /// Sends the next frame of a turn. Returns whether there may be more.
    fn tell(&mut self, turn: &mut Turn, outgoing: &mut Writer) -> Result<bool, Error> {
        if let Some(change) = turn.changes.next() {
            let change = frame::change(&turn.channel, &change);
            self.record.show_sent("presence", &change);
            outgoing.start_send_unpin(change.into())?;
        } else if let Some(gap) = turn.gap.take() {
            outgoing.start_send_unpin(frame::gap(&turn.channel, &gap).into())?;
        } else if let Some(entry) = turn.next_entry() {
            let message = text(encode::v1(&turn.channel, &entry));
            match encode::prepared(&entry, &entry_form::V1_FRAME, &message, outgoing) {
                Some(prepared) => outgoing.start_send_prepared(&prepared)?,
                None => outgoing.start_send_unpin(message)?,
            }
        } else {
            if let Some(at) = turn.end {
                let end = frame::end(&turn.channel, at);
                self.record.show_sent("end", &end);
                outgoing.start_send_unpin(end.into())?;
            } else if turn.is_over {
                let detail = "Too slow for this channel: subscribe again, after the gap.";
                let problem = Problem::new(Code::Unavailable, detail);
                self.answer(frame::ended(&turn.channel, &problem));
            }
            return Ok(false);
        }
        Ok(true)
    }
}

/// Waits until the token expires. An anonymous client has some time to authenticate.
async fn expiry(caller: Caller, auth_timeout: Duration) -> Closing {
    if caller.is_anonymous() {
        sleep(auth_timeout).await;
        return ending::NO_TOKEN;
    }
    match caller.expired().await {
        Ending::Revoked => ending::REVOKED,
        _ => ending::EXPIRED,
    }
}

/// Waits for rights that are lost.
async fn lost(losing: &mut Option<Losing>) -> Vec<Lost> {
    match losing {
        Some(losing) => losing.await,
        None => std::future::pending().await,
    }
}

/// Waits until all that was sent is written.
async fn written(outgoing: &mut Writer) -> Result<(), Error> {
    poll_fn(|cx| outgoing.poll_flush_unpin(cx)).await
}

/// Waits until the next command may be read.
async fn paused(until: Option<Instant>) {
    if let Some(until) = until {
        // Boxed: most clients are never too fast.
        Box::pin(sleep_until(until)).await;
    }
}

fn text(json: Bytes) -> Message {
    Message::Text(Text::try_from(json).expect("JSON is UTF-8"))
}
