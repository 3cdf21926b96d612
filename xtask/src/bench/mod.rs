//! `cargo xtask bench`: Sockeye beside its peers and the limits of the machine, in one go.
//!
//! Each server runs on one processor and the load on another. The figure is the CPU time that the
//! server's process takes for a message, which a slow load hardly touches; rounds are
//! interleaved, so that what else the machine does meets all alike; medians are compared.

mod cases;
mod measure;
mod report;
mod servers;

use std::process::Command;

use anyhow::Result;
use clap::Args;

use self::cases::{CASES, Case};
use self::measure::measure;
use self::report::Table;
use crate::prepare::{self, Need};
use crate::shell;

/// What `cargo xtask bench` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// The cases to measure; all of them when none is named
    #[arg(value_name = "CASE", value_parser = cases::names())]
    cases: Vec<String>,
    /// How often each server is measured; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// For how many seconds each measurement counts
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Only these servers
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// Also write the tables into docs/performance.md
    #[arg(long)]
    write: bool,
}

/// Measures, prints a table for each case as it is done, and writes them down if asked to.
pub(crate) fn run(options: &Options) -> Result<()> {
    prepare::prepare(&[Need::Node, Need::Python])?;
    shell::run(&mut shell::cargo(["build", "--release", "--package", "sockeye-cli"]))?;
    let peers = ["--release", "--manifest-path", "benches/peers/Cargo.toml"];
    shell::run(shell::cargo(["build"]).args(peers).env("CARGO_TARGET_DIR", shell::target()?))?;
    let mut tables = Vec::new();
    for case in CASES.iter().filter(|case| options.wants(case)) {
        let table = table(case, options)?;
        eprintln!("\n{table}");
        tables.push(table);
    }
    if options.write {
        report::write(&tables, &command_line(options))?;
    }
    Ok(())
}

/// All servers of a case, in turns.
fn table(case: &Case, options: &Options) -> Result<Table> {
    let mut table = Table::new(case);
    for round in 1..=options.rounds {
        for server in case.servers().filter(|server| options.wants_server(server.name)) {
            eprintln!("{} {round}/{}: {}", case.name, options.rounds, server.name);
            table.add(server.name, measure(case, server, options.seconds)?);
        }
    }
    Ok(table)
}

impl Options {
    fn wants(&self, case: &Case) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case.name)
    }

    /// The limit is always measured: the others are told as ratios to it.
    fn wants_server(&self, name: &str) -> bool {
        let is_named = self.servers.iter().any(|wanted| wanted == name);
        self.servers.is_empty() || is_named || name.starts_with("limit")
    }
}

/// The command that measures this again.
fn command_line(options: &Options) -> String {
    let servers = match &*options.servers {
        [] => String::new(),
        servers => format!(" --servers '{}'", servers.join(",")),
    };
    format!(
        "cargo xtask bench --rounds {} --seconds {}{servers}{}",
        options.rounds,
        options.seconds,
        options.cases.iter().map(|name| format!(" {name}")).collect::<String>()
    )
}

/// A command that runs on one processor only.
fn on_processor(number: &str, program: &str) -> Command {
    shell::command("taskset", ["--cpu-list", number, program])
}
