//! `cargo xtask bench`: Sockeye beside its peers and the limits of the machine, in one go.
//!
//! Each server runs on one processor and the load on another. The figure is the CPU time that the
//! server's process takes for a message, which a slow load hardly touches; rounds are
//! interleaved, so that what else the machine does meets all alike; medians are compared.

mod apart;
pub(crate) mod brokers;
mod cases;
mod measure;
mod reconnect;
mod report;
mod running;
mod servers;
mod versions;

use std::collections::BTreeSet;
use std::io::{Write as _, stdout};
use std::process::Command;

use anyhow::Result;
use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};

use self::apart::{APART, Apart};
use self::cases::{CASES, Case};
use self::measure::measure;
use self::report::Table;
use crate::prepare::{self, Need};
use crate::{page, shell};

/// What `cargo xtask bench` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// The cases to measure; all of them but `cluster` and `publish` when none is named
    #[arg(value_name = "CASE", value_parser = names())]
    cases: Vec<String>,
    /// How often each server is measured; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// For how many seconds each measurement counts
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// One round of a second each: whether all of it works; the figures say little
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Only these servers, by their names in the tables
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = server_names())]
    #[arg(hide_possible_values = true)]
    servers: Vec<String>,
    /// Say which cases there are, with their servers, and measure nothing
    #[arg(long)]
    list: bool,
    /// Also write the tables into docs/internals/performance.md
    #[arg(long)]
    write: bool,
}

/// Measures, prints a table for each case as it is done, and writes them down if asked to.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.list {
        return list();
    }
    if let Some(apart) = Apart::wanted(options) {
        return apart.run(options);
    }
    shell::run(&mut shell::cargo(["build", "--release", "--package", "sockeye-cli"]))?;
    if CASES.iter().any(|case| options.wants(case.name)) {
        build_peers()?;
    }
    brokers::install(options)?;
    reconnect::install(options)?;
    raise_file_limit();
    let versions = versions::all()?;
    let mut text = format!("{versions}\n");
    // A run that is broken off has written what it measured.
    let mut show = |table: String, part: Part| {
        eprintln!("\n{table}");
        let (name, tables) = match part {
            Part::Shared => {
                text = format!("{text}\n{table}");
                ("bench".to_owned(), text.clone())
            }
            Part::BesidePeers(case) => (format!("bench {case}"), format!("{versions}\n\n{table}")),
            Part::Alone(case) => (format!("bench {case}"), table),
        };
        let command = command_line(options, part.case());
        if options.write { page::write(&name, &command, &tables) } else { Ok(()) }
    };
    for case in CASES.iter().filter(|case| options.wants(case.name)) {
        show(table(case, options).to_string(), case.part())?;
    }
    brokers::run(options, &mut show)?;
    reconnect::run(options, show)
}

/// The part of the page that a table belongs to. One that has a part of its own can be measured again without the
/// others.
#[derive(Clone, Copy)]
enum Part {
    /// With the other tables of its kind.
    Shared,
    /// Of its own, by the name of the case, with the versions of the peers.
    BesidePeers(&'static str),
    /// Of its own, by the name of the case.
    Alone(&'static str),
}

impl Part {
    fn case(self) -> Option<&'static str> {
        match self {
            Self::Shared => None,
            Self::BesidePeers(case) | Self::Alone(case) => Some(case),
        }
    }
}

fn list() -> Result<()> {
    let mut out = stdout().lock();
    for case in CASES {
        let servers: Vec<&str> = case.servers().map(|server| server.name).collect();
        writeln!(out, "{:17} {}\n{:17}   {}", case.name, case.title, "", servers.join("; "))?;
    }
    for (name, title) in brokers::titles().chain(reconnect::titles()) {
        writeln!(out, "{name:17} {title}")?;
    }
    for Apart { name, title, .. } in APART {
        writeln!(out, "{name:17} {title}")?;
    }
    Ok(())
}

/// The names of all cases that can be asked for.
fn names() -> clap::builder::PossibleValuesParser {
    let names = CASES.iter().map(|case| case.name).chain(brokers::names());
    let names = names.chain(reconnect::names());
    names.chain(APART.iter().map(|apart| apart.name)).collect::<Vec<_>>().into()
}

/// The names of all servers, as the tables have them.
fn server_names() -> clap::builder::PossibleValuesParser {
    let names = CASES.iter().flat_map(Case::servers).map(|server| server.name);
    let names: BTreeSet<_> = names.chain(brokers::servers()).chain(reconnect::servers()).collect();
    names.into_iter().collect::<Vec<_>>().into()
}

/// Builds the peers, and installs those of Node and Python.
fn build_peers() -> Result<()> {
    prepare::prepare(&[Need::Node, Need::PythonPeers])?;
    for package in ["sockeye-peers", "sockeye-peers-zlib"] {
        let peers = ["--release", "--manifest-path", "benches/peers/Cargo.toml"];
        let mut build = shell::cargo(["build", "--package", package]);
        shell::run(build.args(peers).env("CARGO_TARGET_DIR", shell::target()?))?;
    }
    Ok(())
}

/// Every connection takes a file descriptor of its server, which has the limit of this process.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If not, connections will fail, and say why.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// All servers of a case, in turns. One that fails has a dash in the table, and the others go on.
fn table(case: &'static Case, options: &Options) -> Table {
    let (rounds, seconds) = options.length();
    let mut table = Table::new(case);
    for round in 1..=rounds {
        for server in case.servers().filter(|server| options.wants_server(server.name)) {
            eprintln!("{} {round}/{rounds}: {}", case.name, server.name);
            let measured = measure(case, server, seconds);
            if let Err(error) = &measured {
                eprintln!("{} failed: {error:#}", server.name);
            }
            table.add(server.name, measured);
        }
    }
    table
}

impl Options {
    /// The rounds, and the seconds of each.
    fn length(&self) -> (u64, u64) {
        if self.quick { (1, 1) } else { (self.rounds, self.seconds) }
    }

    fn wants(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case)
    }

    /// The limit is always measured: the others are told as ratios to it.
    fn wants_server(&self, name: &str) -> bool {
        let is_named = self.servers.iter().any(|wanted| wanted == name);
        self.servers.is_empty() || is_named || name.starts_with("limit")
    }
}

/// The command that measures this again: one case, or those that were asked for.
fn command_line(options: &Options, case: Option<&str>) -> String {
    let servers = match &*options.servers {
        [] => String::new(),
        servers => format!(" --servers '{}'", servers.join(",")),
    };
    let (rounds, seconds) = options.length();
    format!(
        "cargo xtask bench --rounds {rounds} --seconds {seconds}{servers}{}",
        match case {
            Some(case) => format!(" {case}"),
            None => options.cases.iter().map(|name| format!(" {name}")).collect::<String>(),
        }
    )
}

/// A command that runs on these processors only: one by its number, or several, as `0,1`.
fn on_processor(numbers: &str, program: &str) -> Command {
    shell::command("taskset", ["--cpu-list", numbers, program])
}
