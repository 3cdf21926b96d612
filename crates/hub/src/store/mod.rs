//! Where channels are kept beyond the life of a hub: what a store is told, and what it gives back.
//!
//! A store is used from threads of its own: everything here may block. One thread writes, many
//! read; no channel is written while it is loaded.

#[cfg(feature = "fjall")]
mod compaction;
#[cfg(feature = "fjall")]
mod files;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "fjall")]
pub(crate) mod journal;
#[cfg(feature = "fjall")]
mod quarantine;
#[cfg(feature = "fjall")]
mod recovery;
#[cfg(feature = "fjall")]
mod rows;
#[cfg(feature = "fjall")]
mod write_counter;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{ChannelName, Entry, Epoch, EventName, IdempotencyKey, Payload};

#[cfg(feature = "fjall")]
pub(crate) use self::fjall::Disk;
pub use crate::log::Head;

/// Keeps channels, so that a hub that is opened again goes on with them.
///
/// `Hub::open`, of the feature `fjall`, has one of its own, on disk; with another, use
/// [`Hub::with_store`](crate::Hub::with_store).
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The epoch of the positions. It stays as long as the store loses nothing, and is new when it
    /// has.
    fn epoch(&self) -> Epoch;

    /// Where a channel begins that the store does not keep: at or after the last offset of any
    /// channel that was [removed](Change::Remove).
    fn floor(&self) -> u64;

    /// How many channels it keeps.
    fn channels(&self) -> u64;

    /// What it keeps of a channel; `None` if nothing was ever saved of it, or it was removed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read.
    fn load(&self, channel: &ChannelName) -> Result<Option<Saved>, StoreError>;

    /// Writes all of this or nothing. When it returns, it is kept whatever happens to the program
    /// or the machine.
    ///
    /// While writing fails, [`Hub::sweep`](crate::Hub::sweep) has it called without changes, to find out
    /// whether it works again: a store then writes as much as a message takes.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; after any but [`StoreError::Unknown`] nothing of it is kept.
    fn write(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// Up to `limit` of the channels it keeps, in an order of its own, behind `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they cannot be read.
    fn list(&self, after: Option<&ChannelName>, limit: usize) -> Result<Vec<Listed>, StoreError>;

    /// Tells `each` of every channel that it keeps: its name, the account that it is charged to, if
    /// that was kept, and the timestamp of its newest entry. Called once, before anything else is
    /// used. By default it [lists](Self::list) the channels, without accounts.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they cannot be read.
    fn owners(
        &self,
        each: &mut dyn FnMut(ChannelName, Option<&str>, u64),
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let listed = self.list(after.as_ref(), 1000)?;
            let Some(last) = listed.last() else { return Ok(()) };
            after = Some(last.channel.clone());
            for listed in listed {
                each(listed.channel, None, listed.oldest.unwrap_or(0));
            }
        }
    }

    /// Gives back the room of what was dropped, if there is much of it. Called every few seconds by
    /// the thread that writes, which it does not keep long. By default it does nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    fn compact(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What is to be done to one channel.
#[derive(Clone, Debug)]
pub enum Change {
    /// Keep these beside what is kept of it, and drop what the head says.
    Save {
        /// The channel.
        channel: ChannelName,
        /// Where its log stands then.
        head: Head,
        /// New entries, oldest first.
        entries: Vec<Arc<Entry>>,
        /// New keys, oldest first.
        keys: Vec<SavedKey>,
        /// The account that the channel is charged to, to be kept if the channel is new.
        owner: Option<Arc<str>>,
    },
    /// Keep nothing of it any more. Its last offset goes into the [floor](Store::floor).
    Remove(ChannelName),
}

/// What is kept of a channel.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Where its log stands.
    pub head: Head,
    /// The entries after [`Head::start`], oldest first. The end of a channel is none.
    pub entries: Vec<SavedEntry>,
    /// The keys after [`Head::keys_start`], oldest first.
    pub keys: Vec<SavedKey>,
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedEntry {
    /// Its offset.
    pub offset: u64,
    /// When it was published, in milliseconds since the Unix epoch.
    pub ts: u64,
    /// What it says.
    pub payload: Payload,
    /// The name of its event, if it has one.
    pub event: Option<EventName>,
}

/// An idempotency key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedKey {
    /// The offset it got.
    pub offset: u64,
    /// When, in milliseconds since the Unix epoch.
    pub ts: u64,
    /// The key.
    pub key: IdempotencyKey,
}

/// A channel in a list, with what tells whether something of it is too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The channel.
    pub channel: ChannelName,
    /// The timestamp of its oldest entry, if it has any.
    pub oldest: Option<u64>,
    /// The timestamp of its oldest key, if it has any.
    pub oldest_key: Option<u64>,
    /// When it ended, in milliseconds since the Unix epoch, if it has.
    pub ended: Option<u64>,
}

/// Why a store did not do what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full. It works again when there is room.
    #[error("the disk is full")]
    NoSpace,
    /// The disk failed, or what is on it is not what was written.
    #[error("the disk failed")]
    Failed,
    /// The disk failed, and whether it kept what it was told cannot be known.
    #[error("the disk failed, and what was last written may be there or not")]
    Unknown,
    /// A write has been under way for more than 10 s.
    #[error("the disk has not finished a write for more than 10 s")]
    Stalled,
    /// The cluster cannot be reached, has no quorum, or does not answer.
    #[error("the cluster cannot be reached, or has no quorum")]
    Unavailable,
    /// The thread that writes has ended. It works again after a restart.
    #[error("the thread that writes to the disk has ended")]
    Stopped,
}

/// Why a hub could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the directory, or another hub of this one.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// It was written by a version of the program that this one does not know.
    #[error("{} was written by another version of this program", .0.display())]
    Version(PathBuf),
    /// The directory cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}
