//! The streams of a cluster: made by the first node that starts, and checked by all.

pub(crate) mod history;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use sockeye_hub::Epoch;
use tokio::time::sleep;

use crate::error::Refused;
use crate::error::jetstream::{ApiError, code};
use crate::message::subjects::Names;
use crate::nats::api::Api;
use crate::nats::api::stream::{Republish, StreamConfig, StreamInfo};
use crate::nats::waiting::Waiting;
use crate::options::ApplyOptions;
use crate::options::OVERHEAD;
use crate::streams::history::History;
use crate::{ClusterOptions, StartError, Storage};

/// What the entries of the metadata are called.
pub(crate) mod key {
    /// The version of everything a node relies on.
    pub(crate) const FORMAT: &str = "sockeye.format";
    pub(crate) const SHARDS: &str = "sockeye.shards";
    pub(crate) const EPOCH: &str = "sockeye.epoch";
    /// Count, bytes and milliseconds.
    pub(crate) const HISTORY: &str = "sockeye.history";
}

pub(crate) const FORMAT: &str = "1";
const DEFAULT_SHARDS: u16 = 8;
/// The most shards of a cluster: each is a group of Raft in NATS, and a subscription of each node.
pub(crate) const MAX_SHARDS: u16 = 256;
const DEFAULT_REPLICAS: u8 = 3;

/// How much longer a stream keeps a message than its channel shows it: what is stored and not shown
/// tells that something is missing before it.
pub(crate) const SLACK: Duration = Duration::from_hours(1);
/// How long JetStream recognises an id: longer than [`IdempotencyKey::REMEMBERED`] by what a
/// publisher that repeats may wait.
///
/// [`IdempotencyKey::REMEMBERED`]: sockeye_hub::IdempotencyKey::REMEMBERED
pub(crate) const DUPLICATE_WINDOW: Duration = Duration::from_mins(6);
/// How often and in what distance something is asked again that does not work just now.
const TRIES: usize = 60;
/// How often where the servers most likely do not suffice.
const FEW_TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// A shard as it was found at the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) epoch: Epoch,
}

/// How many shards the cluster has: those of the stream that is there, or those it is to be made
/// with.
pub(crate) async fn shards(
    api: &Api,
    options: &ClusterOptions,
    waiting: &Waiting,
) -> Result<u16, StartError> {
    let first = api.names().stream(0);
    match retrying(waiting, || api.info(&first)).await {
        Ok(info) => {
            let there = shards_of(&first, &info)?;
            match options.shards {
                Some(asked) if asked != there => Err(StartError::Fixed {
                    flag: "--cluster-shards",
                    there: there.to_string(),
                    other: "",
                }),
                _ => Ok(there),
            }
        }
        Err(error) if error.code() == Some(code::NO_STREAM) => {
            Ok(options.shards.unwrap_or(DEFAULT_SHARDS))
        }
        Err(error) => Err(refused(&format!("to look for {first}"), error)),
    }
}

/// How many shards the cluster has that this stream is of.
pub(crate) fn shards_of(stream: &str, info: &StreamInfo) -> Result<u16, StartError> {
    check_format(stream, info)?;
    let there = info.metadata(key::SHARDS).and_then(|text| text.parse::<u16>().ok());
    let there = there.filter(|shards| (1..=MAX_SHARDS).contains(shards));
    there.ok_or_else(|| StartError::Format { stream: stream.to_owned() })
}

/// Makes the streams that are not there and checks those that are.
pub(crate) async fn ensure(
    api: &Api,
    options: &ClusterOptions,
    waiting: &Waiting,
) -> Result<Vec<Found>, StartError> {
    let mut found = Vec::new();
    for shard in 0..api.names().shards() {
        found.push(ensure_one(api, options, shard, waiting).await?);
    }
    Ok(found)
}

async fn ensure_one(
    api: &Api,
    options: &ClusterOptions,
    shard: u16,
    waiting: &Waiting,
) -> Result<Found, StartError> {
    let stream = api.names().stream(shard);
    let info = match retrying(waiting, || api.info(&stream)).await {
        Err(error) if error.code() == Some(code::NO_STREAM) => {
            let config = config(api.names(), options, shard);
            make(api, &stream, &config, config.num_replicas, waiting).await?
        }
        info => info.map_err(|error| refused(&format!("to look at {stream}"), error))?,
    };
    check(&stream, &info, api.names(), options, shard)
}

/// Makes a stream, and gives what there is then: if another node was faster, what it has made counts.
pub(crate) async fn make(
    api: &Api,
    stream: &str,
    config: &impl Serialize,
    replicas: u8,
    waiting: &Waiting,
) -> Result<StreamInfo, StartError> {
    match retrying(waiting, || create(api, stream, config)).await {
        Err(error) if error.code() != Some(code::NAME_IN_USE) => {
            return Err(not_made(stream, replicas, error));
        }
        _ => {}
    }
    // The server that answers may not know of it yet.
    let look = || async {
        let info = api.info(stream).await;
        match info.as_ref().err().and_then(ApiError::code) {
            Some(code::NO_STREAM) => Err(ApiError::Unanswered),
            _ => info,
        }
    };
    retrying(waiting, look).await.map_err(|error| refused(&format!("to look at {stream}"), error))
}

/// Creates a stream. Servers that start are not all known to each other at once.
async fn create(api: &Api, stream: &str, config: &impl Serialize) -> Result<(), ApiError> {
    let mut tries = 0;
    loop {
        match api.create(stream, config).await {
            Err(error) if error.code() == Some(code::NO_SUITABLE_PEERS) && tries < FEW_TRIES => {
                tries += 1;
                sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// What is waited for, where JetStream does not do what it is asked for.
pub(crate) fn waiting_for_jetstream(error: &ApiError) -> String {
    format!("JetStream is not there yet, which takes a majority of the servers of NATS: {error}")
}

/// Asks again while it may just not work yet: servers that start elect their leaders.
pub(crate) async fn retrying<T, F>(
    waiting: &Waiting,
    mut ask: impl FnMut() -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut tries = 0;
    loop {
        match ask().await {
            Err(error) if error.is_passing() && tries < TRIES => {
                tries += 1;
                if tries % 10 == 0 {
                    tracing::warn!(%error, "waiting for JetStream");
                    waiting.wait_for(waiting_for_jetstream(&error));
                }
                sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

fn config(names: &Arc<Names>, options: &ClusterOptions, shard: u16) -> StreamConfig {
    let [src, dest] = names.republish(shard);
    let bytes = options.max_bytes.map_or(-1, |bytes| bytes_of_one(bytes, names.shards()));
    let history = History::of(options);
    StreamConfig {
        name: names.stream(shard),
        subjects: [names.log_subjects(shard)],
        retention: "limits",
        storage: storage_text(options.storage.unwrap_or(Storage::File)),
        num_replicas: options.replicas.unwrap_or(DEFAULT_REPLICAS),
        max_msgs_per_subject: per_subject(&history),
        max_age: max_age(&history),
        max_bytes: bytes,
        max_msg_size: i32::try_from(options.max_message_size()).unwrap_or(i32::MAX),
        discard: "new",
        duplicate_window: nanos(DUPLICATE_WINDOW),
        allow_direct: true,
        allow_rollup_hdrs: true,
        allow_msg_ttl: true,
        deny_delete: true,
        republish: Republish { src, dest },
        metadata: BTreeMap::from([
            (key::FORMAT, FORMAT.to_owned()),
            (key::SHARDS, names.shards().to_string()),
            (key::EPOCH, Epoch::random().to_string()),
            (key::HISTORY, history.metadata()),
        ]),
    }
}

/// What one of that many streams takes, so that all of them take `bytes`.
fn bytes_of_one(bytes: u64, shards: u16) -> i64 {
    signed(bytes.div_ceil(u64::from(shards)))
}

/// The history that a stream keeps.
pub(crate) fn history_of(stream: &str, info: &StreamInfo) -> Result<History, StartError> {
    let history = info.metadata(key::HISTORY).and_then(History::parse);
    history.ok_or_else(|| StartError::Format { stream: stream.to_owned() })
}

/// The configuration of a stream with what is wanted in it, and with all that nodes rely on.
pub(crate) fn config_from(
    info: &StreamInfo,
    names: &Names,
    shard: u16,
    wanted: &ApplyOptions,
    history: &History,
) -> Value {
    let mut config = info.config.clone();
    let mut set = |key: &str, value: Value| config[key] = value;
    if let Some(replicas) = wanted.replicas {
        set("num_replicas", replicas.into());
    }
    if let Some(bytes) = wanted.max_bytes {
        set("max_bytes", bytes_of_one(bytes, names.shards()).into());
    }
    set("subjects", serde_json::json!([names.log_subjects(shard)]));
    set("max_msgs_per_subject", per_subject(history).into());
    set("max_age", max_age(history).into());
    set("allow_direct", true.into());
    set("allow_rollup_hdrs", true.into());
    set("discard", "new".into());
    if info.config.get("republish").is_none_or(|republish| !republish.is_object()) {
        let [src, dest] = names.republish(shard);
        set("republish", serde_json::json!({ "src": src, "dest": dest }));
    }
    let size = info.number("max_msg_size").filter(|size| *size > 0);
    if let Some(message) = wanted.max_message
        && size.is_some_and(|size| size < signed(message.saturating_add(OVERHEAD) as u64))
    {
        set("max_msg_size", signed(message.saturating_add(OVERHEAD) as u64).into());
    }
    config
}

/// Why a stream was not changed.
pub(crate) fn not_changed(stream: &str, config: &Value, error: ApiError) -> StartError {
    let (said, replicas) = (error.to_string(), config["num_replicas"].as_u64().unwrap_or(1));
    match error.code() {
        Some(code::NO_REPLICAS | code::NO_SUITABLE_PEERS) => {
            StartError::Replicas { replicas: u8::try_from(replicas).unwrap_or(u8::MAX), said }
        }
        Some(code::STORAGE_RESOURCES_EXCEEDED | code::INSUFFICIENT_RESOURCES) => {
            StartError::NoRoom { stream: stream.to_owned(), said }
        }
        _ => refused(&format!("to change {stream}"), error),
    }
}

/// One more than is shown: that one tells that others have gone before it.
fn per_subject(history: &History) -> i64 {
    signed(history.count as u64).saturating_add(1)
}

/// JetStream wants an age to be as long as the window of ids at least.
fn max_age(history: &History) -> u64 {
    nanos(history.age.saturating_add(SLACK).max(DUPLICATE_WINDOW))
}

fn storage_text(storage: Storage) -> &'static str {
    match storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    }
}

fn nanos(time: Duration) -> u64 {
    // JetStream counts in an `int64`.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(i64::MAX as u64)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn check_format(stream: &str, info: &StreamInfo) -> Result<(), StartError> {
    match info.metadata(key::FORMAT) {
        Some(FORMAT) => Ok(()),
        _ => Err(StartError::Format { stream: stream.to_owned() }),
    }
}

/// Whether a stream is what this node was told and relies on.
fn check(
    stream: &str,
    info: &StreamInfo,
    names: &Arc<Names>,
    options: &ClusterOptions,
    shard: u16,
) -> Result<Found, StartError> {
    check_format(stream, info)?;
    let bad_format = || StartError::Format { stream: stream.to_owned() };
    let epoch = info.metadata(key::EPOCH).and_then(|text| text.parse::<Epoch>().ok());
    let epoch = epoch.ok_or_else(bad_format)?;
    if info.metadata(key::SHARDS) != Some(&names.shards().to_string()) {
        return Err(bad_format());
    }
    let (there, here) = (history_of(stream, info)?, History::of(options));
    // Nodes of one version write it alike.
    if there.metadata() != here.metadata() {
        return Err(StartError::History { there: there.to_string(), here: here.to_string() });
    }
    check_fixed(info, names, options)?;
    check_relied_on(stream, info, &config(names, options, shard), options)?;
    Ok(Found { epoch })
}

/// What was decided when the cluster was made and is now said to be another.
fn check_fixed(
    info: &StreamInfo,
    names: &Arc<Names>,
    options: &ClusterOptions,
) -> Result<(), StartError> {
    let differs = |flag, there: String| {
        let is_for_ever = flag == "--cluster-storage";
        let other = if is_for_ever { "" } else { ", or change it by `sockeye cluster apply`" };
        Err(StartError::Fixed { flag, there, other })
    };
    let replicas = info.number("num_replicas").unwrap_or(1);
    if options.replicas.is_some_and(|asked| i64::from(asked) != replicas) {
        return differs("--cluster-replicas", replicas.to_string());
    }
    let storage = info.config.get("storage").and_then(Value::as_str).unwrap_or_default();
    if options.storage.is_some_and(|asked| storage_text(asked) != storage) {
        return differs("--cluster-storage", storage.to_owned());
    }
    let (bytes, shards) = (info.number("max_bytes").unwrap_or(-1), i64::from(names.shards()));
    let asked = options.max_bytes.map(|asked| bytes_of_one(asked, names.shards()));
    if asked.is_some_and(|asked| asked != bytes) {
        let there = match bytes {
            ..=0 => "unset".to_owned(),
            bytes => bytes.saturating_mul(shards).to_string(),
        };
        return differs("--cluster-bytes", there);
    }
    Ok(())
}

/// What the promises of a cluster rest on, whichever program has changed it.
fn check_relied_on(
    stream: &str,
    info: &StreamInfo,
    needed: &StreamConfig,
    options: &ClusterOptions,
) -> Result<(), StartError> {
    let differs = |key, there: String, needed: String| {
        Err(StartError::Configuration { stream: stream.to_owned(), key, there, needed })
    };
    let text = |key: &str| info.config.get(key).map(ToString::to_string).unwrap_or_default();
    for key in ["allow_direct", "allow_rollup_hdrs"] {
        if text(key) != "true" {
            return differs(key, text(key), "true".to_owned());
        }
    }
    if text("discard") != "\"new\"" {
        return differs("discard", text("discard"), "new".to_owned());
    }
    let subjects = Value::from(needed.subjects.to_vec());
    if info.config.get("subjects") != Some(&subjects) {
        return differs("subjects", text("subjects"), subjects.to_string());
    }
    if info.config.get("republish").is_none_or(|republish| !republish.is_object()) {
        return differs("republish", "nothing".to_owned(), "it".to_owned());
    }
    for (key, needed) in
        [("max_msgs_per_subject", needed.max_msgs_per_subject), ("max_age", signed(needed.max_age))]
    {
        if info.number(key) != Some(needed) {
            return differs(key, text(key), needed.to_string());
        }
    }
    let size = info.number("max_msg_size").filter(|size| *size > 0);
    let needed = signed(options.max_message_size() as u64);
    match size.filter(|size| *size < needed) {
        Some(size) => differs("max_msg_size", size.to_string(), format!("{needed} or more")),
        None => Ok(()),
    }
}

fn not_made(stream: &str, replicas: u8, error: ApiError) -> StartError {
    let (stream, said) = (stream.to_owned(), error.to_string());
    match error.code() {
        Some(code::NO_REPLICAS | code::NO_SUITABLE_PEERS) => {
            StartError::Replicas { replicas, said }
        }
        Some(code::STORAGE_RESOURCES_EXCEEDED | code::INSUFFICIENT_RESOURCES) => {
            StartError::NoRoom { stream, said }
        }
        Some(code::SUBJECTS_OVERLAP) => StartError::Overlap { stream },
        _ => refused(&format!("to make {stream}"), error),
    }
}

pub(crate) fn refused(what: &str, error: ApiError) -> StartError {
    StartError::Api { what: what.to_owned(), source: Refused::from(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ClusterOptions {
        ClusterOptions::new("nats://a".parse().unwrap())
    }

    fn names() -> Arc<Names> {
        Arc::new(Names::new("sockeye".parse().unwrap(), 8))
    }

    /// What a server says of a stream that was made with these options, but for `change`.
    fn info(options: &ClusterOptions, change: impl FnOnce(&mut Value)) -> StreamInfo {
        let mut config = serde_json::to_value(config(&names(), options, 0)).unwrap();
        change(&mut config);
        serde_json::from_value(serde_json::json!({ "config": config })).unwrap()
    }

    fn said(info: &StreamInfo, options: &ClusterOptions) -> String {
        check("sockeye_c0", info, &names(), options, 0).unwrap_err().to_string()
    }

    #[test]
    fn what_was_made_with_the_same_options_is_taken() {
        let mut made = options();
        made.max_bytes = Some(1 << 30);
        made.replicas = Some(1);
        check("s", &info(&made, |_| {}), &names(), &made, 0).unwrap();
        // What is decided when it is made need not be said again.
        check("s", &info(&made, |_| {}), &names(), &options(), 0).unwrap();
    }

    #[test]
    fn another_history_is_refused_with_what_to_do() {
        let mut other = options();
        other.history_count = 10;
        let said = said(&info(&other, |_| {}), &options());
        assert!(
            said.starts_with("the cluster keeps 10 messages, 16777216 bytes and 86400000 ms"),
            "{said}"
        );
        assert!(said.contains("--history-count"), "{said}");
    }

    #[test]
    fn what_is_for_ever_is_refused_by_its_flag() {
        let made = options();
        let changes: [(_, fn(&mut ClusterOptions)); 3] = [
            ("--cluster-replicas 3", |o| o.replicas = Some(1)),
            ("--cluster-storage file", |o| o.storage = Some(Storage::Memory)),
            ("--cluster-bytes unset", |o| o.max_bytes = Some(1 << 30)),
        ];
        for (flag, change) in changes {
            let mut options = options();
            change(&mut options);
            let said = said(&info(&made, |_| {}), &options);
            assert!(said.contains(flag), "{said}");
        }
    }

    #[test]
    fn a_stream_that_was_changed_is_refused_by_what_was_changed() {
        for (key, value) in [
            ("allow_direct", serde_json::json!(false)),
            ("discard", "old".into()),
            ("republish", Value::Null),
            ("subjects", serde_json::json!(["sockeye.c.0.*"])),
            ("max_msgs_per_subject", 5.into()),
            ("max_age", 0.into()),
            ("max_msg_size", 100.into()),
        ] {
            let said = said(&info(&options(), |config| config[key] = value), &options());
            assert!(said.contains(&format!("has {key} = ")), "{said}");
        }
    }

    #[test]
    fn a_stream_of_another_program_is_left_alone() {
        let foreign = info(&options(), |config| config["metadata"] = Value::Null);
        assert!(said(&foreign, &options()).contains("--cluster-name"));
        let newer = info(&options(), |config| config["metadata"][key::FORMAT] = "2".into());
        assert!(said(&newer, &options()).contains("the version that made it"));
    }
}
