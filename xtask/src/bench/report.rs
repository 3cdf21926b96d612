//! The tables: medians, and their ratios to the limit.

use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};

use super::cases::Case;
use super::measure::Sample;
use crate::shell;

/// All samples of one case.
pub(super) struct Table {
    title: &'static str,
    goal: Option<f64>,
    rows: Vec<(&'static str, Vec<Sample>)>,
}

/// Between these lines the tables stand in `docs/performance.md`.
const BEGIN: &str = "<!-- written by `cargo xtask bench --write` -->\n";
const END: &str = "<!-- end of what `cargo xtask bench` writes -->\n";

impl Table {
    pub(super) fn new(case: &Case) -> Self {
        Self { title: case.title, goal: case.goal, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, server: &'static str, sample: Sample) {
        match self.rows.iter_mut().find(|(name, _)| *name == server) {
            Some((_, samples)) => samples.push(sample),
            None => self.rows.push((server, vec![sample])),
        }
    }

    /// What the others are compared with: the limit, or else the first.
    fn reference(&self) -> f64 {
        self.rows.first().map_or(f64::NAN, |(_, samples)| median(samples, |sample| sample.cpu_us))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        if let Some(goal) = self.goal {
            writeln!(f, "To be reached by sockeye: at most {goal:.2}.\n")?;
        }
        let has_wire = self.rows.iter().any(|(_, samples)| samples[0].wire.is_some());
        let (wire, rule) = if has_wire { (" B on the wire |", "---|") } else { ("", "") };
        writeln!(f, "| server | CPU, µs | ratio | per second | p99, µs |{wire}")?;
        writeln!(f, "|---|---|---|---|---|{rule}")?;
        let reference = self.reference();
        for (name, samples) in &self.rows {
            let cpu = median(samples, |sample| sample.cpu_us);
            let rate = median(samples, |sample| sample.per_second);
            let p99 = median(samples, |sample| sample.p99_us);
            write!(f, "| {name} | {cpu:.2} | {:.2} | {rate:.0} | {p99:.0} |", cpu / reference)?;
            if has_wire {
                write!(f, " {:.0} |", median(samples, |sample| sample.wire.unwrap_or(f64::NAN)))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// Puts the tables into `docs/performance.md`, with the machine and the command.
pub(super) fn write(tables: &[Table], command: &str) -> Result<()> {
    let path = shell::root().join("docs/performance.md");
    let page = fs::read_to_string(&path)?;
    let marked = || {
        let (before, rest) = page.split_once(BEGIN)?;
        Some((before, rest.split_once(END)?.1))
    };
    let (before, after) = marked().context("docs/performance.md has lost its marks")?;
    let tables: String = tables.iter().map(|table| format!("{table}\n")).collect();
    let machine = machine()?;
    fs::write(
        &path,
        format!("{before}{BEGIN}\n{machine}\n\n```sh\n{command}\n```\n\n{tables}{END}{after}"),
    )
    .context("docs/performance.md can not be written")
}

/// The day, the machine and the compiler.
fn machine() -> Result<String> {
    let day = shell::output(&mut shell::command("date", ["+%-d %B %Y"]))?;
    let kernel = shell::output(&mut shell::command("uname", ["-sr"]))?;
    // What a vendor has added says nothing to others.
    let kernel = kernel.split('-').next().unwrap_or_default();
    let compiler = shell::output(&mut shell::command("rustc", ["--version"]))?;
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> =
        info.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model = models.first().map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    Ok(format!("{day}; {} × {model}; {kernel}; {compiler}; release profile.", models.len()))
}
