//! A server that is measured: a process on loopback, with files that go when it does.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell;

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs. Killed when dropped, as by a crash: no client is told.
pub(crate) struct Running {
    child: Child,
    folder: PathBuf,
    port: u16,
    worker: u32,
}

impl Running {
    /// Waits until its port is answered.
    pub(super) fn listening(name: &str, child: Child, folder: PathBuf, port: u16) -> Result<Self> {
        let mut running = Self { worker: child.id(), child, folder, port };
        running.wait().with_context(|| format!("{name} does not listen"))?;
        Ok(running)
    }

    /// Of nginx it is the worker that works.
    pub(super) fn of_nginx(mut self) -> Result<Self> {
        self.worker = self.only_child()?;
        Ok(self)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The same, with the address.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process that does the work.
    pub(super) fn worker(&self) -> u32 {
        self.worker
    }

    /// Waits until its port is answered.
    fn wait(&mut self) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            ensure!(begun.elapsed() < PATIENCE, "there is no answer");
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The worker of nginx, which begins to work a moment after its port is open.
    fn only_child(&self) -> Result<u32> {
        let master = self.child.id();
        let begun = Instant::now();
        loop {
            let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
            if let Some(first) = children.split_whitespace().next() {
                return Ok(first.parse()?);
            }
            ensure!(begun.elapsed() < PATIENCE, "nginx has no worker");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // nginx leaves its worker behind; while it lives it would start another one.
        if self.worker != self.child.id() {
            shell::succeeds(&mut shell::command("kill", ["-KILL", &self.worker.to_string()]));
        }
        // Another one may want the port at once, and a worker takes a moment to end.
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
