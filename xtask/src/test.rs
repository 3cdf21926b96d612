//! `cargo xtask test`: the steps that must pass, quick failures first; what only compiles and looks at code, beside the
//! tests of the programs.

pub(crate) mod beside;

use std::num::NonZero;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::beside::Beside;
use crate::docs::{language, links, questions};
use crate::prepare::{self, Need};
use crate::{conformance, dist, features, fuzz, layout, miri, shell};

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

/// The step that is left out of all where its component of the compiler is not there; by its name it fails then.
const MIRI: &str = "miri";

/// The step that is left out of all where the system forbids io_uring, as most containers do; by its name it fails then.
const URING: &str = "uring";

/// Before the tests: the last of them builds what all tests use.
const FIRST: &[Step] = &[
    Step { name: "format", needs: &[], run: format },
    Step { name: "conformance", needs: &[], run: conformance::check },
    Step { name: "build", needs: &[], run: build },
];

/// Beside the tests, in their order. The fuzz targets are last: they go as far as they get in their seconds.
const BESIDE: &[Step] = &[
    Step { name: "clippy", needs: &[], run: clippy },
    Step { name: "features", needs: &[features::HACK], run: features::none },
    Step { name: "wasm", needs: &[], run: features::wasm },
    Step { name: "windows", needs: &[Need::MinGw], run: features::windows },
    Step { name: "doctests", needs: &[], run: doctests },
    Step { name: "docs", needs: &[], run: docs },
    Step { name: "deny", needs: &[Need::CargoTool("cargo-deny")], run: deny },
    Step { name: "fuzz", needs: &[Need::CargoTool("cargo-fuzz")], run: fuzz::briefly },
];

/// The tests of crates and programs, in their order.
const TESTS: &[Step] = &[
    Step { name: "crates", needs: &[NEXTEST], run: crates },
    Step {
        name: "cluster",
        needs: &[
            NEXTEST,
            Need::Curl,
            Need::OpenSsl,
            Need::Python,
            Need::OlderNats,
            Need::ReverseProxies,
        ],
        run: cluster,
    },
    Step { name: URING, needs: &[NEXTEST], run: uring },
    Step {
        name: "program",
        needs: &[NEXTEST, Need::Curl, Need::OpenSsl, Need::Promtool, Need::Shells],
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
            Need::Runtimes,
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
            Need::WasmBindgen,
        ],
        run: browser,
    },
    Step {
        name: "package",
        needs: &[NEXTEST, Need::Binutils, Need::Curl, Need::DebianTools],
        run: package,
    },
    Step { name: MIRI, needs: &[], run: miri::run },
];

/// Runs the steps asked for, in the order given, or all; stops at the first that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    match options.steps.is_empty() {
        true => run_all(options.install)?,
        false => chosen(&options.steps).try_for_each(|step| run_step(step, options.install))?,
    }
    eprintln!("\nall of it passed in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn run_all(may_sudo: bool) -> Result<()> {
    let tests = tests();
    let needing: Vec<_> = tests.iter().copied().chain(BESIDE).map(|step| step.name).collect();
    let ahead = prepare::Ahead::start(&needing, may_sudo)?;
    // The step `build` may put another file there, and this one has no name any more then.
    let this = std::env::current_exe().context("where this program is")?;
    FIRST.iter().try_for_each(|step| run_step(step, may_sudo))?;
    ahead.wait()?;
    let mut beside = Beside::start(&this)?;
    for step in tests {
        let passed = run_step(step, may_sudo);
        // Also where both have failed.
        beside.check()?;
        passed?;
    }
    beside.wait()
}

fn run_step(step: &Step, may_sudo: bool) -> Result<()> {
    eprintln!("\n=== {}", step.name);
    prepare::prepare_with(step.needs, may_sudo)?;
    let start = Instant::now();
    (step.run)().with_context(|| format!("step `{}` failed", step.name))?;
    eprintln!("=== {}: passed in {:.1} s", step.name, start.elapsed().as_secs_f64());
    Ok(())
}

/// What `cargo xtask prepare` is told.
#[derive(Args)]
pub(crate) struct Prepare {
    /// The steps whose needs are installed
    #[arg(value_name = "NAME", value_parser = step_names(), required = true)]
    steps: Vec<String>,
    /// Install missing Debian packages with sudo, where you are not root
    #[arg(long)]
    install: bool,
}

/// Installs what these steps need, all of it at once, but what cargo builds.
pub(crate) fn prepare(options: &Prepare) -> Result<()> {
    let needs = chosen(&options.steps).flat_map(|step| step.needs).copied();
    let needs: Vec<_> = needs.filter(|need| need.is_ahead()).collect();
    prepare::prepare_with(&needs, options.install)
}

/// All steps, in the order in which they would run one after the other.
fn steps() -> impl Iterator<Item = &'static Step> {
    [FIRST, BESIDE, TESTS].into_iter().flatten()
}

fn step_names() -> clap::builder::PossibleValuesParser {
    steps().map(|step| step.name).collect::<Vec<_>>().into()
}

fn chosen(names: &[String]) -> impl Iterator<Item = &'static Step> {
    names.iter().filter_map(|name| steps().find(|step| step.name == name))
}

/// The tests that can run here.
fn tests() -> Vec<&'static Step> {
    let mut left_out = Vec::new();
    if !miri::is_installed() {
        eprintln!("Miri is not installed: the step `{MIRI}` is left out");
        left_out.push(MIRI);
    }
    if !has_uring() {
        eprintln!("this system has no io_uring for us: the step `{URING}` is left out");
        left_out.push(URING);
    }
    TESTS.iter().filter(|step| !left_out.contains(&step.name)).collect()
}

/// Whether the sources are as they should look, and folders import as they may.
fn format() -> Result<()> {
    layout::check()?;
    shell::run(&mut shell::cargo(["fmt", "--all", "--check"]))?;
    shell::run(&mut shell::cargo(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    language::check()
}

fn clippy() -> Result<()> {
    let args = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    shell::run(&mut shell::cargo(args))
}

fn crates() -> Result<()> {
    nextest(&format!("not package(sockeye-tests) - ({CLUSTER})"))
}

/// The tests of the cluster that need servers of NATS.
const CLUSTER: &str = "package(sockeye-cluster) & test(/^on_nats::/)";

/// The short form of the chaos run on a cluster.
const CHAOS: &str = "package(sockeye-tests) & binary(cluster) & test(/^failures::hopping_readers/)";

/// The cluster on three servers of NATS, of which servers and nodes are killed on an older version, too; then the tests
/// of channels once more, with three nodes in the place of each server.
fn cluster() -> Result<()> {
    nextest(CLUSTER)?;
    whole_program("binary(cluster)")?;
    let older = prepare::older_nats()?;
    let version = shell::output(&mut shell::command(&older.to_string_lossy(), ["--version"]))?;
    eprintln!("--- the short form of chaos once more, on {version}");
    shell::run(shell::cargo([]).args(nextest_args(CHAOS)).env("NATS_SERVER", older))?;
    let with_nats = shell::target()?.join("debug/with-nats");
    let mut command = shell::command(&with_nats.to_string_lossy(), ["cargo"]);
    shell::run(command.args(nextest_args(&contract()?)))
}

/// The tests of what is promised to clients, without those that are about one process: a list with the
/// reasons.
fn contract() -> Result<String> {
    let list = std::fs::read_to_string(shell::root().join("tests/cluster/one-process.txt"))?;
    let mut filter = "(package(sockeye-server) & binary(server)) \
                      | (package(sockeye-tests) & binary(push)) \
                      | (package(sockeye-tests) & binary(cli) & test(/^(authorize|publish|subscribe)::/))"
        .to_owned();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.splitn(3, ' ');
        let (Some(binary), Some(test), Some(_)) = (words.next(), words.next(), words.next()) else {
            bail!("tests/cluster/one-process.txt: not a binary, a test and a reason: {line}");
        };
        filter = format!("({filter}) - (binary({binary}) & test(/^{test}/))");
    }
    Ok(filter)
}

/// Whether the system lets this program have io_uring.
fn has_uring() -> bool {
    #[cfg(target_os = "linux")]
    let has = io_uring::IoUring::new(1).is_ok();
    #[cfg(not(target_os = "linux"))]
    let has = false;
    has
}

/// The tests of channels and the short forms of chaos once more, with servers that send by io_uring.
fn uring() -> Result<()> {
    build()?;
    let tests = "(package(sockeye-server) & binary(server)) \
                 | (package(sockeye-tests) & (binary(push) | binary(chaos)))";
    shell::run(shell::cargo([]).args(nextest_args(tests)).env("SOCKEYE_IO", "uring"))
}

fn doctests() -> Result<()> {
    shell::run(&mut shell::cargo(["test", "--workspace", "--doc"]))
}

/// The links of the documents and the files that they name, then the reference: of the libraries alone, for the
/// program `sockeye` has the name of a library.
fn docs() -> Result<()> {
    links::check()?;
    questions::check()?;
    // The private pages first: those of the API are what stays.
    for items in [&["--document-private-items"][..], &[]] {
        let mut doc = shell::cargo(["doc", "--workspace", "--no-deps", "--lib", "--all-features"]);
        shell::run(doc.args(items).env("RUSTDOCFLAGS", "--deny warnings"))?;
    }
    Ok(())
}

/// The program `sockeye` as a whole: its command line, hostile peers, many idle ones.
fn program() -> Result<()> {
    whole_program(
        "not (binary(cluster) | binary(interop) | binary(package) | binary(reverse) | binary(browser))",
    )
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
    features::page()?;
    whole_program("binary(browser)")
}

/// The Debian package, in two versions, of the program as it is built for tests.
fn package() -> Result<()> {
    build()?;
    dist::test_packages()
}

/// The advisories are left to where their database can be had: see `deny.toml`.
fn deny() -> Result<()> {
    shell::run(&mut shell::cargo(["deny", "check", "bans", "licenses", "sources"]))
}

/// Builds the program, then runs tests that start it.
fn whole_program(filter: &str) -> Result<()> {
    build()?;
    nextest(&format!("package(sockeye-tests) & {filter}"))
}

/// Builds the programs with the features that the tests have, too, so that all dependencies are built once.
fn build() -> Result<()> {
    shell::run(&mut shell::cargo(["build", "--workspace", "--bins", "--tests", "--examples"]))
}

/// Always on the whole workspace, so that its crates are built once, with one set of features.
fn nextest(filter: &str) -> Result<()> {
    shell::run(shell::cargo([]).args(nextest_args(filter)))
}

/// Tests wait for events most of their time: three for each processor keep it busy.
fn nextest_args(filter: &str) -> [String; 7] {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = (3 * processors).to_string();
    let args = ["nextest", "run", "--workspace", "--filterset", filter, "--test-threads", &threads];
    args.map(str::to_owned)
}
