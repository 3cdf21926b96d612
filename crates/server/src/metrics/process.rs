//! What the operating system reports of this process, under the names that Prometheus' own clients use.
//! Empty where it is not reported as on Linux.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// The levels as they were read last.
#[derive(Debug, Default)]
pub(super) struct Process {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge<u64, AtomicU64>,
    virtual_memory: Gauge<u64, AtomicU64>,
    open_fds: Gauge<u64, AtomicU64>,
    max_fds: Gauge<u64, AtomicU64>,
    start: Gauge<f64, AtomicU64>,
}

impl Process {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let process = Self::default();
        if !cfg!(target_os = "linux") {
            return process;
        }
        let registry = registry.sub_registry_with_prefix("process");
        let help = "CPU time of the process, user and system";
        registry.register_with_unit("cpu", help, Unit::Seconds, process.cpu.clone());
        let (resident, virtual_memory) = (process.resident.clone(), process.virtual_memory.clone());
        let help = "Resident memory of the process";
        registry.register_with_unit("resident_memory", help, Unit::Bytes, resident);
        let help = "Address space of the process";
        registry.register_with_unit("virtual_memory", help, Unit::Bytes, virtual_memory);
        registry.register("open_fds", "File descriptors in use", process.open_fds.clone());
        let help = "Limit of file descriptors (RLIMIT_NOFILE)";
        registry.register("max_fds", help, process.max_fds.clone());
        let help = "Start time of the process since the Unix epoch";
        registry.register_with_unit("start_time", help, Unit::Seconds, process.start.clone());
        process
    }

    /// Reads all of them; those that cannot be read stay as they were.
    #[cfg(target_os = "linux")]
    pub(super) fn look(&self) {
        use std::sync::atomic::Ordering::Relaxed;

        use procfs::process::{LimitValue, Process};
        use procfs::{WithCurrentSystemInfo, boot_time_secs, ticks_per_second};

        let Ok(process) = Process::myself() else { return };
        if let Ok(stat) = process.stat() {
            let seconds = |ticks: u64| ticks as f64 / ticks_per_second() as f64;
            self.cpu.inner().store(seconds(stat.utime + stat.stime).to_bits(), Relaxed);
            self.resident.set(stat.rss_bytes().get());
            self.virtual_memory.set(stat.vsize);
            if let Ok(boot) = boot_time_secs() {
                self.start.set(boot as f64 + seconds(stat.starttime));
            }
        }
        if let Ok(count) = process.fd_count() {
            self.open_fds.set(count as u64);
        }
        if let Ok(limits) = process.limits()
            && let LimitValue::Value(max) = limits.max_open_files.soft_limit
        {
            self.max_fds.set(max);
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "the other one uses it")]
    pub(super) fn look(&self) {}
}
