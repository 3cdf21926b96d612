//! `cargo xtask fuzz`: the targets of `fuzz/`, for as long as one likes.

use anyhow::{Result, ensure};
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

/// Fuzzes every target for a few seconds: the step of `cargo xtask test`.
pub(crate) fn briefly() -> Result<()> {
    fuzz_all(BRIEF_SECONDS)
}

fn fuzz_all(seconds: u64) -> Result<()> {
    let targets = shell::output(&mut shell::cargo(["fuzz", "list"]))?;
    ensure!(!targets.is_empty(), "fuzz/ has no targets");
    targets.lines().try_for_each(|target| fuzz(target, seconds))
}

/// Sanitizers are a nightly feature of the compiler. Where there is no nightly, the stable one is
/// asked to offer it all the same.
fn fuzz(target: &str, seconds: u64) -> Result<()> {
    let mut cargo = shell::command("cargo", []);
    if shell::succeeds(&mut shell::cargo(["+nightly", "--version"])) {
        cargo.arg("+nightly");
    } else {
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    let time = format!("-max_total_time={seconds}");
    shell::run(cargo.args(["fuzz", "run", target, "--", &time]))
}
