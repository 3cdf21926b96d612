//! The connection over which a shard's messages go: that to its leader, if there is one, or that for everything.
//!
//! Another one is taken when no message is under way, or their order would be lost; new ones wait for that, and not for
//! long. Where a connection is lost, or its server does not answer, what is under way on it is sent again by another one.

use std::mem::replace;
use std::time::Duration;

use async_nats::Client;
use tokio::sync::watch;
use tokio::time::Instant;

use super::answers::Answers;
use super::slots::Slots;
use crate::nats::direct::Direct;

/// How long new messages wait until none is under way any more.
const HOLD: Duration = Duration::from_millis(200);
/// How long until they wait again, when that was in vain.
const AGAIN: Duration = Duration::from_secs(1);
/// After that time a leader that is connected directly is late with an answer. Less than an election takes.
const LATE: Duration = Duration::from_secs(2);
/// What has come is read meanwhile, if this process was stopped.
const READING: Duration = Duration::from_millis(200);

/// What is to be done about the connection.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Nothing,
    /// This one is to be used from now on; `None` is that for everything.
    Take(Option<Direct>),
    /// That for everything is to be used, and what is under way is lost.
    Lose,
}

/// The connection.
pub(super) struct Link {
    links: watch::Receiver<Option<Direct>>,
    direct: Option<Direct>,
    /// That which is used.
    pub(super) client: Client,
    pub(super) answers: Answers,
    pub(super) slots: Slots,
    /// That for everything, while another one is used.
    common: Option<(Client, Answers, Slots)>,
    /// Until when new messages wait for those under way.
    holds_until: Option<Instant>,
    /// When they may wait again.
    not_before: Instant,
    /// When an answer that seems to be late is late.
    late_at: Option<Instant>,
}

impl Link {
    pub(super) async fn open(common: Client, links: watch::Receiver<Option<Direct>>) -> Self {
        let answers = Answers::open(&common).await;
        Self {
            links,
            direct: None,
            slots: Slots::new(answers.inbox()),
            client: common,
            answers,
            common: None,
            holds_until: None,
            not_before: Instant::now(),
            late_at: None,
        }
    }

    pub(super) fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Whether new messages wait.
    pub(super) fn holds(&self) -> bool {
        self.holds_until.is_some()
    }

    /// No shard is to use this server for a while, unless it is that of the connection for everything.
    pub(super) fn leave(&self) {
        if let Some(direct) = &self.direct {
            direct.leave();
        }
    }

    /// What is to be done now; `oldest` is when the first of those under way was sent.
    pub(super) fn change(&mut self, oldest: Option<Instant>, now: Instant) -> Change {
        if self.direct.as_ref().is_some_and(Direct::is_gone) || self.is_late(oldest, now) {
            return Change::Lose;
        }
        let wanted = self.links.borrow();
        let wanted = wanted.as_ref().filter(|direct| direct.is_good());
        if wanted == self.direct.as_ref() {
            self.holds_until = None;
        } else if oldest.is_none() {
            return Change::Take(wanted.cloned());
        } else if self.holds_until.is_some_and(|until| until <= now) {
            (self.holds_until, self.not_before) = (None, now + AGAIN);
        } else if self.holds_until.is_none() && self.not_before <= now {
            self.holds_until = Some(now + HOLD);
        }
        Change::Nothing
    }

    /// Whether the leader does not answer.
    fn is_late(&mut self, oldest: Option<Instant>, now: Instant) -> bool {
        let seems_late = oldest.is_some_and(|oldest| oldest + LATE <= now);
        if !self.is_direct() || !seems_late {
            self.late_at = None;
            return false;
        }
        *self.late_at.get_or_insert(now + READING) <= now
    }

    /// When something is to be done though nothing comes.
    pub(super) fn wake_at(&self, oldest: Option<Instant>, now: Instant) -> Option<Instant> {
        let late = oldest.filter(|_| self.is_direct()).map(|oldest| oldest + LATE);
        let again = Some(self.not_before).filter(|time| now < *time);
        [self.late_at.or(late), self.holds_until, again].into_iter().flatten().min()
    }

    /// Takes another connection. Nothing is waited for on the last any more.
    pub(super) async fn take(&mut self, direct: Option<Direct>) {
        if let Some(common) = self.common.take() {
            (self.client, self.answers, self.slots) = common;
        }
        if let Some(direct) = &direct {
            let client = replace(&mut self.client, direct.client().clone());
            let answers = replace(&mut self.answers, Answers::open(&self.client).await);
            let slots = replace(&mut self.slots, Slots::new(self.answers.inbox()));
            self.common = Some((client, answers, slots));
        }
        (self.direct, self.holds_until, self.late_at) = (direct, None, None);
    }
}
