//! A process as the system sees it, from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

use crate::Result;

/// A process by its number.
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn new(number: u32) -> Self {
        Self(number)
    }

    /// The CPU time that it has used, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The name in parentheses may hold anything; utime and stime are fields 14 and 15.
        let fields = stat.rsplit_once(')').ok_or("the name is missing")?.1.split_whitespace();
        let ticks = fields.skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        let per_second = u32::try_from(rustix::param::clock_ticks_per_second())?;
        Ok(Duration::from_secs(1) / per_second * ticks)
    }

    /// The memory that it holds, in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most memory that it has held, in bytes.
    pub(crate) fn peak(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("not told")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }
}
