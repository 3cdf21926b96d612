//! The libraries with other features than the tests build them with, and on other systems.

use anyhow::{Context as _, Result};

use crate::prepare::{self, Need};
use crate::shell;
use crate::test::NEXTEST;

pub(crate) const HACK: Need = Need::CargoTool("cargo-hack");

const WINDOWS: &str = "x86_64-pc-windows-gnu";
const WASM: &str = "wasm32-unknown-unknown";

/// Checks that the lack of all features has no warning, in the libraries and the program; the step `clippy` has all.
/// Development dependencies add none, since no test is built.
pub(crate) fn none() -> Result<()> {
    check("hack clippy", "--lib --no-default-features", LIBRARIES)?;
    check("hack clippy", "--bins --no-default-features", "-p sockeye-cli")
}

/// `cargo xtask features`: each feature of the program and each two of the libraries, and the tests of the channel
/// server without any. Most of it compiles dependencies once more, which takes too long for each test run.
pub(crate) fn run() -> Result<()> {
    prepare::prepare(&[HACK, NEXTEST])?;
    let each = "--bins --each-feature --exclude-all-features --skip default";
    check("hack clippy", each, "-p sockeye-cli")?;
    check("hack clippy", "--lib --feature-powerset --depth 2 --skip default", LIBRARIES)?;
    let servers = "-p sockeye-hub -p sockeye-server -p sockeye-cli";
    let line = format!("nextest run --no-default-features {servers}");
    shell::run(&mut shell::cargo(line.split(' ')))
}

/// Checks the libraries for Windows, with all features and with none. Nothing is run there.
pub(crate) fn windows() -> Result<()> {
    add_target(WINDOWS)?;
    let target = format!("--target {WINDOWS}");
    check("clippy", &format!("--lib {target} --all-features"), LIBRARIES)?;
    check("clippy", &format!("--lib {target} --no-default-features"), "-p sockeye-proto -p sockeye")
}

/// Checks that the protocol does without std: with `no_std` a path into it is an error on any target.
/// And that it compiles where there is no operating system, with std and without; and the client, for browsers.
pub(crate) fn wasm() -> Result<()> {
    check("clippy", "--lib --no-default-features", "-p sockeye-proto")?;
    add_target(WASM)?;
    let target = format!("--target {WASM}");
    check("clippy", &format!("--lib {target} --all-features"), "-p sockeye-proto")?;
    check("clippy", &format!("--lib {target} --no-default-features"), "-p sockeye-proto")?;
    check("clippy", &format!("--lib {target}"), "-p sockeye-client -p sockeye-page")
}

/// Builds the program of a page on the client, for the tests of the browser: into `target/page`.
pub(crate) fn page() -> Result<()> {
    add_target(WASM)?;
    shell::run(&mut shell::cargo(["build", "--target", WASM, "--package", "sockeye-page"]))?;
    let target = shell::target()?;
    let program = target.join(WASM).join("debug/sockeye_page.wasm");
    let mut bind = shell::command("wasm-bindgen", ["--target", "web", "--no-typescript"]);
    shell::run(bind.arg("--out-dir").arg(target.join("page")).arg(program))
}

fn add_target(target: &str) -> Result<()> {
    shell::run(&mut shell::command("rustup", ["target", "add", target]))
        .with_context(|| format!("the standard library for {target} is needed"))
}

const LIBRARIES: &str =
    "-p sockeye-proto -p sockeye -p sockeye-hub -p sockeye-server -p sockeye-client";

/// Looks for errors and warnings in the libraries. Clippy, because its way to forbid warnings concerns
/// the workspace alone: `RUSTFLAGS` would have all dependencies built once more.
fn check(command: &str, options: &str, packages: &str) -> Result<()> {
    let line = format!("{command} --quiet {options} {packages} -- --deny warnings");
    shell::run(&mut shell::cargo(line.split(' ')))
}
