//! `cargo xtask bench cluster`: what a cluster costs beside a bare client of NATS, on servers of the tests.

use anyhow::{Result, ensure};

use super::Options;
use crate::prepare::{self, Need};
use crate::{page, shell};

/// What it is asked for by.
pub(super) const NAME: &str = "cluster";
pub(super) const TITLE: &str =
    "A cluster: latency, processor time, fan-out and publishing; 100,000 channels";

/// The tables, by the names that `measure-cluster` has for them.
const TABLES: [&str; 7] = ["latency", "cpu", "fanout", "rate", "batches", "many", "presence"];

/// Builds what is measured, measures one table after the other, and writes each down when it is there, if asked to. One
/// that fails is left out, and the others go on.
pub(super) fn run(options: &Options) -> Result<()> {
    ensure!(
        options.cases.len() == 1,
        "`cluster` is measured alone: it has a part of the page of its own"
    );
    ensure!(options.servers.is_empty(), "`cluster` has its own servers");
    prepare::prepare(&[Need::Python])?;
    let packages = ["--package", "sockeye-cli", "--package", "sockeye-tests"];
    shell::run(shell::cargo(["build", "--release"]).args(packages))?;
    let (rounds, seconds) = options.length();
    let command = format!("cargo xtask bench cluster --rounds {rounds} --seconds {seconds}");
    let (mut tables, mut failed) = (String::new(), Vec::new());
    for table in TABLES {
        eprintln!("measuring {table}");
        let measure = ["run", "--quiet", "--release", "--package", "sockeye-tests", "--bin"];
        let mut measure = shell::cargo(measure);
        measure.args(["measure-cluster", &rounds.to_string(), &seconds.to_string(), table]);
        match shell::output(&mut measure) {
            Ok(text) => {
                eprintln!("\n{text}\n");
                tables += &format!("{text}\n\n");
            }
            Err(error) => {
                eprintln!("{table}: {error:#}");
                failed.push(table);
            }
        }
        if options.write && !tables.is_empty() {
            page::write("bench cluster", &command, &tables)?;
        }
    }
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}
