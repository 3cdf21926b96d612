//! The server's process as the system sees it: CPU time and memory, from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// A process to watch.
#[derive(Debug)]
pub(super) struct Watched {
    pid: u32,
    tick: Duration,
}

/// What a process has used, or used meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// CPU time, user and system, of all its threads.
    pub(super) cpu: Duration,
    /// The memory it holds, in bytes.
    pub(super) resident: u64,
}

impl Watched {
    pub(super) fn new(pid: u32) -> anyhow::Result<Self> {
        let ticks = rustix::param::clock_ticks_per_second();
        let watched = Self { pid, tick: Duration::from_secs(1) / u32::try_from(ticks)? };
        watched.read()?;
        Ok(watched)
    }

    pub(super) fn read(&self) -> anyhow::Result<Usage> {
        let pid = self.pid;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("there is no process {pid} to watch"))?;
        let memory = fs::read_to_string(format!("/proc/{pid}/statm"))?;
        // The name in parentheses may hold anything; utime and stime are fields 14 and 15.
        let ticks = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().skip(11));
        let ticks =
            ticks.into_iter().flatten().take(2).map_while(|field| field.parse::<u32>().ok());
        let pages = memory.split_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok());
        let pages = pages.context("the system does not say how much memory the process holds")?;
        let page = rustix::param::page_size() as u64;
        Ok(Usage { cpu: self.tick * ticks.sum::<u32>(), resident: pages * page })
    }
}

impl Usage {
    /// The CPU time used since then, and the memory held now.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu), resident: self.resident }
    }
}
