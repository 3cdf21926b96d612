//! Publishing to a backplane: the engine gives the position, and what was published comes back by the
//! feed like every other message.

use std::sync::atomic::Ordering::Relaxed;

use crate::backplane::{Cluster, Outgoing};
use crate::channels::Registry;
use crate::publish::Writing;
use crate::stats::MAX_QUEUED_BYTES;
use crate::{ChannelName, IdempotencyKey, Position, Publication, PublishError, Publishing};

/// Hands the publication to the engine, unless it is known that it came before.
pub(crate) fn send(
    registry: &Registry,
    cluster: &Cluster,
    channel: &ChannelName,
    publication: Publication<'_>,
) -> Publishing {
    let Cluster { backplane, progress, .. } = cluster;
    if progress.queued.load(Relaxed) >= MAX_QUEUED_BYTES {
        return Writing::done(Err(PublishError::ClusterBusy));
    }
    let shard = backplane.shard(channel);
    let now = registry.options.clock.now();
    let is_behind_end = match progress.hold(shard) {
        known if !known.has_begun => return Writing::done(Err(PublishError::Unavailable)),
        known => known.ends.closed(channel, now).is_some(),
    };
    let id = publication.key.as_ref().map(|key| backplane.message_id(channel, key));
    if let Some(id) = &id {
        // From now on the channel is here, so that the key is known when it comes, also where the engine
        // forgets it.
        let found = registry.map.find_or_add(channel, &registry.meter);
        found.touch();
        if let Some(first) = found.lock().repeated(Some(&IdempotencyKey::of_text(id))) {
            return Writing::done(Ok(first));
        }
    } else if is_behind_end {
        return Writing::done(Err(PublishError::Ended));
    }
    let (reply, outcome) = progress.position_reply(shard, publication.charge_in_all());
    backplane.publish(Outgoing {
        channel: channel.clone(),
        shard,
        payload: publication.payload.to_payload(),
        event: publication.event,
        id: id.map(Into::into),
        source: publication.source,
        is_behind_end,
        reply,
    });
    Writing::waiting(outcome)
}

/// Has the engine end the channel, unless it is known to have ended.
pub(crate) fn end(registry: &Registry, cluster: &Cluster, channel: &ChannelName) -> Publishing {
    let Cluster { backplane, progress, .. } = cluster;
    let shard = backplane.shard(channel);
    {
        let known = progress.hold(shard);
        if !known.has_begun {
            return Writing::done(Err(PublishError::Unavailable));
        }
        if let Some(end) = known.ends.closed(channel, registry.options.clock.now()) {
            return Writing::done(Ok(Position { epoch: known.epoch, offset: end.offset }));
        }
        if known.ends.is_full() {
            return Writing::done(Err(PublishError::ClusterFull));
        }
    }
    let (reply, outcome) = progress.position_reply(shard, 0);
    backplane.end(channel.clone(), reply);
    Writing::waiting(outcome)
}

/// Has the engine drop the channel's history.
pub(crate) fn forget(cluster: &Cluster, channel: &ChannelName) -> Writing<()> {
    let Cluster { backplane, progress, .. } = cluster;
    let shard = backplane.shard(channel);
    if progress.place(shard).is_none() {
        return Writing::done(Err(PublishError::Unavailable));
    }
    let (reply, outcome) = progress.empty_reply(shard);
    backplane.forget(channel.clone(), reply);
    Writing::waiting(outcome)
}
