//! The load, and its figures.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::engine::{Batch, Engine, key};

const CHANNELS: u64 = 2_000;
/// What a channel keeps, in entries, before it is trimmed, some at a time.
const HISTORY: u64 = 100;
const SURPLUS: u64 = 20;
const PAYLOAD: usize = 200;
/// How many publications share a sync, and how many are measured so.
const GROUPS: [(usize, usize); 4] = [(256, 400_000), (64, 50_000), (8, 10_000), (1, 2_000)];

pub fn describe() -> String {
    format!(
        "{CHANNELS} channels with {HISTORY} to {} entries of {PAYLOAD} bytes; half of the \
         publications on a tenth of the channels; each group one synced write",
        HISTORY + SURPLUS
    )
}

/// Publishes, with fewer and fewer publications to a sync.
pub fn write(store: &mut dyn Engine) -> Result<()> {
    let mut channels = vec![(0, 0); CHANNELS as usize];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (group, count) in GROUPS {
        let mut times = Vec::with_capacity(count / group);
        let begin = Instant::now();
        let written = written_bytes();
        for _ in 0..count / group {
            let batch = batch(group, &mut channels, &mut random);
            let begin = Instant::now();
            store.write(&batch)?;
            times.push(begin.elapsed());
        }
        let per_second = count as f64 / begin.elapsed().as_secs_f64();
        let each = (written_bytes() - written) / count as u64;
        times.sort();
        let [middle, late] = [times.len() / 2, times.len() * 99 / 100].map(|index| times[index]);
        println!(
            "  {group:>3} to a sync {per_second:>20.0} /s   sync p50 {:>7.2} ms, p99 {:>7.2} ms   \
             {each:>6} bytes written each",
            millis(middle),
            millis(late),
        );
    }
    Ok(())
}

/// That many publications, and the trimming that they cause.
fn batch(group: usize, channels: &mut [(u64, u64)], random: &mut Random) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..group {
        let some = if random.next() % 2 == 0 { CHANNELS / 10 } else { CHANNELS };
        let channel = random.next() % some;
        let (start, last) = &mut channels[channel as usize];
        *last += 1;
        let payload = (0..PAYLOAD / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        batch.added.push((key(channel, *last), payload));
        if *last - *start > HISTORY + SURPLUS {
            let end = *last - HISTORY + 1;
            batch.removed.push([key(channel, *start), key(channel, end)]);
            *start = end - 1;
        }
    }
    batch
}

/// Reads histories, then deletes nine channels of ten.
pub fn read_and_expire(store: &mut dyn Engine) -> Result<()> {
    let all = |channel| [key(channel, 0), key(channel + 1, 0)];
    let mut times = Vec::new();
    for channel in (0..CHANNELS).step_by(7) {
        let begin = Instant::now();
        let (count, bytes) = store.read(all(channel))?;
        times.push(begin.elapsed());
        ensure!(count as u64 > HISTORY / 2 && bytes == count * PAYLOAD, "entries are missing");
    }
    times.sort();
    line("reading a history, p50", times[times.len() / 2]);
    line("reading a history, p99", times[times.len() * 99 / 100]);

    let begin = Instant::now();
    for first in (0..CHANNELS * 9 / 10).step_by(100) {
        let removed = (first..first + 100).map(all).collect();
        store.write(&Batch { removed, ..Batch::default() })?;
    }
    line("deleting 90 % of the channels", begin.elapsed());
    Ok(())
}

pub fn line(what: &str, time: Duration) {
    println!("  {what:<34} {:>9.2} ms", millis(time));
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What this process has handed to the disk so far.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// The same numbers for every engine (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
