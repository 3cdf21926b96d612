//! What each account holds of one channel, in bytes: entries and idempotency keys.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ChannelName;
use crate::accounts::{Account, Capacity, Stamp};

/// The accounts that hold something of a channel: usually one. In the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Stakes(Vec<Stake>);

#[derive(Debug)]
struct Stake {
    account: Arc<Account>,
    bytes: u64,
    /// Where the account lists the channel.
    listed: Stamp,
}

impl Stakes {
    /// Charges the account, which lists the channel from its first byte on.
    pub(crate) fn charge(&mut self, account: &Arc<Account>, bytes: u64, channel: &ChannelName) {
        account.charge(Capacity::Bytes, bytes);
        match self.find(account.number) {
            Ok(index) => self.0[index].bytes += bytes,
            Err(index) => {
                let listed = Stamp::next();
                account.list(listed, channel.clone());
                // Most channels have one publisher.
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(index, Stake { account: Arc::clone(account), bytes, listed });
            }
        }
    }

    /// Charges an account, and takes back what it was charged for something else.
    pub(crate) fn exchange(&mut self, number: u32, bytes: u64, back: u64) {
        let Ok(index) = self.find(number) else { return };
        let stake = &mut self.0[index];
        stake.bytes = stake.bytes + bytes - back;
        stake.account.exchange(Capacity::Bytes, bytes, back);
    }

    /// Takes back what an account of that number was charged.
    pub(crate) fn discharge(&mut self, number: u32, bytes: u64) {
        let Ok(index) = self.find(number) else { return };
        let stake = &mut self.0[index];
        stake.bytes -= bytes;
        stake.account.discharge(Capacity::Bytes, bytes);
        if stake.bytes == 0 {
            stake.account.unlist(stake.listed);
            self.0.remove(index);
        }
    }

    /// Takes back all that was charged for the channel.
    pub(crate) fn clear(&mut self) {
        for stake in std::mem::take(&mut self.0) {
            stake.account.discharge(Capacity::Bytes, stake.bytes);
            stake.account.unlist(stake.listed);
        }
    }

    /// Takes back all but what `kept` says of each account, by its number.
    pub(crate) fn reduce_to(&mut self, kept: &HashMap<u32, u64>) {
        self.0.retain_mut(|stake| {
            let kept = kept.get(&stake.account.number).copied().unwrap_or(0);
            stake.account.discharge(Capacity::Bytes, stake.bytes - kept);
            stake.bytes = kept;
            if kept == 0 {
                stake.account.unlist(stake.listed);
            }
            kept > 0
        });
    }

    /// What the account of that number holds.
    pub(crate) fn of(&self, number: u32) -> u64 {
        self.find(number).map_or(0, |index| self.0[index].bytes)
    }

    /// The account that holds more of the channel than that one and all others, if there is one.
    pub(crate) fn larger_than(&self, number: u32) -> Option<&Arc<Account>> {
        let largest = self.0.iter().max_by_key(|stake| stake.bytes)?;
        (largest.bytes > self.of(number)).then_some(&largest.account)
    }

    /// Lists the channel anew for that account, as used in that turn.
    pub(crate) fn relist(&mut self, number: u32, channel: &ChannelName, used: u64) {
        let Ok(index) = self.find(number) else { return };
        let stake = &mut self.0[index];
        stake.account.unlist(stake.listed);
        stake.listed = Stamp::of(used);
        stake.account.list(stake.listed, channel.clone());
    }

    fn find(&self, number: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&number, |stake| stake.account.number)
    }
}
