//! Executing commands.

use std::fmt::Display;

use sockeye_hub::{
    Budget, ChannelName, EventName, IdempotencyKey, Page, Position, Publication, Start,
};

use super::command::{ChannelOp, Command, Id, Op};
use super::deciding::Decided;
use super::frame::{self, At, Messages, Subscribed};
use super::session::V1Session;
use super::subscriptions;
use crate::auth::{Caller, Right};
use crate::http::problem::{Code, Problem};
use crate::metrics::connections::PublishedBy;
use crate::transports::presence;
use crate::transports::publication::Payload;

/// The most messages in one answer to `read`, and the most bytes of JSON, unless one message alone is
/// larger.
pub(super) const READ_AT_ONCE: Budget = Budget::entries(300).bytes(64 << 10);

/// The members of `ok`; `None` if the answer is sent already, or later.
type Done = Result<Option<String>, Problem>;

impl V1Session {
    /// Executes a command, and answers it.
    pub(super) async fn execute(&mut self, Command { id, op }: Command<'_>) {
        let is_publication = matches!(op, Op::Channel(_, ChannelOp::Publish { .. }));
        let done = match op {
            Op::Authenticate { token } => self.authenticate(&token, id).await,
            Op::Ping => Ok(Some(String::new())),
            Op::Channel(channel, channel_op) => self.execute_on(channel, channel_op, id).await,
        };
        match done {
            Ok(Some(members)) => self.answer(frame::ok(id, members)),
            Ok(None) => {}
            // After those before it, as if it had been taken.
            Err(problem) if is_publication => {
                let refusal = std::future::ready(frame::err(id, &problem));
                self.publishing.push_back(Box::pin(refusal));
            }
            Err(problem) => self.answer(frame::err(id, &problem)),
        }
    }

    async fn execute_on(
        &mut self,
        channel: Option<ChannelName>,
        channel_op: ChannelOp<'_>,
        id: Option<Id<'_>>,
    ) -> Done {
        if let Some(Decided::Right(decided)) = self.decided.take().map(|decided| *decided) {
            decided?;
        }
        let channel = channel.or_else(|| self.home.clone());
        let channel = channel.ok_or_else(|| bad_request("Say which channel: `ch`."))?;
        let start = match &channel_op {
            ChannelOp::Read { start, .. } => start.unwrap_or(Start::Earliest),
            ChannelOp::Subscribe { start, .. } => *start,
            _ => Start::Now,
        };
        // Present on a channel, and gone from it: neither needs its messages.
        let right = match &channel_op {
            ChannelOp::Publish { .. } | ChannelOp::Close => Some(Right::Write),
            ChannelOp::Read { .. } | ChannelOp::Subscribe { .. } => Some(Right::Read),
            ChannelOp::Unsubscribe | ChannelOp::Who { .. } => None,
        };
        let _loaded = match right {
            Some(right) => self.app.load(&self.caller, (right, &channel), start).await?,
            None => None,
        };
        match channel_op {
            ChannelOp::Publish { payload, event, key } => {
                self.publish(&channel, &payload, event, key.as_deref(), id)
            }
            ChannelOp::Close => {
                self.close(&channel, id);
                Ok(None)
            }
            ChannelOp::Read { start, limit } => self.read(&channel, start, limit),
            ChannelOp::Subscribe { start, presence } => {
                ask_to_subscribe(&self.caller, &channel, presence).await?;
                self.subscribe(&channel, start, presence)
            }
            ChannelOp::Unsubscribe => {
                self.unsubscribe(&channel);
                Ok(Some(String::new()))
            }
            ChannelOp::Who { after, limit } => {
                self.caller.ask(Right::Presence, &channel).await?;
                let page = presence::page(&self.app.hub, &channel, after.as_deref(), limit).await?;
                Ok(Some(presence::page_json(&page)))
            }
        }
    }

    /// Continues with what the token grants. Subscriptions that it does not grant end.
    async fn authenticate(&mut self, token: &str, id: Option<Id<'_>>) -> Done {
        let fresh = match self.decided.take().map(|decided| *decided) {
            Some(Decided::Caller(fresh)) => fresh,
            _ => {
                let network = self.record.peer().network();
                self.app.authority.authenticate(token, network).await
            }
        };
        let fresh = fresh.map_err(|problem| self.refused(problem))?;
        let renewed = self.caller.renewed(fresh)?;
        if renewed.subject() != self.caller.subject() {
            self.subject_permit = self.app.limits.of_subject(&renewed)?;
        }
        self.become_caller(renewed);
        self.answer(frame::ok(id, ""));
        if self.caller.is_asked() {
            self.deciding = Some(self.asking_again());
            return Ok(None);
        }
        let subscribed: Vec<_> = self
            .subscriptions
            .channels()
            .map(|(channel, presence)| (channel.clone(), presence))
            .collect();
        for (channel, presence) in subscribed {
            if let Err(problem) = ask_to_subscribe(&self.caller, &channel, presence).await {
                self.end_subscription(&channel, &problem);
            }
        }
        Ok(None)
    }

    /// Commands after this one need not wait until the message is stored; the answers to later
    /// publications wait for the answer to this one.
    fn publish(
        &mut self,
        channel: &ChannelName,
        payload: &Payload<'_>,
        event: Option<EventName>,
        key: Option<&str>,
        id: Option<Id<'_>>,
    ) -> Done {
        let key = key.map(|key| IdempotencyKey::new(self.caller.publisher(), key));
        let key = key.transpose().map_err(bad_request)?;
        let mut publication = Publication::of(payload.as_ref()).source(self.source);
        (publication.event, publication.key) = (event, key);
        let span = self.app.traces.begin(None, channel, "v1");
        let by = (&self.caller, PublishedBy::Connection(&self.record), span);
        let publishing = self.app.publish(by, channel, publication);
        self.answer_later(id, publishing, At);
        Ok(None)
    }

    /// Ends the channel, after what was published before.
    fn close(&mut self, channel: &ChannelName, id: Option<Id<'_>>) {
        let ending = self.app.end(&self.caller, channel);
        self.answer_later(id, ending, frame::EndAt);
    }

    /// Answers with the position, after the publications before this.
    fn answer_later<M: Display>(
        &mut self,
        id: Option<Id<'_>>,
        taking: impl Future<Output = Result<Position, Problem>> + Send + 'static,
        members: impl FnOnce(Position) -> M + Send + 'static,
    ) {
        let id = id.map(|Id(id)| id.to_owned());
        self.publishing.push_back(Box::pin(async move {
            let (taken, id) = (taking.await, id.as_deref().map(Id));
            match taken {
                Ok(position) => frame::ok(id, members(position)),
                Err(problem) => frame::err(id, &problem),
            }
        }));
    }

    fn read(&self, channel: &ChannelName, start: Option<Start>, limit: usize) -> Done {
        self.caller.may(Right::Read, channel)?;
        let start = start.unwrap_or(Start::Last(limit as u64));
        let mut reader = self.app.hub.subscribe(channel, start);
        let entries = limit.min(READ_AT_ONCE.entries);
        let page = reader
            .try_next_page(Budget::entries(entries).bytes(READ_AT_ONCE.bytes))
            .unwrap_or_else(|| Page::empty(reader.position()));
        Ok(Some(Messages(&page).to_string()))
    }

    fn subscribe(&mut self, channel: &ChannelName, start: Start, presence: bool) -> Done {
        if self.is_subscribed(channel) {
            return Err(bad_request("Already subscribed: `unsub` first to begin elsewhere."));
        }
        if self.subscriptions.count() >= subscriptions::MAX {
            let max = subscriptions::MAX;
            let detail = format_args!("A connection has at most {max} subscriptions.");
            return Err(Problem::new(Code::TooMany, detail));
        }
        let reader = self.app.hub.subscribe(channel, start);
        let subscribed = Subscribed(&reader.lag()).to_string();
        self.add_subscription(reader, start, presence);
        Ok(Some(subscribed))
    }
}

/// Whether the caller may subscribe, and be told who is present.
pub(super) async fn ask_to_subscribe(
    caller: &Caller,
    channel: &ChannelName,
    presence: bool,
) -> Result<(), Problem> {
    caller.ask(Right::Read, channel).await?;
    if presence { caller.ask(Right::Presence, channel).await } else { Ok(()) }
}

fn bad_request(detail: impl Display) -> Problem {
    Problem::new(Code::BadRequest, detail)
}
