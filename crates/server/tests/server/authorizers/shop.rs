//! An authoriser of a program's own, as a test drives it: sessions of cookies.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::request::Parts;
use sockeye_server::{AuthorizeError, Authorizer, ChannelName, Decision, Identified, Right};
use tokio::sync::watch;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Answers,
    /// As long as it is so, it says nothing.
    IsSilent,
    Panics,
    Fails,
}

/// Knows `session=NAME`, and the token `NAME-token`. Clones are the same.
#[derive(Clone)]
pub(super) struct Shop(Arc<Inner>);

struct Inner {
    granted: Mutex<HashSet<(String, Right)>>,
    good_for: Mutex<Duration>,
    session_good_for: Mutex<Option<Duration>>,
    /// How long an answer on a channel takes.
    takes: Mutex<fn(&str) -> Duration>,
    mood: watch::Sender<Mood>,
    asked: AtomicUsize,
    waiting: AtomicUsize,
}

impl Shop {
    /// Every known caller has these rights.
    pub(super) fn new<C: Into<String>>(rights: impl IntoIterator<Item = (C, Right)>) -> Self {
        let granted = rights.into_iter().map(|(channel, right)| (channel.into(), right));
        Self(Arc::new(Inner {
            granted: Mutex::new(granted.collect()),
            good_for: Mutex::new(Decision::GOOD_FOR),
            session_good_for: Mutex::default(),
            takes: Mutex::new(|_| Duration::ZERO),
            mood: watch::Sender::new(Mood::Answers),
            asked: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }))
    }

    pub(super) fn good_for(self, time: Duration) -> Self {
        *self.0.good_for.lock().unwrap() = time;
        self
    }

    pub(super) fn takes(self, time: fn(&str) -> Duration) -> Self {
        *self.0.takes.lock().unwrap() = time;
        self
    }

    pub(super) fn sessions_good_for(self, time: Duration) -> Self {
        *self.0.session_good_for.lock().unwrap() = Some(time);
        self
    }

    pub(super) fn revoke(&self, channel: &str, right: Right) {
        assert!(self.0.granted.lock().unwrap().remove(&(channel.to_owned(), right)));
    }

    pub(super) fn set(&self, mood: Mood) {
        self.0.mood.send_replace(mood);
    }

    /// How often it was asked for a right.
    pub(super) fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// How many wait for its answer now.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }

    fn known(&self, name: &str) -> Identified<String> {
        let identified = Identified::new(name.to_owned()).subject(name);
        match *self.0.session_good_for.lock().unwrap() {
            Some(time) => identified.good_for(time),
            None => identified,
        }
    }
}

/// Counts one that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Authorizer for Shop {
    type Session = String;

    async fn identify(
        &self,
        request: &Parts,
    ) -> Result<Option<Identified<String>>, AuthorizeError> {
        let cookie = request.headers.get("cookie").and_then(|line| line.to_str().ok());
        match cookie.and_then(|line| line.strip_prefix("session=")) {
            None => Ok(None),
            Some("bad") => Err(AuthorizeError::Invalid),
            Some(name) => Ok(Some(self.known(name))),
        }
    }

    async fn authorize(
        &self,
        _: &String,
        right: Right,
        channel: &ChannelName,
    ) -> Result<Decision, AuthorizeError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.0.waiting);
        let takes = self.0.takes.lock().unwrap()(channel.as_str());
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let mut mood = self.0.mood.subscribe();
        let mood = *mood.wait_for(|mood| *mood != Mood::IsSilent).await.unwrap();
        match mood {
            Mood::Panics => panic!("the authoriser of a test panics"),
            Mood::Fails => return Err(AuthorizeError::unavailable("its database is away")),
            Mood::Answers | Mood::IsSilent => {}
        }
        let granted = self.0.granted.lock().unwrap();
        let decision = Decision::from(granted.contains(&(channel.to_string(), right)));
        match granted.contains(&(channel.to_string(), right)) {
            true => Ok(decision.good_for(*self.0.good_for.lock().unwrap())),
            false => Ok(decision),
        }
    }

    async fn authenticate(&self, token: &str) -> Result<Identified<String>, AuthorizeError> {
        let name = token.strip_suffix("-token").ok_or(AuthorizeError::Invalid)?;
        Ok(self.known(name))
    }
}
