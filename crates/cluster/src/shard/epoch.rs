//! Whether a stream still has all that it had: if not, a new epoch begins.
//!
//! A stream that is put back to older files gives its sequences anew, to other messages. A node
//! notices because it knows where the stream was, and the time of the message there.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use sockeye_hub::Epoch;
use sockeye_hub::backplane::ChannelEnd;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::error::jetstream::ApiError;
use crate::nats::api::Api;
use crate::nats::api::stream::StreamInfo;
use crate::shard::ends::ends;
use crate::shard::feed::{Finding, Reset};
use crate::shard::{Reached, Shard};
use crate::streams::key;

/// How often the leader is asked.
const POLL: Duration = Duration::from_secs(10);
/// How long until it is asked again while a suspicion is not settled.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the message that is known is waited for then. A shard without a leader does not answer, and
/// nothing is given meanwhile.
const QUICK: Duration = Duration::from_millis(250);
/// How long until it is asked a second time: a leader that was cut off has stepped down by then.
const CONFIRM: Duration = Duration::from_secs(5);

/// What a leader's answer says of what a node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// Nothing is lost as far as can be told.
    Same,
    /// Another node has begun an epoch, or the stream was made anew.
    Begun(Epoch),
    /// The stream has less than it had, or something else in its place.
    Lost,
}

/// Watches a shard's stream for as long as the feed takes findings.
pub(crate) async fn watch(api: Api, shard: Arc<Shard>, findings: mpsc::UnboundedSender<Finding>) {
    let mut settled = 0;
    loop {
        let (suspicions, outcome) = tokio::select! {
            looked = examined(&shard, settled, |suspicious| examine(&api, &shard, suspicious)) => looked,
            () = findings.closed() => return,
        };
        let finding = match outcome {
            Ok(Some(Examined::Same)) => Finding::Groundless(suspicions),
            Ok(Some(Examined::Another(epoch, upto))) => {
                let Some(ends) = all_ends(&api, shard.number, upto, &findings).await else {
                    return;
                };
                Finding::Reset(Reset { epoch, upto, ends })
            }
            Ok(None) => continue,
            Err(error) => {
                tracing::debug!(shard = shard.number, %error, "the stream cannot be examined now");
                continue;
            }
        };
        settled = suspicions;
        if findings.send(finding).is_err() {
            return;
        }
    }
}

/// Waits until the stream is to be examined, and has it examined; gives up to which suspicion that was.
async fn examined<F>(
    shard: &Shard,
    settled: u64,
    examine: impl Fn(bool) -> F,
) -> (u64, Result<Option<Examined>, ApiError>)
where
    F: Future<Output = Result<Option<Examined>, ApiError>>,
{
    let pause = if shard.suspicions() > settled { AGAIN } else { POLL };
    tokio::select! {
        () = sleep(pause) => {}
        () = shard.suspected() => {}
    }
    loop {
        // Before anything is asked: one that comes meanwhile is not settled by the answer.
        let suspicions = shard.suspicions();
        let is_suspicious = suspicions > settled;
        tokio::select! {
            outcome = examine(is_suspicious) => return (suspicions, outcome),
            // What was asked over a connection that is gone since is not answered, and nothing is given until a
            // suspicion is settled: it does not wait for that.
            () = shard.suspected(), if !is_suspicious => {}
        }
    }
}

/// The channels that have ended in the stream as it is now; `None` if no feed waits for it any more.
async fn all_ends(
    api: &Api,
    shard: u16,
    upto: u64,
    findings: &mpsc::UnboundedSender<Finding>,
) -> Option<Vec<ChannelEnd>> {
    while !findings.is_closed() {
        match ends(api, shard, upto).await {
            Ok(ends) => return Some(ends),
            Err(error) => tracing::debug!(shard, %error, "the ends of channels cannot be read yet"),
        }
        sleep(AGAIN).await;
    }
    None
}

/// What was found out.
#[derive(Debug)]
enum Examined {
    Same,
    /// The epoch that has begun, and where the stream is in it.
    Another(Epoch, u64),
}

/// `None` if it cannot be decided yet.
async fn examine(api: &Api, shard: &Shard, suspicious: bool) -> Result<Option<Examined>, ApiError> {
    let known = shard.place();
    if suspicious && known.ts > 0 {
        let there = timeout(QUICK, api.time_of(shard.number, known.upto)).await;
        if there.map_err(|_| ApiError::Unanswered)?? == Some(known.ts) {
            return Ok(Some(Examined::Same));
        }
    }
    let (comparison, info) = look(api, shard.number, known, suspicious).await?;
    if let Some(outcome) = decided(comparison, &info) {
        return Ok(Some(outcome));
    }
    if !info.has_current_quorum() {
        return Ok(None);
    }
    tracing::warn!(
        shard = shard.number,
        had = known.upto,
        has = info.state.last_seq,
        "the stream seems to have lost messages: asking once more"
    );
    sleep(CONFIRM).await;
    let (comparison, info) = look(api, shard.number, known, true).await?;
    match decided(comparison, &info) {
        Some(outcome) => Ok(Some(outcome)),
        None if !info.has_current_quorum() => Ok(None),
        None => {
            let (epoch, upto) = begin(api, shard.number, known.epoch, &info).await?;
            Ok(Some(Examined::Another(epoch, upto)))
        }
    }
}

/// What is certain at the first look.
fn decided(comparison: Comparison, info: &StreamInfo) -> Option<Examined> {
    match comparison {
        Comparison::Same => Some(Examined::Same),
        Comparison::Begun(epoch) => Some(Examined::Another(epoch, info.state.last_seq)),
        Comparison::Lost => None,
    }
}

async fn look(
    api: &Api,
    shard: u16,
    known: Reached,
    closely: bool,
) -> Result<(Comparison, StreamInfo), ApiError> {
    let info = api.info(&api.names().stream(shard)).await?;
    let mut comparison = judge(&info, known);
    // Where it has grown past what is known, the message there tells.
    if comparison == Comparison::Same && closely && known.ts > 0 {
        let there = api.time_of(shard, known.upto).await?;
        if there.is_some_and(|ts| ts != known.ts) {
            comparison = Comparison::Lost;
        }
    }
    Ok((comparison, info))
}

fn judge(info: &StreamInfo, known: Reached) -> Comparison {
    match info.metadata(key::EPOCH).and_then(|text| text.parse().ok()) {
        Some(epoch) if epoch != known.epoch => Comparison::Begun(epoch),
        _ if info.state.last_seq < known.upto => Comparison::Lost,
        _ => Comparison::Same,
    }
}

/// Writes the next epoch into the stream.
async fn begin(
    api: &Api,
    shard: u16,
    old: Epoch,
    info: &StreamInfo,
) -> Result<(Epoch, u64), ApiError> {
    let stream = api.names().stream(shard);
    let epoch = next(old, &stream);
    let mut config = info.config.clone();
    config["metadata"][key::EPOCH] = epoch.to_string().into();
    let info = api.update(&stream, &config).await?;
    Ok((epoch, info.state.last_seq))
}

/// The epoch after this one: nodes that find out at once begin the same.
fn next(old: Epoch, stream: &str) -> Epoch {
    /// Six digits of base 36, of which the first is not `0`.
    const LEAST: u64 = 36_u64.pow(5);
    const MOST: u64 = 36_u64.pow(6);
    let hash = digest(&SHA256, format!("{old} {stream}").as_bytes());
    let number = hash.as_ref().iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    let mut number = LEAST + number % (MOST - LEAST);
    let mut digits = Vec::new();
    while number > 0 {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
    }
    let text: String = digits.iter().rev().collect();
    text.parse().unwrap_or_else(|_| Epoch::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(text: &str) -> Epoch {
        text.parse().unwrap()
    }

    fn info(epoch: &str, last_seq: u64) -> StreamInfo {
        serde_json::from_value(serde_json::json!({
            "config": { "metadata": { "sockeye.epoch": epoch }, "num_replicas": 3 },
            "state": { "last_seq": last_seq },
            "cluster": { "leader": "a", "replicas": [
                { "name": "b", "current": true }, { "name": "c", "current": false } ] },
        }))
        .unwrap()
    }

    #[test]
    fn a_stream_that_has_less_than_it_had_has_lost_something() {
        let known = Reached { epoch: epoch("k3f9ab"), upto: 70, ts: 1 };
        assert_eq!(judge(&info("k3f9ab", 70), known), Comparison::Same);
        assert_eq!(judge(&info("k3f9ab", 71), known), Comparison::Same);
        assert_eq!(judge(&info("k3f9ab", 69), known), Comparison::Lost);
        assert_eq!(judge(&info("zzzzzz", 69), known), Comparison::Begun(epoch("zzzzzz")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspicion_does_not_wait_for_an_answer_that_was_lost_with_a_connection() {
        let shard = Shard::new(0, epoch("k3f9ab"));
        let examine = async |suspicious: bool| match suspicious {
            true => Ok(Some(Examined::Same)),
            // Asked each 10 s.
            false => std::future::pending().await,
        };
        let suspecting = async {
            sleep(POLL + Duration::from_millis(1)).await;
            shard.suspect();
        };
        let begun = tokio::time::Instant::now();
        let ((suspicions, outcome), ()) = tokio::join!(examined(&shard, 0, examine), suspecting);
        assert!(matches!(outcome, Ok(Some(Examined::Same))));
        assert_eq!((suspicions, begun.elapsed().as_millis()), (1, 10_001));
    }

    #[test]
    fn only_a_majority_that_is_up_to_date_is_believed() {
        let mut info = info("k3f9ab", 7);
        assert!(info.has_current_quorum());
        let group = info.cluster.as_mut().unwrap();
        group.replicas[0].offline = true;
        assert!(!info.has_current_quorum());
    }

    #[test]
    fn all_nodes_come_to_the_same_epoch() {
        let first = next(epoch("k3f9ab"), "sockeye_c0");
        assert_eq!(first, next(epoch("k3f9ab"), "sockeye_c0"));
        assert_ne!(first, next(epoch("k3f9ab"), "sockeye_c1"));
        assert_ne!(first, next(first, "sockeye_c0"));
        assert_eq!(first.to_string().len(), 6);
    }
}
