//! The journal of `fjall` 3, read to find the end of its last whole batch.
//!
//! A batch is a start marker, items and an end marker; all numbers have their lowest byte first.
//!
//! | part | bytes |
//! |---|---|
//! | start | `1`, count of items: 4, sequence number: 8 |
//! | item | `2`, kind: 1, compression: 1, table: 8, key length: 2, value length: 4, the same on disk: 4, key, value |
//! | item | `4`, table: 8 (the table is emptied) |
//! | end | `3`, XXH3-64 of the items: 8, `FJL` and the version: 4 |
//!
//! The file is allocated ahead, so zeroes follow the last batch; a torn write leaves anything there.
//! `fjall` cuts off a batch that ends too early, but refuses to open a journal with a batch whose
//! checksum is wrong, and does not check the sequence number. So the store reads its journals before
//! `fjall` does.

use std::io::{self, ErrorKind, Read};

use xxhash_rust::xxh3::Xxh3;

use super::rows::{self, Meta};

/// The markers that a part begins with.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// What an end marker ends with.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// A value, and the two ways to delete one.
const KINDS: [u8; 3] = [0, 1, 2];
/// The most a sequence number may be where the one before it is not known. `fjall` keeps those from
/// `1 << 63` for itself. Not next to a power of two: a number with one wrong bit goes on from there.
const LAST_SEQUENCE: u64 = 3 << 61;
/// Far above any distance between the sequence numbers of two batches.
const LONGEST_LEAP: u64 = 1 << 32;
/// Values up to this length, in bytes, are looked into. The row about the store is shorter.
const SHORT: usize = 256;

/// Where journals that were read end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The end of the last whole batch, in bytes from the beginning of its file.
    pub offset: u64,
    /// How many batches the file has up to there.
    pub batches: u64,
    /// The sequence number of the last batch of all files.
    sequence: Option<u64>,
    /// How often the store had been written when the last batch was, as that says.
    pub writes: Option<u64>,
}

/// Why reading stops.
enum Stop {
    /// There is no whole batch that can follow.
    NoBatch,
    Disk(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::NoBatch,
            _ => Self::Disk(error),
        }
    }
}

/// Reads a journal to the end of its last whole batch. `before` is where the journal before it ends:
/// batches have to follow from it. A batch of a later write than `limit` is read as if it were torn.
///
/// It needs the same memory for any journal.
///
/// # Errors
///
/// Those of the reader. Bytes that are not a batch end the journal, and are not an error.
pub fn read(journal: impl Read, before: End, limit: Option<u64>) -> io::Result<End> {
    let mut end = End { offset: 0, batches: 0, ..before };
    let mut journal = Journal { bytes: journal, at: 0 };
    loop {
        match journal.batch(&mut end, limit) {
            Ok(()) => {}
            Err(Stop::NoBatch) => return Ok(end),
            Err(Stop::Disk(error)) => return Err(error),
        }
    }
}

struct Journal<R> {
    bytes: R,
    /// How many bytes were taken.
    at: u64,
}

impl<R: Read> Journal<R> {
    /// Moves `end` behind the next batch, if it is whole and can follow.
    fn batch(&mut self, end: &mut End, limit: Option<u64>) -> Result<(), Stop> {
        is(self.take()? == [START])?;
        let items = u32::from_le_bytes(self.take()?);
        // The checksum does not cover this number.
        let sequence = u64::from_le_bytes(self.take()?);
        is(items > 0 && follows(sequence, end.sequence))?;
        let mut checksum = Xxh3::new();
        let mut writes = None;
        for _ in 0..items {
            writes = self.item(&mut checksum)?.or(writes);
        }
        is(self.take()? == [END])?;
        is(u64::from_le_bytes(self.take()?) == checksum.digest())?;
        is(self.take()? == TRAILER)?;
        is(limit.is_none_or(|limit| writes.is_none_or(|writes| writes <= limit)))?;
        // Each batch counts the writes. Where the count leaps between two files, batches are missing;
        // within a file they cannot be, for what follows damage is not read.
        if let (0, Some(before), Some(now)) = (end.batches, end.writes, writes) {
            is(now == before || Some(now) == before.checked_add(1))?;
        }
        *end = End {
            offset: self.at,
            batches: end.batches + 1,
            sequence: Some(sequence),
            writes: writes.or(end.writes),
        };
        Ok(())
    }

    /// Reads an item; gives the number of writes if it is the row about the store.
    fn item(&mut self, checksum: &mut Xxh3) -> Result<Option<u64>, Stop> {
        let marker = self.take()?;
        checksum.update(&marker);
        if marker == [CLEAR] {
            checksum.update(&self.take::<8>()?);
            return Ok(None);
        }
        is(marker == [ITEM])?;
        let head: [u8; 20] = self.take()?;
        checksum.update(&head);
        let [kind, compression, _, _, _, _, _, _, _, _, k0, k1, lengths @ ..] = head;
        let [v0, v1, v2, v3, d0, d1, d2, d3] = lengths;
        let key = usize::from(u16::from_le_bytes([k0, k1]));
        let value = u32::from_le_bytes([v0, v1, v2, v3]);
        // This build of `fjall` compresses nothing.
        let plain = compression == 0 && value == u32::from_le_bytes([d0, d1, d2, d3]);
        is(KINDS.contains(&kind) && plain)?;
        let key = self.pass(key, checksum)?;
        let value = self.pass(value as usize, checksum)?;
        let meta = (key.as_deref() == Some(rows::META)).then_some(value).flatten();
        Ok(meta.and_then(|meta| Meta::decode(&meta).ok().flatten()).map(|meta| meta.writes))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut bytes = [0; N];
        self.bytes.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    /// Passes over that many bytes, which the checksum covers; gives them if they are few.
    fn pass(&mut self, len: usize, checksum: &mut Xxh3) -> Result<Option<Vec<u8>>, Stop> {
        let mut buffer = [0; 4096];
        let mut left = len;
        while left > 0 {
            let piece = &mut buffer[..left.min(4096)];
            self.bytes.read_exact(piece)?;
            checksum.update(piece);
            left -= piece.len();
        }
        self.at += len as u64;
        Ok((len <= SHORT).then(|| buffer[..len].to_vec()))
    }
}

fn is(so: bool) -> Result<(), Stop> {
    if so { Ok(()) } else { Err(Stop::NoBatch) }
}

/// Whether a batch with this sequence number can come after one with that number.
fn follows(sequence: u64, before: Option<u64>) -> bool {
    match before {
        Some(before) => sequence > before && sequence - before < LONGEST_LEAP,
        None => sequence <= LAST_SEQUENCE,
    }
}
