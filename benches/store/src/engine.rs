//! What a channel server asks of a store.

use anyhow::Result;

/// The key of an entry: the channel's number and the entry's offset, both with the highest byte
/// first, so that a channel's entries lie side by side and in order.
pub fn key(channel: u64, offset: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&channel.to_be_bytes());
    key[8..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// What is written at once: entries added, and the ends of histories removed.
#[derive(Default)]
pub struct Batch {
    pub added: Vec<([u8; 16], Vec<u8>)>,
    /// The first key and the key behind the last.
    pub removed: Vec<[[u8; 16]; 2]>,
}

pub trait Engine {
    /// Writes everything or nothing; when it returns, all is on disk and synced.
    fn write(&mut self, batch: &Batch) -> Result<()>;

    /// The number of entries from one key up to before another, and their bytes, all read.
    fn read(&mut self, range: [[u8; 16]; 2]) -> Result<(usize, usize)>;
}
