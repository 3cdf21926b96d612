//! The channels of a shard that have ended, as its stream has them.

use std::time::Duration;

use sockeye_hub::backplane::{ChannelEnd, What};
use tokio::time::sleep;

use crate::error::jetstream::ApiError;
use crate::nats::api::{Api, Get};

/// How often a server that is behind is asked again, and in what distance.
const TRIES: u32 = 40;
const BEHIND: Duration = Duration::from_millis(50);

/// Those that have ended where the shard is known up to `upto`, in their order, and perhaps some that have
/// ended since.
///
/// # Errors
///
/// [`ApiError`] if the stream does not answer, or the server that does is behind for some seconds.
pub(crate) async fn ends(api: &Api, shard: u16, upto: u64) -> Result<Vec<ChannelEnd>, ApiError> {
    let subjects = api.names().end_subjects(shard);
    // What the leader says is compared with what some server has.
    let newest = api.last_of(shard, &subjects).await?.min(upto);
    for _ in 0..TRIES {
        let (ends, has) = read(api, shard, &subjects, upto).await?;
        if has >= newest {
            return Ok(ends);
        }
        sleep(BEHIND).await;
    }
    Err(ApiError::Unanswered)
}

/// What a server has, and the sequence of the newest.
async fn read(
    api: &Api,
    shard: u16,
    subjects: &str,
    upto: u64,
) -> Result<(Vec<ChannelEnd>, u64), ApiError> {
    let (mut ends, mut from) = (Vec::new(), 1);
    loop {
        let answer = api.get(shard, &Get::from(from, subjects)).await?;
        let next = answer.arrivals.last().map_or(from, |last| last.offset + 1);
        for arrival in answer.arrivals {
            let (ts, offset) = (arrival.ts, arrival.offset);
            match arrival.what {
                What::End(channel) => ends.push(ChannelEnd { channel, offset, ts }),
                // Up to there the channel had ended; that it is open again is still to come.
                What::Open { channel, ended, since } if offset > upto => {
                    ends.push(ChannelEnd { channel, offset: ended, ts: since });
                }
                _ => {}
            }
        }
        match answer.more {
            0 => return Ok((ends, next - 1)),
            // There is more, and none of it has come.
            _ if next == from => return Err(ApiError::Unanswered),
            _ => from = next,
        }
    }
}
