//! A server under load, on the first processor, with its files on the disk of the build directory; and what it has
//! used.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sockeye_testing::eventually;
use sockeye_tests::build_directory;
use sockeye_tests::program::{self, Sockeye};
use sockeye_tests::streams::free_address;
use tempfile::TempDir;

use crate::{nats, redis};

/// A kind of server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// `sockeye serve --data`.
    Sockeye,
    /// `sockeye serve`, which keeps nothing.
    InMemory,
    JetStream,
    Redis,
}

/// One that runs. Stopped when dropped.
pub(crate) struct Server {
    running: Running,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

enum Running {
    Sockeye(Sockeye),
    Other(Child),
}

/// What a server has used since it was started.
pub(crate) struct Used {
    /// Of its processor, in microseconds.
    pub(crate) cpu: f64,
    /// How often it has synced, where it says so.
    pub(crate) syncs: Option<f64>,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Self {
        let folder = TempDir::new_in(build_directory()).expect("a directory");
        match kind {
            Kind::Sockeye => {
                let data = folder.path().to_string_lossy().into_owned();
                Self::sockeye(folder, &["--data", &data])
            }
            Kind::InMemory => Self::sockeye(folder, &[]),
            Kind::JetStream => {
                let server = Self::other(folder, nats::command);
                nats::prepare(server.address);
                server
            }
            Kind::Redis => Self::other(folder, redis::command),
        }
    }

    fn sockeye(folder: TempDir, options: &[&str]) -> Self {
        let program = program::path().to_string_lossy().into_owned();
        let serve =
            ["--cpu-list", "0", &program, "serve", "--listen", "127.0.0.1:0", "--admin", "off"];
        let sockeye = Sockeye::serve_by("taskset", &[&serve, options].concat());
        Self { address: sockeye.address(), running: Running::Sockeye(sockeye), folder }
    }

    fn other(folder: TempDir, command: fn(&Path, SocketAddr) -> Command) -> Self {
        let address = free_address();
        let mut command = command(folder.path(), address);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("the server starts");
        let server = Self { running: Running::Other(child), address, folder };
        eventually("a server that listens", || TcpStream::connect(address).is_ok());
        server
    }

    pub(crate) fn used(&self) -> Used {
        let process = match &self.running {
            Running::Sockeye(sockeye) => sockeye.id(),
            Running::Other(child) => child.id(),
        };
        // The store notes how many writes it has acknowledged, each of which was synced.
        let written = fs::read(self.folder.path().join("written")).ok();
        let syncs = written.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        Used { cpu: cpu_time(process), syncs: syncs.map(|syncs| syncs as f64) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Running::Other(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a process and its threads have taken of the processors, in microseconds.
fn cpu_time(process: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1000.0
}
