//! `cargo xtask miri`, and the step of that name: the tests of the code that has `unsafe`, under Miri, which
//! finds undefined behaviour.
//!
//! It needs the nightly compiler with two components, and interprets the program, which is hundreds of times
//! slower than running it: the tests try fewer cases there (`cfg!(miri)`).

use anyhow::{Result, ensure};

use crate::shell;

/// Where `unsafe` is: the modules of `sockeye-proto` whose tests are run. The one of `sockeye` (`ring/kernel.rs`) is about what
/// the kernel does, which Miri does not have.
const MODULES: [&str; 3] = ["mask::", "text::", "utf8::"];
/// How often a property is tried: each try takes seconds here.
const CASES: &str = "4";
/// What Miri has no registers for unless it is told.
const AVX2: &str = "-Ctarget-feature=+avx2";

/// Whether Miri is there.
pub(crate) fn is_installed() -> bool {
    shell::succeeds(&mut without_choice(shell::cargo(["+nightly", "miri", "--version"])))
}

/// Runs those tests, or says what is missing for it; then masking again with the wide registers that are
/// used where the processor has them.
pub(crate) fn run() -> Result<()> {
    ensure!(
        is_installed(),
        "Miri is not installed, so NOTHING WAS CHECKED. Install it with:\n\n    \
         rustup toolchain install nightly --component miri,rust-src\n"
    );
    shell::run(&mut miri(&MODULES))?;
    match cfg!(target_arch = "x86_64") {
        true => shell::run(miri(&["mask::"]).env("RUSTFLAGS", AVX2)),
        false => Ok(()),
    }
}

fn miri(modules: &[&str]) -> std::process::Command {
    let args = ["+nightly", "miri", "test", "-p", "sockeye-proto", "--lib", "--"];
    let mut miri = without_choice(shell::cargo(args.into_iter().chain(modules.iter().copied())));
    // The tests read the file of proptest's failures, which Miri keeps from them otherwise.
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", CASES);
    miri
}

/// The cargo that runs this program has chosen a compiler, which is not the nightly one.
fn without_choice(mut command: std::process::Command) -> std::process::Command {
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC").env_remove("CARGO");
    command
}
