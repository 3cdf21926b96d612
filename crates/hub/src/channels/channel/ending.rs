//! The end of a channel in memory.

use std::sync::Arc;

use super::{Channel, ChannelState};
use crate::Share;
use crate::accounts::{Account, Capacity};
use crate::channels::{ChannelMap, Registry};
use crate::stats::Meter;
use crate::{ChannelName, Position, PublishError};

impl Channel {
    /// Ends the channel and tells the readers, unless it has ended. `None` if the hub has let go of it
    /// meanwhile.
    pub(crate) fn end(
        &self,
        account: &Arc<Account>,
        share: Share,
        registry: &Registry,
    ) -> Option<Result<Position, PublishError>> {
        let Registry { options, meter, map, .. } = registry;
        let position = {
            let mut state = self.lock();
            if state.retired {
                return None;
            }
            self.touch();
            if state.log.has_ended() {
                return Some(Ok(state.log.end()));
            }
            if let Err(error) = state.take_slot(account, share, &self.name, (map, meter)) {
                return Some(Err(error));
            }
            state.log.end_channel(options.clock.now())
        };
        self.grown.notify_waiters();
        Some(Ok(position))
    }
}

impl ChannelState {
    /// Counts the channel among those that something was published on.
    pub(super) fn take_slot(
        &mut self,
        account: &Arc<Account>,
        share: Share,
        name: &ChannelName,
        (map, meter): (&ChannelMap, &Meter),
    ) -> Result<(), PublishError> {
        if !self.persistent {
            if !map.slots.take(name, account) {
                return Err(PublishError::Full { capacity: Capacity::Channels, share });
            }
            self.mark_persistent(meter);
        }
        Ok(())
    }
}
