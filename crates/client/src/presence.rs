//! The members of a channel, and that they come and go.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Deserialize;

/// A reader of a channel that has an id: the `sub` of its token, or `?as=NAME` where there are no tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Member {
    /// Its id.
    pub id: String,
    since: u64,
}

/// A page of the members of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Members {
    #[serde(skip)]
    pub(crate) channel: Arc<str>,
    /// How many listen, those without an id included.
    pub count: u64,
    /// Those with an id, in the order of their ids.
    pub members: Vec<Member>,
    /// The id after which the next page begins, if there are more.
    pub next: Option<String>,
}

/// A member has come or gone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    pub(crate) channel: Arc<str>,
    /// Which one.
    pub member: Member,
}

impl Member {
    /// Since when it is there.
    pub fn since(&self) -> SystemTime {
        let since = Duration::from_millis(self.since);
        SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Members {
    /// The channel whose members they are.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// How many bytes it costs to keep, in about.
    pub(crate) fn size(&self) -> usize {
        self.members.iter().map(|member| size_of::<Member>() + member.id.len()).sum()
    }
}

impl Change {
    pub(crate) fn of(member: Member) -> Self {
        Self { channel: Arc::default(), member }
    }

    /// The channel on which it listens.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// How many bytes it costs to keep, in about.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.member.id.len()
    }
}
