//! Changing what a cluster was made with: looked at first, then done to one stream after another.
//!
//! A history that grows has a danger of its own: what was dropped under the smaller one leaves no trace,
//! and the oldest clock message would say that nothing is missing behind it. So the clocks begin
//! anew before the larger history is in force: a position older than that is told `expired`.
//! A node that was started with fewer bytes would go on to drop what is beyond them, behind the new
//! clock and so without a trace: none may run while the bytes grow.

use std::fmt;

use serde_json::Value;

use crate::error::jetstream::code;
use crate::nats::api::Api;
use crate::nats::api::stream::StreamInfo;
use crate::nats::connection;
use crate::operate::status;
use crate::options::ApplyOptions;
use crate::streams::history::History;
use crate::streams::{self, key};
use crate::{ClusterOptions, StartError};

/// Why a cluster is not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It cannot be looked at.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Messages would be dropped.
    #[error(
        "{what} would drop messages that are stored: nothing is changed; --allow-loss does it nevertheless"
    )]
    Loss {
        /// What would.
        what: String,
    },
    /// A stream holds more than it would take.
    #[error(
        "{stream} holds {bytes} bytes, and would take {max} and no message more: nothing is changed; say a larger --cluster-bytes"
    )]
    Full {
        /// The stream.
        stream: String,
        /// What it holds.
        bytes: u64,
        /// What it would take.
        max: u64,
    },
    /// Nodes would go on to show the larger history.
    #[error(
        "{nodes} would show a history that is not kept any more: nothing is changed; stop the nodes first"
    )]
    Nodes {
        /// Those that answer.
        nodes: String,
    },
    /// Nodes would go on to drop what the larger history is to keep.
    #[error(
        "{nodes} would go on to drop what is more than the old --history-bytes: nothing is changed; stop the nodes first"
    )]
    OldLimit {
        /// Those that answer.
        nodes: String,
    },
    /// A stream has begun anew since it was looked at.
    #[error(
        "{stream} has lost messages and begun anew meanwhile: it and those after it are not changed; repeat the command"
    )]
    Epoch {
        /// The stream.
        stream: String,
    },
}

/// What is to be done to a cluster.
#[derive(Debug)]
pub struct Plan {
    api: Api,
    wanted: ApplyOptions,
    streams: Vec<Stream>,
    /// Whether the replicas of the stream of records change.
    changes_records: bool,
    /// In words, each once.
    changes: Vec<String>,
    clocks_begin_anew: bool,
    /// Whether more bytes of a channel are to be kept.
    keeps_more_bytes: bool,
}

#[derive(Debug)]
struct Stream {
    shard: u16,
    name: String,
    /// What it has been when it was looked at.
    epoch: Option<String>,
    history: History,
    /// Whether anything of it changes.
    changes: bool,
}

impl Plan {
    /// Looks at the cluster, and finds what is to be changed.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] if it cannot be looked at, or may not be changed so: in one line that says what to do.
    pub async fn make(options: &ClusterOptions, wanted: &ApplyOptions) -> Result<Self, ApplyError> {
        let (client, _) = connection::connect_to_each(options).await?;
        let api = status::api(client, options).await?;
        let mut plan = Self {
            api,
            wanted: *wanted,
            streams: Vec::new(),
            changes_records: false,
            changes: Vec::new(),
            clocks_begin_anew: false,
            keeps_more_bytes: false,
        };
        let mut lost = Vec::new();
        for shard in 0..plan.api.names().shards() {
            plan.look_at(shard, &mut lost).await?;
        }
        plan.look_at_records().await?;
        if !lost.is_empty() && !wanted.allow_loss {
            return Err(ApplyError::Loss { what: lost.join(" and ") });
        }
        if lost.is_empty() && !plan.keeps_more_bytes {
            return Ok(plan);
        }
        let nodes: Vec<_> =
            status::nodes(&plan.api).await.into_iter().map(|node| node.node).collect();
        let names = nodes.join(", ");
        match (nodes.is_empty(), lost.is_empty()) {
            (true, _) => Ok(plan),
            (false, true) => Err(ApplyError::OldLimit { nodes: names }),
            (false, false) => Err(ApplyError::Nodes { nodes: names }),
        }
    }

    async fn look_at(&mut self, shard: u16, lost: &mut Vec<String>) -> Result<(), ApplyError> {
        let (name, wanted) = (self.api.names().stream(shard), self.wanted);
        let info = self.info(&name).await?;
        let there = streams::history_of(&name, &info)?;
        let here = History {
            count: wanted.history_count.unwrap_or(there.count),
            bytes: wanted.history_bytes.unwrap_or(there.bytes),
            age: wanted.history_age.unwrap_or(there.age),
        };
        for what in there.lowered(&here) {
            if !lost.contains(&what) {
                lost.push(what);
            }
        }
        let config = streams::config_from(&info, self.api.names(), shard, &wanted, &here);
        // Another program may have made the stream keep less than its history says.
        let key = "max_msgs_per_subject";
        let grows = info.number(key) < config[key].as_i64();
        self.clocks_begin_anew |= there.is_raised(&here) || grows;
        self.keeps_more_bytes |= here.bytes > there.bytes;
        check_room(&name, &info, &config)?;
        let mut changed = differences(&info.config, &config);
        if there != here {
            changed.push(format!("history: {there} → {here}"));
        }
        let epoch = info.metadata(key::EPOCH).map(str::to_owned);
        let changes = !changed.is_empty();
        self.streams.push(Stream { shard, name, epoch, history: here, changes });
        self.add(changed);
        Ok(())
    }

    /// Looks at the stream of records, if there is one: tickets are to survive what messages do.
    async fn look_at_records(&mut self) -> Result<(), ApplyError> {
        if self.wanted.replicas.is_none() {
            return Ok(());
        }
        let Some((there, here)) = self.records().await? else { return Ok(()) };
        let changed = differences(&there, &here);
        self.changes_records = !changed.is_empty();
        self.add(changed);
        Ok(())
    }

    /// How the stream of records is configured, and how it is to be.
    async fn records(&self) -> Result<Option<(Value, Value)>, StartError> {
        let name = self.api.names().records_stream();
        let there = match self.api.info(&name).await {
            Ok(info) => info.config,
            Err(error) if error.code() == Some(code::NO_STREAM) => return Ok(None),
            Err(error) => return Err(streams::refused(&format!("to look at {name}"), error)),
        };
        let mut here = there.clone();
        if let Some(replicas) = self.wanted.replicas {
            here["num_replicas"] = replicas.into();
        }
        Ok(Some((there, here)))
    }

    async fn info(&self, name: &str) -> Result<StreamInfo, StartError> {
        let info = self.api.info(name).await;
        info.map_err(|error| streams::refused(&format!("to look at {name}"), error))
    }

    fn add(&mut self, changed: Vec<String>) {
        for change in changed {
            if !self.changes.contains(&change) {
                self.changes.push(change);
            }
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether nodes are to be started with other options than before.
    pub fn changes_history(&self) -> bool {
        self.changes.iter().any(|change| change.starts_with("history: "))
    }

    /// Does it. Broken off, it is completed by another one with the same options.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] if JetStream refuses, or a stream has begun anew since it was looked at.
    pub async fn apply(&self) -> Result<(), ApplyError> {
        let api = &self.api;
        for stream in self.streams.iter().filter(|stream| stream.changes) {
            let config = self.config_now(stream).await?;
            let failed = |error| streams::not_changed(&stream.name, &config, error);
            api.update(&stream.name, &config).await.map_err(failed)?;
            if self.clocks_begin_anew {
                let seq = api.put_clock(stream.shard).await.map_err(failed)?;
                let subject = api.names().clock_subject(stream.shard);
                api.purge(stream.shard, &subject, Some(seq)).await.map_err(failed)?;
            }
            // Only now may a node with that history start.
            let mut config = self.config_now(stream).await?;
            config["metadata"][key::HISTORY] = stream.history.metadata().into();
            api.update(&stream.name, &config).await.map_err(failed)?;
        }
        if self.changes_records
            && let Some((_, config)) = self.records().await?
        {
            let name = api.names().records_stream();
            let failed = |error| streams::not_changed(&name, &config, error);
            api.update(&name, &config).await.map_err(failed)?;
        }
        Ok(())
    }

    /// What a stream is to have, without the history. Made of what it has now: a node may have given it
    /// another epoch, and an older one would hide that messages are lost.
    async fn config_now(&self, stream: &Stream) -> Result<Value, ApplyError> {
        let info = self.info(&stream.name).await?;
        if info.metadata(key::EPOCH) != stream.epoch.as_deref() {
            return Err(ApplyError::Epoch { stream: stream.name.clone() });
        }
        let (names, history) = (self.api.names(), &stream.history);
        Ok(streams::config_from(&info, names, stream.shard, &self.wanted, history))
    }
}

/// What changes, a line each.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = self.streams.iter().filter(|stream| stream.changes);
        let records = self.changes_records.then(|| self.api.names().records_stream());
        let names: Vec<_> = changed.map(|stream| &*stream.name).collect();
        match &names[..] {
            [] if records.is_some() => Ok(()),
            [] => write!(f, "every stream is as it should be"),
            [first, .., last] => write!(f, "{first} to {last}"),
            [one] => write!(f, "{one}"),
        }?;
        if let Some(records) = records {
            let and = if names.is_empty() { "" } else { " and " };
            write!(f, "{and}{records}")?;
        }
        self.changes.iter().try_for_each(|change| write!(f, "\n  {change}"))
    }
}

/// Whether the stream would have room for what it holds.
fn check_room(stream: &str, info: &StreamInfo, config: &Value) -> Result<(), ApplyError> {
    let max = config["max_bytes"].as_i64().and_then(|max| u64::try_from(max).ok());
    match max.filter(|max| *max > 0 && *max <= info.state.bytes) {
        Some(max) => {
            Err(ApplyError::Full { stream: stream.to_owned(), bytes: info.state.bytes, max })
        }
        None => Ok(()),
    }
}

/// What is different, by its key: `num_replicas: 1 → 3`.
fn differences(there: &Value, here: &Value) -> Vec<String> {
    let keys = here.as_object().into_iter().flat_map(|object| object.keys());
    let shown = |value: &Value| match value {
        Value::Null => "nothing".to_owned(),
        value => value.to_string(),
    };
    keys.filter(|key| there[*key] != here[*key] && *key != "metadata")
        .map(|key| format!("{key}: {} → {}", shown(&there[key]), shown(&here[key])))
        .collect()
}
