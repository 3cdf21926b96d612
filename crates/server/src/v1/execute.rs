//! Carrying out commands.

use std::fmt::Display;

use sockeye_hub::{Budget, ChannelName, EventName, IdempotencyKey, Page, Publication, Run, Start};

use super::command::{Command, Deed, Id, Op, Payload};
use super::frame::{self, At, Messages, Subscribed};
use super::session::Session;
use super::subscriptions;
use crate::auth::Right;
use crate::presence;
use crate::problem::{Code, Problem};

/// The most messages that one `read` is answered with, and the most bytes of JSON; but for a message
/// that is larger by itself.
pub(super) const READ_AT_ONCE: Budget = Budget { entries: 300, bytes: 64 << 10 };

/// The members of `ok`; `None` if it has been said already, or is still to come.
type Done = Result<Option<String>, Problem>;

impl Session {
    /// Does what a command says, and answers it.
    pub(super) async fn execute(&mut self, Command { id, op }: Command<'_>) {
        let done = match op {
            Op::Authenticate { token } => self.authenticate(&token, id),
            Op::Ping => Ok(Some(String::new())),
            Op::Channel(channel, deed) => self.execute_on(channel, deed, id).await,
        };
        match done {
            Ok(Some(members)) => self.answer(frame::ok(id, members)),
            Ok(None) => {}
            Err(problem) => self.answer(frame::err(id, &problem)),
        }
    }

    async fn execute_on(
        &mut self,
        channel: Option<ChannelName>,
        deed: Deed<'_>,
        id: Option<Id<'_>>,
    ) -> Done {
        let channel = channel.or_else(|| self.home.clone());
        let channel = channel.ok_or_else(|| bad_request("Say which channel: `ch`."))?;
        self.app.load(&self.caller, &channel).await?;
        match deed {
            Deed::Publish { payload, event, key } => {
                self.publish(&channel, &payload, event, key.as_deref(), id)
            }
            Deed::Read { start, limit } => self.read(&channel, start, limit),
            Deed::Subscribe { start, presence } => self.subscribe(&channel, start, presence),
            Deed::Unsubscribe => {
                self.unsubscribe(&channel);
                Ok(Some(String::new()))
            }
            Deed::Who { after, limit } => {
                self.caller.may(Right::Presence, &channel)?;
                presence::page(&self.app.hub, &channel, after.as_deref(), limit).map(Some)
            }
        }
    }

    /// Goes on with what the token grants. Subscriptions that it does not grant end.
    fn authenticate(&mut self, token: &str, id: Option<Id<'_>>) -> Done {
        let fresh = self.app.authority.caller(token).map_err(|problem| self.refused(problem))?;
        self.become_caller(self.caller.renewed(fresh)?);
        self.answer(frame::ok(id, ""));
        let lost: Vec<_> = self
            .subscriptions
            .channels()
            .filter_map(|(channel, presence)| {
                let problem = self.may_subscribe(channel, presence).err()?;
                Some((channel.clone(), problem))
            })
            .collect();
        for (channel, problem) in lost {
            self.end_subscription(&channel, &problem);
        }
        Ok(None)
    }

    /// What follows this command need not wait until the message is kept.
    fn publish(
        &self,
        channel: &ChannelName,
        payload: &Payload<'_>,
        event: Option<EventName>,
        key: Option<&str>,
        id: Option<Id<'_>>,
    ) -> Done {
        let key = key.map(|key| IdempotencyKey::new(self.caller.publisher(), key));
        let key = key.transpose().map_err(bad_request)?;
        let publication = Publication { event, key, ..Publication::of(payload.as_ref()) };
        let publishing = self.app.publish(&self.caller, channel, publication);
        let id = id.map(|Id(id)| id.to_owned());
        self.publishing.push(Box::pin(async move {
            let (published, id) = (publishing.await, id.as_deref().map(Id));
            match published {
                Ok(position) => frame::ok(id, At(position)),
                Err(problem) => frame::err(id, &problem),
            }
        }));
        Ok(None)
    }

    fn read(&self, channel: &ChannelName, start: Option<Start>, limit: usize) -> Done {
        self.caller.may(Right::Read, channel)?;
        let start = start.unwrap_or(Start::Last(limit as u64));
        let mut reader = self.app.hub.subscribe(channel, start);
        let entries = limit.min(READ_AT_ONCE.entries);
        let page = reader
            .try_next_page(Budget { entries, ..READ_AT_ONCE })
            .unwrap_or_else(|| Page { gap: None, entries: Run::default(), at: reader.position() });
        Ok(Some(Messages(&page).to_string()))
    }

    fn may_subscribe(&self, channel: &ChannelName, presence: bool) -> Result<(), Problem> {
        self.caller.may(Right::Read, channel)?;
        if presence { self.caller.may(Right::Presence, channel) } else { Ok(()) }
    }

    fn subscribe(&mut self, channel: &ChannelName, start: Start, presence: bool) -> Done {
        self.may_subscribe(channel, presence)?;
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

fn bad_request(detail: impl Display) -> Problem {
    Problem::new(Code::BadRequest, detail)
}
