//! The project's own commands: `cargo xtask --help`.

#![expect(clippy::print_stderr, reason = "a developer watches it")]

mod autobahn;
mod bench;
mod chaos;
mod conformance;
mod features;
mod fuzz;
mod idle;
mod interop;
mod micro;
mod page;
mod prepare;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must pass before a change is merged
    Test(test::Options),
    /// Write docs/conformance.md: which test shows which rule of the standards
    Conformance(conformance::Options),
    /// Fuzz for long; `cargo xtask test fuzz` does it for a few seconds
    Fuzz(fuzz::Options),
    /// Measure what an idle connection costs the server
    Idle(idle::Options),
    /// Measure Sockeye beside its peers and the limits of the machine
    Bench(bench::Options),
    /// Time the pieces that messages pass through, or count their instructions
    Micro(micro::Options),
    /// Hop, cut and kill for long, and count what is lost, repeated or out of order
    Chaos(chaos::Options),
    /// Run all clients and servers of others that are tried, for `docs/works-with.md`
    Interop(interop::Options),
    /// Run the Autobahn test suite on our server and our client, for `docs/autobahn.md`
    Autobahn(autobahn::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Conformance(options) => conformance::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Idle(options) => idle::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Micro(options) => micro::run(&options),
        Command::Chaos(options) => chaos::run(&options),
        Command::Interop(options) => interop::run(&options),
        Command::Autobahn(options) => autobahn::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
