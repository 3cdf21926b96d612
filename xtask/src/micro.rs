//! `cargo xtask micro`: the pieces that messages pass through, timed or counted one by one.

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;

use crate::prepare::{self, Need};
use crate::{page, shell};

/// The program that runs callgrind for `benches/micro`, of the version that its library has there.
const RUNNER: Need = Need::CargoTool("gungraun-runner@0.20.0");

/// What `cargo xtask micro` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the pieces whose names have this in them
    filter: Option<String>,
    /// Count instructions with callgrind, which nothing else on the machine disturbs, instead of
    /// measuring time
    #[arg(long)]
    count: bool,
    /// Also write the counts into docs/internals/performance.md
    #[arg(long, requires = "count", conflicts_with = "filter")]
    write: bool,
}

/// Times the pieces, or counts their instructions.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.count {
        let mut bench = bench("time")?;
        bench.args(&options.filter);
        return shell::run(&mut bench);
    }
    prepare::prepare(&[Need::Valgrind, RUNNER])?;
    let filter = options.filter.as_deref().unwrap_or_default();
    let table = table(&counts(filter)?);
    eprintln!("\n{table}");
    if options.write {
        page::write("micro --count", "cargo xtask micro --count", &table)?;
    }
    Ok(())
}

/// One of the two programs of `benches/micro`, to be built and run.
fn bench(name: &str) -> Result<Command> {
    let args = ["bench", "--manifest-path", "benches/micro/Cargo.toml", "--bench", name, "--"];
    let mut bench = shell::cargo(args);
    // Together with everything else that is built, and not in a folder of its own.
    bench.env("CARGO_TARGET_DIR", shell::target()?);
    Ok(bench)
}

/// How many instructions each piece takes.
fn counts(filter: &str) -> Result<Vec<(String, u64)>> {
    let summaries = shell::output(bench("count")?.arg("--output-format=json"))?;
    let count = |line: &str| {
        let summary: Value =
            serde_json::from_str(line).context("the runner's output is not JSON")?;
        let words = [&summary["function_name"], &summary["id"]].map(|name| name.as_str());
        let name = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let name = name.replace('_', " ").replace("kib", "KiB").replace("mib", "MiB");
        Ok((name, instructions(&summary).context("a summary has no count of instructions")?))
    };
    let all: Vec<_> = summaries.lines().map(count).collect::<Result<_>>()?;
    Ok(all.into_iter().filter(|(name, _)| name.contains(filter)).collect())
}

/// What callgrind counted while the piece ran.
fn instructions(summary: &Value) -> Option<u64> {
    let profile = summary["profiles"].as_array()?.first()?;
    profile["data"]["total"]["metrics"]["Ir"]["values"]["new"].as_u64()
}

fn table(counts: &[(String, u64)]) -> String {
    let rows = counts.iter().map(|(name, count)| format!("| {name} | {count} |\n"));
    format!("| piece | instructions |\n|---|---|\n{}", rows.collect::<String>())
}
