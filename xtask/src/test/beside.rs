//! What is compiled and looked at while tests run, which wait for events most of their time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Signal, kill_current_process_group};

use super::{BESIDE, Step, run_step};
use crate::prepare::{self, Need};
use crate::shell;

/// The other program, with the lowest priority and a process group of its own.
pub(super) struct Beside {
    child: Child,
    began: Instant,
}

impl Beside {
    /// Has `this` program run the steps. They end with the one that calls it, however that ends, for they read from it.
    pub(super) fn start(this: &Path) -> Result<Self> {
        let log = log()?;
        eprintln!("$ nice -n 19 cargo xtask beside > {} &", log.display());
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = shell::command("nice", ["-n", "19"]);
        command.arg(this).arg("beside").stdin(Stdio::piped());
        command.stdout(file.try_clone()?).stderr(file);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().context("`nice` did not start")?;
        Ok(Self { child, began: Instant::now() })
    }

    /// Fails when one of its steps has failed.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().context("what runs beside")? {
            Some(status) if !status.success() => fail(),
            _ => Ok(()),
        }
    }

    /// Waits for the rest of them, and shows what passed.
    pub(super) fn wait(mut self) -> Result<()> {
        eprintln!("\n=== waiting for the steps that run beside the others");
        // Not `wait`, which would close the pipe first.
        let status = loop {
            match self.child.try_wait().context("what runs beside")? {
                Some(status) => break status,
                None => thread::sleep(Duration::from_millis(100)),
            }
        };
        if !status.success() {
            return fail();
        }
        let said = std::fs::read_to_string(log()?)?;
        said.lines().filter(|line| line.starts_with("===")).for_each(|line| eprintln!("{line}"));
        eprintln!("=== beside: passed in {:.1} s", self.began.elapsed().as_secs_f64());
        Ok(())
    }
}

fn fail() -> Result<()> {
    eprintln!("\n{}", std::fs::read_to_string(log()?)?);
    bail!("a step that ran beside the others failed: see above")
}

/// Of a run that has failed nothing goes on.
impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn log() -> Result<PathBuf> {
    Ok(shell::target()?.join("beside.log"))
}

/// `cargo xtask beside`: runs the steps until the one that started it is gone.
pub(crate) fn run() -> Result<()> {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        // All that was started here: cargo, the compiler, what is fuzzed.
        let _ = kill_current_process_group(Signal::TERM);
    });
    // The one tool that takes long to build and that tests want.
    prepare::prepare(&[Need::WasmBindgen])?;
    BESIDE.iter().try_for_each(|step: &Step| run_step(step, false))
}
