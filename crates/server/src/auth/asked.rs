//! What an [`Authorizer`](super::authorizer::Authorizer) has said of one caller, and asking it again.
//!
//! An answer is known until it lapses, so that a connection that publishes or reads asks once. What is open asks
//! again when three quarters of that time are over: an authoriser that cannot answer for a moment ends nothing, and
//! one that cannot answer in the rest of the time ends everything.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::request::Parts;
use sockeye::internals::Network;
use sockeye_hub::ChannelName;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::LONGEST;
use super::account::PackedNetwork;
use super::authorizer::{AnyAuthorizer, AnySession, AuthorizeError, Decision, Identified};
use super::claims::is_subject;
use super::grants::Right;
use super::problems::{not_allowed, not_decided, not_identified, not_signed_in};
use crate::http::problem::{Code, Problem};
use crate::log::{Class, limited};

/// How long an authoriser may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How long any answer is good for at least.
const LEAST: Duration = Duration::from_secs(1);
/// The answers that are known of one caller. With more of them those that nothing open depends on are asked for
/// again.
const MAX_KNOWN: usize = 512;
/// The same with those that something open depends on, or did until they lapse.
const MAX_WATCHED: usize = 2048;
/// How many questions are asked again at once for one caller: one after the other, the last of many could come after
/// its answer has lapsed.
const AGAIN_AT_ONCE: usize = 32;

/// A caller that an authoriser has identified.
#[derive(Debug)]
pub(super) struct AskedSession {
    authorizer: AnyAuthorizer,
    session: AnySession,
    pub(super) subject: Option<Box<str>>,
    pub(super) account: Box<str>,
    /// When everything ends that it has opened.
    ends: Option<Instant>,
    known: Mutex<HashMap<(ChannelName, Right), Known>>,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
struct Known {
    is_allowed: bool,
    /// When to ask again for what is still open.
    again: Instant,
    /// When it is good no more.
    until: Instant,
    /// Whether something that is open depends on it.
    is_watched: bool,
}

impl Known {
    fn of(decision: Decision, now: Instant) -> Self {
        let time = decision.good_for.clamp(LEAST, LONGEST);
        let (again, until) = (now + time / 4 * 3, now + time);
        Self { is_allowed: decision.is_allowed, again, until, is_watched: false }
    }
}

impl AnyAuthorizer {
    /// Whose request it is.
    pub(super) async fn identified(
        &self,
        request: &Parts,
        network: Option<Network>,
    ) -> Result<Option<AskedSession>, Problem> {
        let identified = self.ask(|| self.0.authorizer.identify(request)).await?;
        identified.map(|identified| self.session(identified, network)).transpose()
    }

    /// Whose token it is.
    pub(super) async fn authenticated(
        &self,
        token: &str,
        network: Option<Network>,
    ) -> Result<AskedSession, Problem> {
        self.session(self.ask(|| self.0.authorizer.authenticate(token)).await?, network)
    }

    fn session(
        &self,
        identified: Identified<AnySession>,
        network: Option<Network>,
    ) -> Result<AskedSession, Problem> {
        let Identified { session, subject, good_for } = identified;
        if subject.as_deref().is_some_and(|subject| !is_subject(subject)) {
            limited!(WARN, Class::BadSubject, "the authoriser gave a subject that cannot be shown");
            return Err(Problem::new(
                Code::Internal,
                "The caller has a name that cannot be shown.",
            ));
        }
        let account = match &subject {
            Some(subject) => format!("subject {subject}"),
            None => PackedNetwork::of(network).name(),
        };
        Ok(AskedSession {
            authorizer: self.clone(),
            session,
            subject: subject.map(Into::into),
            account: account.into(),
            ends: good_for.map(|time| Instant::now() + time.min(LONGEST)),
            known: Mutex::default(),
        })
    }

    /// Waits for the answer. Whatever is none, is a problem.
    async fn ask<T, F>(&self, question: impl FnOnce() -> F + Send) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, AuthorizeError>> + Send,
    {
        let _open = self.0.questions.begin();
        let asking = async {
            let _turn = self.0.asks.acquire().await;
            question().await
        };
        let why = match timeout(TIMEOUT, AssertUnwindSafe(asking).catch_unwind()).await {
            Ok(Ok(Ok(answer))) => return Ok(answer),
            Ok(Ok(Err(AuthorizeError::Invalid))) => return Err(not_identified()),
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) => "it panicked".to_owned(),
            Err(_) => format!("it did not answer within {} s", TIMEOUT.as_secs()),
        };
        self.0.questions.failed();
        limited!(WARN, Class::Undecided, why, "the authoriser has no answer");
        Err(not_decided())
    }
}

/// A right that a caller has lost while what needs it is open.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) right: Right,
    pub(crate) channel: ChannelName,
    /// Whether the authoriser has said no; else it has not answered until its yes lapsed.
    pub(super) is_refused: bool,
}

impl Lost {
    pub(crate) fn problem(&self) -> Problem {
        if self.is_refused { not_allowed(self.right) } else { not_decided() }
    }
}

impl AskedSession {
    /// Whether the caller has the right, as far as that is known; `None` if it has to be asked.
    pub(super) fn known(&self, right: Right, channel: &ChannelName) -> Option<bool> {
        let known = self.answers().get(&(channel.clone(), right)).copied()?;
        (Instant::now() < known.until).then_some(known.is_allowed)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }

    /// Waits until all that the caller has opened ends.
    pub(super) async fn ended(&self) {
        match self.ends {
            Some(ends) => sleep_until(ends).await,
            None => std::future::pending().await,
        }
    }

    /// Asks whether the caller has the right, and remembers the answer.
    pub(super) async fn ask(&self, right: Right, channel: &ChannelName) -> Result<(), Problem> {
        self.answer(right, channel).await.map(|_| ())
    }

    async fn answer(&self, right: Right, channel: &ChannelName) -> Result<Known, Problem> {
        let authorizer = &self.authorizer;
        let question = || authorizer.0.authorizer.authorize(&self.session, right, channel);
        let decision = authorizer.ask(question).await.map_err(|problem| match problem.code() {
            // It was identified before.
            Code::Unauthorized => not_signed_in(),
            _ => problem,
        })?;
        let (now, mut answers) = (Instant::now(), self.answers());
        make_room(&mut answers, now);
        let key = (channel.clone(), right);
        let is_watched = answers.get(&key).is_some_and(|known| known.is_watched);
        let known = Known { is_watched, ..Known::of(decision, now) };
        answers.insert(key, known);
        Ok(known)
    }

    /// Waits until the caller has lost one of these rights, and gives all that it has lost then. Each is asked for
    /// again before its answer lapses.
    pub(super) async fn lost(&self, rights: &[(Right, ChannelName)]) -> Vec<Lost> {
        let mut asks: Vec<_> = rights.iter().map(|right| (self.due(right), right)).collect();
        loop {
            let next = asks.iter().map(|(known, _)| known.again).min();
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
            let now = Instant::now();
            let due = asks.iter_mut().filter(|(known, _)| known.again <= now);
            let asked = due.map(|(known, (right, channel))| async {
                match self.asked_again(*known, *right, channel).await {
                    Ok(fresh) => {
                        *known = fresh;
                        None
                    }
                    Err(is_refused) => {
                        Some(Lost { right: *right, channel: channel.clone(), is_refused })
                    }
                }
            });
            let asked: Vec<_> = asked.collect();
            let asked = stream::iter(asked).buffer_unordered(AGAIN_AT_ONCE);
            let lost: Vec<_> = asked.filter_map(std::future::ready).collect().await;
            if !lost.is_empty() {
                return lost;
            }
        }
    }

    /// What is known of a right of something open. A no counts at once, and so does a yes that has lapsed. Where
    /// the answer was forgotten, for the others that came, it is asked for at once and waited for.
    fn due(&self, (right, channel): &(Right, ChannelName)) -> Known {
        let (now, mut answers) = (Instant::now(), self.answers());
        let Some(known) = answers.get_mut(&(channel.clone(), *right)) else {
            let until = now + TIMEOUT;
            return Known { is_allowed: true, again: now, until, is_watched: true };
        };
        // From now on other answers do not take its place: what puts it off would put off a no.
        known.is_watched = true;
        match known.is_allowed {
            true => *known,
            false => Known { again: now, until: now, ..*known },
        }
    }

    /// The answer of now, or the one before it as long as that is good; else whether it is a no.
    async fn asked_again(
        &self,
        known: Known,
        right: Right,
        channel: &ChannelName,
    ) -> Result<Known, bool> {
        if !known.is_allowed {
            return Err(true);
        }
        match timeout_at(known.until, self.answer(right, channel)).await {
            Ok(Ok(fresh)) if fresh.is_allowed => Ok(fresh),
            Ok(Ok(_)) => Err(true),
            Ok(Err(problem)) if problem.code() == Code::Unauthorized => Err(true),
            Ok(Err(_)) if Instant::now() < known.until => {
                Ok(Known { again: known.until.min(Instant::now() + LEAST), ..known })
            }
            Ok(Err(_)) | Err(_) => Err(false),
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<(ChannelName, Right), Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets answers, if there are too many for one more.
fn make_room(answers: &mut HashMap<(ChannelName, Right), Known>, now: Instant) {
    if answers.len() >= MAX_KNOWN {
        answers.retain(|_, known| now < known.until);
    }
    if answers.len() >= MAX_KNOWN {
        answers.retain(|_, known| known.is_watched);
    }
    if answers.len() >= MAX_WATCHED {
        answers.clear();
    }
}

/// The rights that a reader of these channels needs.
pub(super) fn to_read(channels: &[ChannelName]) -> Vec<(Right, ChannelName)> {
    channels.iter().map(|channel| (Right::Read, channel.clone())).collect()
}
