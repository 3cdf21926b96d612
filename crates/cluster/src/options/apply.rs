//! What is to be changed of a cluster.

use std::time::Duration;

/// What a cluster is to have from now on. What is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ApplyOptions {
    /// See [`ClusterOptions::replicas`](crate::ClusterOptions::replicas).
    pub replicas: Option<u8>,
    /// See [`ClusterOptions::max_bytes`](crate::ClusterOptions::max_bytes).
    pub max_bytes: Option<u64>,
    /// See [`ClusterOptions::history_count`](crate::ClusterOptions::history_count).
    pub history_count: Option<usize>,
    /// See [`ClusterOptions::history_bytes`](crate::ClusterOptions::history_bytes).
    pub history_bytes: Option<u64>,
    /// See [`ClusterOptions::history_age`](crate::ClusterOptions::history_age).
    pub history_age: Option<Duration>,
    /// See [`ClusterOptions::max_message`](crate::ClusterOptions::max_message). The streams never take less than they do.
    pub max_message: Option<usize>,
    /// Whether messages may be dropped that are stored.
    pub allow_loss: bool,
}

impl ApplyOptions {
    /// Sets [`replicas`](Self::replicas).
    pub fn replicas(mut self, servers: impl Into<Option<u8>>) -> Self {
        self.replicas = servers.into();
        self
    }

    /// Sets [`max_bytes`](Self::max_bytes).
    pub fn max_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_bytes = bytes.into();
        self
    }

    /// Sets [`history_count`](Self::history_count).
    pub fn history_count(mut self, count: impl Into<Option<usize>>) -> Self {
        self.history_count = count.into();
        self
    }

    /// Sets [`history_bytes`](Self::history_bytes).
    pub fn history_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.history_bytes = bytes.into();
        self
    }

    /// Sets [`history_age`](Self::history_age).
    pub fn history_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.history_age = age.into();
        self
    }

    /// Sets [`max_message`](Self::max_message).
    pub fn max_message(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_message = bytes.into();
        self
    }

    /// Sets [`allow_loss`](Self::allow_loss).
    pub fn allow_loss(mut self, allow: bool) -> Self {
        self.allow_loss = allow;
        self
    }
}
