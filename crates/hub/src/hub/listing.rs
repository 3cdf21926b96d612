//! Which channels there are, for operators.

use std::sync::Arc;

use crate::channels::Backing;
use crate::{ChannelFigures, ChannelName, Hub, Listing};

impl Hub {
    /// Begins to list channels: those whose names begin with `prefix` and come after `after`, `limit` of them at
    /// most, in the order of their names (of bytes). Two empty texts begin a list of all.
    ///
    /// These are the channels in memory (with messages, with readers, or remembered for their offset), and those that
    /// a store keeps; with a backplane those that this hub has used. What comes or goes meanwhile may be
    /// listed or not. Call [`slice`](Listing::slice) until it says that nothing is left, and let others
    /// run in between:
    ///
    /// ```
    /// # async fn example(hub: sockeye_hub::Hub) {
    /// let mut listing = hub.begin_listing("chat:", "", 100);
    /// while listing.slice() {
    ///     tokio::task::yield_now().await;
    /// }
    /// for channel in listing.finish().channels {
    ///     println!("{channel}: {:?}", hub.channel_figures(&channel));
    /// }
    /// # }
    /// ```
    ///
    /// It looks at every channel, whatever the page.
    pub fn begin_listing(&self, prefix: &str, after: &str, limit: usize) -> Listing {
        Listing::new(Arc::clone(&self.0.registry), prefix, after, limit)
    }

    /// What the hub has in memory of a channel. `None` if that is nothing: the channel was not used, or a store
    /// keeps it. It asks neither a store nor a backplane, and the channel counts as used no more than before.
    pub fn channel_figures(&self, channel: &ChannelName) -> Option<ChannelFigures> {
        let registry = &self.0.registry;
        let found = registry.map.find(channel).ok()?;
        if matches!(registry.kept, Backing::Store(_)) && !found.is_whole() {
            return None;
        }
        Some(registry.enter(&found, |log, _| ChannelFigures {
            at: log.end(),
            entries: log.len() as u64,
            bytes: log.bytes(),
            last_ts: Some(log.last_ts()).filter(|ts| *ts > 0),
            ended: log.has_ended(),
        }))
    }
}
