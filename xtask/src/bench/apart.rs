//! What is measured apart, by programs of the tests that start their servers themselves: a cluster beside a bare client
//! of NATS, and durable publications. Each has a part of the page of its own.

use std::process::Command;

use anyhow::{Result, ensure};

use super::{Options, on_processor};
use crate::prepare::{self, Need};
use crate::{page, shell};

/// Something that is measured apart.
pub(super) struct Apart {
    /// What it is asked for by.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    needs: &'static [Need],
    /// The program of the tests that measures it, in `target/release`.
    program: &'static str,
    /// The names that the program has for its tables; none if there is one table.
    tables: &'static [&'static str],
    /// Whether the program runs on the second processor: it has its servers run on the first.
    is_on_one_processor: bool,
}

/// All of it.
pub(super) const APART: &[Apart] = &[
    Apart {
        name: "cluster",
        title: "A cluster: latency, processor time, fan-out and publishing; 100,000 channels",
        needs: &[Need::Python],
        program: "measure-cluster",
        tables: &["latency", "cpu", "fanout", "rate", "batches", "many", "presence"],
        is_on_one_processor: false,
    },
    Apart {
        name: "publish",
        title: "Durable publications over each road, beside NATS JetStream and Redis Streams",
        needs: &[Need::Python, Need::Redis],
        program: "measure-publish",
        tables: &[],
        is_on_one_processor: true,
    },
];

impl Apart {
    /// What of it is asked for, if anything.
    pub(super) fn wanted(options: &Options) -> Option<&'static Self> {
        APART.iter().find(|apart| options.cases.iter().any(|name| name == apart.name))
    }

    /// Builds what is measured, measures one table after the other, and writes each down when it is there, if asked to.
    /// One that fails is left out, and the others go on.
    pub(super) fn run(&self, options: &Options) -> Result<()> {
        let name = self.name;
        ensure!(
            options.cases.len() == 1,
            "`{name}` is measured alone: it has a part of the page of its own"
        );
        ensure!(options.servers.is_empty(), "`{name}` has its own servers");
        prepare::prepare(self.needs)?;
        let packages = ["--package", "sockeye-cli", "--package", "sockeye-tests"];
        shell::run(shell::cargo(["build", "--release", "--bins"]).args(packages))?;
        let (rounds, seconds) = options.length();
        let command = format!("cargo xtask bench {name} --rounds {rounds} --seconds {seconds}");
        let (mut tables, mut failed) = (String::new(), Vec::new());
        let asked: Vec<&[&str]> = match self.tables {
            [] => vec![&[]],
            tables => tables.chunks(1).collect(),
        };
        for table in asked {
            let title = table.first().copied().unwrap_or(name);
            eprintln!("measuring {title}");
            let mut measure = self.command()?;
            measure.args([rounds.to_string(), seconds.to_string()]).args(table);
            match shell::output(&mut measure) {
                Ok(text) => {
                    eprintln!("\n{text}\n");
                    tables += &format!("{text}\n\n");
                }
                Err(error) => {
                    eprintln!("{title}: {error:#}");
                    failed.push(title);
                }
            }
            if options.write && !tables.is_empty() {
                page::write(&format!("bench {name}"), &command, &tables)?;
            }
        }
        ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
        Ok(())
    }

    fn command(&self) -> Result<Command> {
        let program = shell::target()?.join("release").join(self.program);
        let program = program.to_string_lossy();
        Ok(match self.is_on_one_processor {
            true => on_processor("1", &program),
            false => shell::command(&program, []),
        })
    }
}
