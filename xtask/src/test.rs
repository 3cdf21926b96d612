//! `cargo xtask test`: the steps that must pass, quick failures first.

use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::prepare::{self, Need};
use crate::{conformance, features, fuzz, shell};

/// What `cargo xtask test` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// The steps to run, in the order given; all of them when none is named
    #[arg(value_name = "NAME", value_parser = step_names())]
    steps: Vec<String>,
    /// Install missing Debian packages with sudo, where you are not root
    #[arg(long)]
    install: bool,
}

/// A part of the test run that can be asked for by name.
struct Step {
    name: &'static str,
    needs: &'static [Need],
    run: fn() -> Result<()>,
}

pub(crate) const NEXTEST: Need = Need::CargoTool("cargo-nextest");

/// All steps, in their order.
const STEPS: &[Step] = &[
    Step { name: "format", needs: &[], run: format },
    Step { name: "conformance", needs: &[], run: conformance::check },
    Step { name: "clippy", needs: &[], run: clippy },
    Step { name: "features", needs: &[Need::CargoTool("cargo-hack")], run: features::powerset },
    Step { name: "wasm", needs: &[], run: features::wasm },
    Step { name: "windows", needs: &[Need::MinGw], run: features::windows },
    Step { name: "crates", needs: &[NEXTEST], run: crates },
    Step { name: "doctests", needs: &[], run: doctests },
    Step { name: "docs", needs: &[], run: docs },
    Step {
        name: "program",
        needs: &[NEXTEST, Need::Curl, Need::OpenSsl, Need::Promtool],
        run: program,
    },
    Step {
        name: "interop",
        needs: &[
            NEXTEST,
            Need::Curl,
            Need::Mojolicious,
            Need::Netty,
            Need::Node,
            Need::OpenSsl,
            Need::Peers,
            Need::Proxies,
            Need::Python,
        ],
        run: interop,
    },
    Step { name: "reverse", needs: &[NEXTEST, Need::Curl, Need::ReverseProxies], run: reverse },
    Step {
        name: "browser",
        needs: &[
            NEXTEST,
            Need::Node,
            Need::Chromium,
            Need::Firefox,
            Need::Curl,
            Need::ReverseProxies,
        ],
        run: browser,
    },
    Step { name: "deny", needs: &[Need::CargoTool("cargo-deny")], run: deny },
    Step { name: "fuzz", needs: &[Need::CargoTool("cargo-fuzz")], run: fuzz::briefly },
];

/// Runs the steps asked for, or all; stops at the first that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let steps = chosen(&options.steps);
    let start = Instant::now();
    for step in &steps {
        eprintln!("\n=== {}", step.name);
        prepare::prepare_with(step.needs, options.install)?;
        let start = Instant::now();
        (step.run)().with_context(|| format!("step `{}` failed", step.name))?;
        eprintln!("=== {}: passed in {:.1} s", step.name, start.elapsed().as_secs_f64());
    }
    eprintln!("\n{} steps passed in {:.1} s", steps.len(), start.elapsed().as_secs_f64());
    Ok(())
}

fn step_names() -> clap::builder::PossibleValuesParser {
    STEPS.iter().map(|step| step.name).collect::<Vec<_>>().into()
}

fn chosen(names: &[String]) -> Vec<&'static Step> {
    if names.is_empty() {
        return STEPS.iter().collect();
    }
    names.iter().filter_map(|name| STEPS.iter().find(|step| step.name == name)).collect()
}

fn format() -> Result<()> {
    shell::run(&mut shell::cargo(["fmt", "--all", "--check"]))?;
    shell::run(&mut shell::cargo(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

fn clippy() -> Result<()> {
    let args = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    shell::run(&mut shell::cargo(args))
}

fn crates() -> Result<()> {
    nextest("not package(sockeye-tests)")
}

fn doctests() -> Result<()> {
    shell::run(&mut shell::cargo(["test", "--workspace", "--doc"]))
}

/// Only the libraries: the program `sockeye` has the name of a library.
fn docs() -> Result<()> {
    let mut doc = shell::cargo(["doc", "--workspace", "--no-deps", "--lib", "--all-features"]);
    shell::run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// The program `sockeye` as a whole: its command line, hostile peers, many idle ones.
fn program() -> Result<()> {
    whole_program("not (binary(interop) | binary(reverse) | binary(browser))")
}

/// Real WebSocket clients and servers of other languages and libraries, and proxies.
fn interop() -> Result<()> {
    whole_program("binary(interop)")
}

/// Real proxies in front of the server.
fn reverse() -> Result<()> {
    whole_program("binary(reverse)")
}

/// The console in a real browser.
fn browser() -> Result<()> {
    whole_program("binary(browser)")
}

/// The advisories are left to where their database can be had: see `deny.toml`.
fn deny() -> Result<()> {
    shell::run(&mut shell::cargo(["deny", "check", "bans", "licenses", "sources"]))
}

/// Builds the program, then runs tests that start it.
fn whole_program(filter: &str) -> Result<()> {
    shell::run(&mut shell::cargo(["build", "--workspace"]))?;
    nextest(&format!("package(sockeye-tests) & {filter}"))
}

/// Always on the whole workspace, so that its crates are built once, with one set of features.
fn nextest(filter: &str) -> Result<()> {
    shell::run(&mut shell::cargo(["nextest", "run", "--workspace", "--filterset", filter]))
}
