//! The caller of a request, and what it may do.

use std::pin::Pin;
use std::slice;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use sockeye_hub::{ChannelName, Position};

use super::account::PackedNetwork;
use super::asked::{self, AskedSession, Lost};
use super::grants::Right;
use super::problems::{
    expired, no_presence, no_such_ticket, no_token, not_allowed, not_decided, not_good,
    not_granted, not_published, not_signed_in, not_the_publisher, revoked,
};
use super::{Asking, Session};
use crate::channel_rule::ChannelRules;
use crate::http::problem::{Code, Problem};

/// The caller of a request, and what it may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller(pub(super) Identity);

#[derive(Clone, Debug, Default)]
pub(super) enum Identity {
    /// There are no tokens here.
    Unchecked(PackedNetwork),
    /// The same, and what the caller calls itself.
    Named(Arc<Named>),
    /// The request has no token.
    #[default]
    Anonymous,
    Bearer(Arc<Session>),
    /// The program's authoriser knows no caller by the request.
    Unidentified,
    /// It knows the caller, and is asked what it may do.
    Asked(Arc<AskedSession>),
    /// Any of the others, where there are rules for some channels. A variant, so that where there are none no
    /// connection has memory for them.
    Ruled(Arc<Ruled>),
}

/// A caller that says what it is called.
#[derive(Debug)]
pub(super) struct Named {
    name: Arc<str>,
    pub(super) network: PackedNetwork,
}

/// A caller on a server that has rules for some channels.
#[derive(Debug)]
pub(super) struct Ruled {
    identity: Identity,
    rules: Arc<ChannelRules>,
}

impl Identity {
    /// Of a caller where there are no tokens.
    pub(super) fn unchecked(name: Option<Arc<str>>, network: PackedNetwork) -> Self {
        match name {
            None => Self::Unchecked(network),
            Some(name) => Self::Named(Arc::new(Named { name, network })),
        }
    }
}

impl Caller {
    /// The caller of a request that has passed the middleware.
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// One where there are no tokens.
    #[cfg(test)]
    pub(crate) fn unchecked() -> Self {
        Self(Identity::Unchecked(PackedNetwork::of(None)))
    }

    /// The same caller, on a server with these rules.
    pub(super) fn under(self, rules: &Arc<ChannelRules>) -> Self {
        match rules.is_empty() {
            true => self,
            false => Self(Identity::Ruled(Arc::new(Ruled {
                identity: self.0,
                rules: Arc::clone(rules),
            }))),
        }
    }

    pub(super) fn identity(&self) -> &Identity {
        match &self.0 {
            Identity::Ruled(ruled) => &ruled.identity,
            identity => identity,
        }
    }

    /// What the rules for some channels say of the right, for every caller.
    fn ruled(&self, right: Right, channel: &ChannelName) -> Option<Result<(), Problem>> {
        let Identity::Ruled(ruled) = &self.0 else { return None };
        let rule = ruled.rules.of(channel)?;
        match right {
            Right::Write if !rule.publish => Some(Err(not_published())),
            Right::Write if !self.may_be(rule.publisher.as_deref()) => {
                Some(Err(not_the_publisher()))
            }
            Right::Presence if !rule.presence => Some(Err(no_presence())),
            Right::Read if rule.anonymous_read => Some(Ok(())),
            _ => None,
        }
    }

    /// Whether the caller is the only one that a rule lets publish, or it is not known yet who it is. A name that a
    /// caller gives itself is not verified.
    fn may_be(&self, publisher: Option<&str>) -> bool {
        match self.identity() {
            _ if publisher.is_none() => true,
            Identity::Unchecked(_) | Identity::Named(_) => false,
            Identity::Anonymous | Identity::Unidentified | Identity::Ruled(_) => true,
            Identity::Bearer(_) | Identity::Asked(_) => self.id() == publisher,
        }
    }

    /// Whether a token is needed before the caller may do anything.
    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self.identity(), Identity::Anonymous | Identity::Unidentified)
    }

    /// Whether the program's authoriser is asked what it may do.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self.identity(), Identity::Asked(_))
    }

    /// Whether the request had good credentials.
    pub(crate) fn is_known(&self) -> bool {
        match self.identity() {
            Identity::Bearer(_) => true,
            Identity::Asked(session) => session.subject.is_some(),
            _ => false,
        }
    }

    /// The caller of a connection after `fresh` has authenticated on it. The subject stays the same:
    /// what the connection has opened was opened for it.
    pub(crate) fn renewed(&self, fresh: Self) -> Result<Self, Problem> {
        match (self.identity(), fresh.identity()) {
            // Where nothing is verified, a token changes nothing.
            (Identity::Unchecked(_) | Identity::Named(_), _) => Ok(self.clone()),
            (Identity::Bearer(_) | Identity::Asked(_), _) if self.id() != fresh.id() => {
                let detail = "The token has another subject: open another connection with it.";
                Err(Problem::new(Code::Forbidden, detail))
            }
            _ => Ok(fresh),
        }
    }

    /// The caller's name in presence; anonymous callers have none.
    pub(crate) fn id(&self) -> Option<&str> {
        match self.identity() {
            Identity::Named(named) => Some(&named.name),
            Identity::Unchecked(_)
            | Identity::Anonymous
            | Identity::Unidentified
            | Identity::Ruled(_) => None,
            Identity::Bearer(session) => session.claims.sub.as_deref(),
            Identity::Asked(session) => session.subject.as_deref(),
        }
    }

    /// Its name, if a token or the program's authoriser says so: what it calls itself is not a subject.
    pub(crate) fn subject(&self) -> Option<&str> {
        match self.identity() {
            Identity::Bearer(_) | Identity::Asked(_) => self.id(),
            _ => None,
        }
    }

    /// A stream of events begins at this position, and whether the channel has reached it. A ticket
    /// that opens the stream again reaches back no further; one that claimed a position in the future
    /// could.
    pub(crate) fn opens_events(&self, from: Position, exists: bool) -> Result<(), Problem> {
        let Identity::Bearer(session) = self.identity() else { return Ok(()) };
        let Some(stream) = &session.stream else { return Ok(()) };
        if !exists {
            return Err(no_such_ticket());
        }
        stream.begins(from);
        Ok(())
    }

    /// Asks for the right, if it has to be asked for before [`may`](Self::may) knows it. `None` where it need not
    /// be: then nothing has room for the question.
    pub(crate) fn asking(&self, right: Right, channel: &ChannelName) -> Option<Asking> {
        let Identity::Asked(session) = self.identity() else { return None };
        let is_ruled = self.ruled(right, channel).is_some();
        if is_ruled || session.has_ended() || session.known(right, channel).is_some() {
            return None;
        }
        let (session, channel) = (Arc::clone(session), channel.clone());
        Some(Box::pin(async move { session.ask(right, &channel).await }))
    }

    /// Whether the caller has the right on the channel, and the problem if not.
    pub(crate) async fn ask(&self, right: Right, channel: &ChannelName) -> Result<(), Problem> {
        if let Some(asking) = self.asking(right, channel) {
            asking.await?;
        }
        self.may(right, channel)
    }

    /// The same where nothing can be waited for: what has to be [asked](Self::ask) first, and was not, is refused.
    pub(crate) fn may(&self, right: Right, channel: &ChannelName) -> Result<(), Problem> {
        let ruled = self.ruled(right, channel);
        if let Some(Err(problem)) = ruled {
            return Err(problem);
        }
        match self.identity() {
            Identity::Unchecked(_) | Identity::Named(_) => Ok(()),
            Identity::Bearer(session) if let Some(why) = session.end() => Err(not_good(&why)),
            Identity::Asked(session) if session.has_ended() => Err(not_signed_in()),
            _ if ruled.is_some() => Ok(()),
            Identity::Anonymous | Identity::Ruled(_) => Err(no_token()),
            Identity::Bearer(session) if session.claims.channels.allow(right, channel) => Ok(()),
            Identity::Bearer(_) => Err(not_granted(right)),
            Identity::Unidentified => Err(not_signed_in()),
            Identity::Asked(session) => match session.known(right, channel) {
                Some(true) => Ok(()),
                Some(false) => Err(not_allowed(right)),
                // The answer has lapsed since.
                None => Err(not_decided()),
            },
        }
    }

    /// Waits until the token has expired, or is revoked: then what it opened ends. An anonymous caller has
    /// nothing that could expire.
    pub(crate) async fn expired(&self) -> Ending {
        match self.identity() {
            // Boxed: where there are no tokens, there is no memory for a timer.
            Identity::Bearer(session) => Box::pin(session.ended()).await,
            Identity::Asked(session) => {
                Box::pin(session.ended()).await;
                Ending::Expired
            }
            _ => std::future::pending().await,
        }
    }

    /// Waits until the caller has lost one of these rights while it is open what they have opened, and gives all
    /// that it has lost then.
    pub(crate) async fn lost(&self, rights: &[(Right, ChannelName)]) -> Vec<Lost> {
        match self.identity() {
            Identity::Asked(session) => {
                let rights = self.asked_for(rights.iter().cloned());
                Box::pin(session.lost(&rights)).await
            }
            _ => std::future::pending().await,
        }
    }

    /// Of these rights those that are not decided by a rule for the channel.
    fn asked_for(
        &self,
        rights: impl IntoIterator<Item = (Right, ChannelName)>,
    ) -> Vec<(Right, ChannelName)> {
        let is_asked =
            |(right, channel): &(Right, ChannelName)| self.ruled(*right, channel).is_none();
        rights.into_iter().filter(is_asked).collect()
    }

    /// Waits until what reads these channels for the caller has to end: the token has expired or is revoked, or the authoriser
    /// has said that the caller may not read them any more.
    pub(crate) fn ends<'a>(&'a self, channels: &'a [ChannelName]) -> Ends<'a> {
        Ends(match self.identity() {
            Identity::Bearer(session) => Some(Box::pin(session.ended())),
            Identity::Asked(session) => Some(Box::pin(async {
                let rights = self.asked_for(asked::to_read(channels));
                tokio::select! {
                    biased;
                    () = session.ended() => Ending::Expired,
                    lost = session.lost(&rights) => {
                        match lost.iter().any(|lost| lost.is_refused) {
                            true => Ending::Refused,
                            false => Ending::Undecided,
                        }
                    }
                }
            })),
            _ => None,
        })
    }

    /// The same for one channel, and for what keeps it.
    pub(crate) fn ends_reading(&self, channel: &ChannelName) -> Ends<'static> {
        Ends(match self.identity() {
            Identity::Bearer(session) => {
                let session = Arc::clone(session);
                Some(Box::pin(async move { session.ended().await }))
            }
            Identity::Asked(_) => {
                let (caller, channel) = (self.clone(), channel.clone());
                Some(Box::pin(async move { caller.ends(slice::from_ref(&channel)).await }))
            }
            _ => None,
        })
    }
}

/// Waits until something ends; where nothing can end it, there is no memory for that.
pub(crate) struct Ends<'a>(Option<Pin<Box<dyn Future<Output = Ending> + Send + 'a>>>);

impl Ends<'_> {
    /// Of what nothing ends.
    pub(crate) fn never() -> Self {
        Self(None)
    }

    /// Whether there is something that may end it.
    pub(crate) fn may_come(&self) -> bool {
        self.0.is_some()
    }
}

impl Future for Ends<'_> {
    type Output = Ending;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ending> {
        match &mut self.0 {
            Some(ending) => ending.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Why what a caller has opened ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its token has expired.
    Expired,
    /// Its token is revoked.
    Revoked,
    /// It may not read any more.
    Refused,
    /// The authoriser has not answered until its yes lapsed.
    Undecided,
}

impl Ending {
    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::Expired => expired(),
            Self::Revoked => revoked(),
            Self::Refused => not_allowed(Right::Read),
            Self::Undecided => not_decided(),
        }
    }
}
