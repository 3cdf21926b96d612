//! The libraries with other features than the tests build them with, and on another system.

use anyhow::Result;

use crate::shell;

const WINDOWS: &str = "x86_64-pc-windows-gnu";

/// Checks that no set of features has a warning: none, each feature alone, and each two of
/// them; the step `clippy` has all. Development dependencies add none, since no test is built.
pub(crate) fn powerset() -> Result<()> {
    check("hack clippy", "--feature-powerset --depth 2 --skip default", LIBRARIES)
}

/// Checks the libraries for Windows, with all features and with none. Nothing is run there.
pub(crate) fn windows() -> Result<()> {
    if !shell::succeeds(&mut shell::command("rustup", ["target", "add", WINDOWS])) {
        eprintln!("`rustup target add {WINDOWS}` fails: nothing is checked for Windows");
        return Ok(());
    }
    let target = format!("--target {WINDOWS}");
    check("clippy", &format!("{target} --all-features"), LIBRARIES)?;
    check("clippy", &format!("{target} --no-default-features"), "-p sockeye-proto -p sockeye")
}

const LIBRARIES: &str = "-p sockeye-proto -p sockeye -p sockeye-hub -p sockeye-server";

/// Looks for errors and warnings in the libraries. Clippy, because its way to forbid warnings concerns
/// the workspace alone: `RUSTFLAGS` would have all dependencies built once more.
fn check(command: &str, options: &str, packages: &str) -> Result<()> {
    let line = format!("{command} --quiet --lib {options} {packages} -- --deny warnings");
    shell::run(&mut shell::cargo(line.split(' ')))
}
