//! What a command waits for: the answer of an authoriser, the key of a token, the turn of a publication. It may take
//! seconds: meanwhile the session goes on, except with commands, which are executed in their order.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use sockeye::Message;
use sockeye_hub::ChannelName;

use super::command::{ChannelOp, Command, Op};
use super::execute::ask_to_subscribe;
use super::session::V1Session;
use crate::auth::{Caller, Right};
use crate::http::problem::Problem;

/// How many subscriptions are asked for at once after a fresh token: one after the other, the last of many would be
/// decided much later.
const AT_ONCE: usize = 32;

/// What is being decided.
pub(super) type Deciding = Pin<Box<dyn Future<Output = Decided> + Send>>;

/// What was decided.
pub(super) enum Decided {
    /// Whether the next command may be executed.
    Right(Result<(), Problem>),
    /// Whose token the next command has.
    Caller(Result<Caller, Problem>),
    /// The subscriptions that a fresh token does not grant.
    Lost(Vec<(ChannelName, Problem)>),
}

impl V1Session {
    /// Asks what has to be known before the command is executed, and waits for its turn; `None` if nothing has to be
    /// asked or waited for.
    pub(super) fn deciding(&self, message: &Message) -> Option<Deciding> {
        let authority = &self.app.authority;
        let Message::Text(text) = message else { return None };
        // The key of a token may have to be looked for, and of nothing else.
        let looks_for_key = authority.looks_for_keys() && text.contains("auth");
        let may_wait = authority.is_asking() || looks_for_key || self.app.subject_paces.is_some();
        if self.decided.is_some() || !may_wait {
            return None;
        }
        let Op::Channel(channel, op) = Command::parse(text).ok()?.op else {
            return self.authenticating(text);
        };
        let channel = channel.or_else(|| self.home.clone())?;
        // It counts before it is published: connections that each publish one would have no limit.
        let turn = matches!(op, ChannelOp::Publish { .. })
            .then(|| self.app.publication_turn(&self.caller))
            .flatten();
        let rights = match op {
            ChannelOp::Publish { .. } | ChannelOp::Close => [Some(Right::Write), None],
            ChannelOp::Read { .. } => [Some(Right::Read), None],
            ChannelOp::Subscribe { presence, .. } => {
                [Some(Right::Read), presence.then_some(Right::Presence)]
            }
            ChannelOp::Who { .. } => [Some(Right::Presence), None],
            ChannelOp::Unsubscribe => return None,
        };
        let rights = rights.into_iter().flatten();
        let is_asked = rights.clone().any(|right| self.caller.asking(right, &channel).is_some());
        if !is_asked && turn.is_none() {
            return None;
        }
        let caller = self.caller.clone();
        Some(Box::pin(async move {
            if let Some(turn) = turn {
                turn.await;
            }
            for right in rights {
                if let Err(problem) = caller.ask(right, &channel).await {
                    return Decided::Right(Err(problem));
                }
            }
            Decided::Right(Ok(()))
        }))
    }

    fn authenticating(&self, command: &str) -> Option<Deciding> {
        let Op::Authenticate { token } = Command::parse(command).ok()?.op else { return None };
        let (app, token) = (Arc::clone(&self.app), token.into_owned());
        let network = self.record.peer().network();
        Some(Box::pin(
            async move { Decided::Caller(app.authority.authenticate(&token, network).await) },
        ))
    }

    /// Asks which of the subscriptions the caller has no right to.
    pub(super) fn asking_again(&self) -> Deciding {
        let caller = self.caller.clone();
        let subscribed = self.subscriptions.channels();
        let subscribed: Vec<_> =
            subscribed.map(|(channel, presence)| (channel.clone(), presence)).collect();
        Box::pin(async move {
            let asked = subscribed.into_iter().map(|(channel, presence)| {
                let caller = caller.clone();
                async move {
                    let asked = ask_to_subscribe(&caller, &channel, presence).await;
                    asked.err().map(|problem| (channel, problem))
                }
            });
            let asked = stream::iter(asked).buffer_unordered(AT_ONCE);
            Decided::Lost(asked.filter_map(std::future::ready).collect().await)
        })
    }

    /// Takes what was decided: for the command that waits for it, or at once.
    pub(super) fn decide(&mut self, decided: Decided) {
        self.deciding = None;
        let Decided::Lost(lost) = decided else {
            self.decided = Some(Box::new(decided));
            return;
        };
        for (channel, problem) in lost {
            // It may have ended meanwhile, and its client knows.
            if self.is_subscribed(&channel) {
                self.end_subscription(&channel, &problem);
            }
        }
        self.watch_rights();
    }
}

/// Waits until it is decided.
pub(super) async fn decided(deciding: &mut Option<Deciding>) -> Decided {
    match deciding {
        Some(deciding) => deciding.await,
        None => std::future::pending().await,
    }
}
