//! `cargo xtask fuzz`: the targets of `fuzz/`, for as long as one likes.

use std::num::NonZero;
use std::process::Command;
use std::sync::Mutex;
use std::{iter, thread};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::prepare::{self, Need};
use crate::shell;

/// Long enough to catch what breaks at once, short enough for every test run.
const BRIEF_SECONDS: u64 = 5;

/// What `cargo xtask fuzz` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// The target to fuzz; all of them, one after another, when none is named
    target: Option<String>,
    /// How long to fuzz each target
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

/// Fuzzes for long.
pub(crate) fn run(options: &Options) -> Result<()> {
    prepare::prepare(&[Need::CargoTool("cargo-fuzz")])?;
    match &options.target {
        Some(target) => fuzz(target, options.seconds),
        None => fuzz_all(options.seconds),
    }
}

/// Fuzzes every target for a few seconds, one on each processor: the step of `cargo xtask test`.
pub(crate) fn briefly() -> Result<()> {
    shell::run(&mut cargo_fuzz("build"))?;
    let targets = Mutex::new(targets()?.into_iter());
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let next = || targets.lock().expect("no target panics").next();
    let work = || iter::from_fn(next).try_for_each(|target| fuzz_quietly(&target));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no target panics"))
    })
}

fn fuzz_all(seconds: u64) -> Result<()> {
    targets()?.iter().try_for_each(|target| fuzz(target, seconds))
}

fn targets() -> Result<Vec<String>> {
    let targets = shell::output(&mut shell::cargo(["fuzz", "list"]))?;
    ensure!(!targets.is_empty(), "fuzz/ has no targets");
    Ok(targets.lines().map(str::to_owned).collect())
}

fn fuzz(target: &str, seconds: u64) -> Result<()> {
    shell::run(fuzzing(&mut cargo_fuzz("run"), target, seconds))
}

/// What a target prints is shown when it has failed.
fn fuzz_quietly(target: &str) -> Result<()> {
    eprintln!("fuzzing {target} for {BRIEF_SECONDS} s");
    let output = fuzzing(&mut cargo_fuzz("run"), target, BRIEF_SECONDS).output();
    let output = output.with_context(|| format!("{target} did not start"))?;
    ensure!(output.status.success(), "{target}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn fuzzing<'a>(command: &'a mut Command, target: &str, seconds: u64) -> &'a mut Command {
    command.args([target, "--", &format!("-max_total_time={seconds}")])
}

/// Sanitizers are a nightly feature of the compiler. Where there is no nightly, the stable one is
/// asked to offer it all the same.
fn cargo_fuzz(command: &str) -> Command {
    let mut cargo = shell::command("cargo", []);
    if shell::succeeds(&mut shell::cargo(["+nightly", "--version"])) {
        cargo.arg("+nightly");
    } else {
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    cargo.args(["fuzz", command]);
    cargo
}
