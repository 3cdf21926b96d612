//! The project's own commands: `cargo xtask --help`.
//!
//! | folder or file | |
//! |---|---|
//! | `test`, `prepare` | the steps of `cargo xtask test`, and what they need beyond Rust |
//! | `layout` | which folder imports from which, and how long files and functions are: of the step `format` |
//! | `docs` | the documents: links, language, the answers of CONTRIBUTING, the book |
//! | `conformance` | which test shows which rule of the standards |
//! | `features`, `miri`, `fuzz` | other features and systems; `unsafe` under Miri; the fuzz targets |
//! | `interop`, `check_peers`, `autobahn` | clients and servers of others, `sockeye check` on them, the Autobahn suite |
//! | `bench`, `micro`, `idle`, `chaos` | measuring: beside peers, piece by piece, idle connections, what is lost in faults |
//! | `dist` | what is installed: programs, manual, completions, a Debian package |
//! | `page`, `shell` | parts of the page of figures that commands write; running programs |

#![expect(clippy::print_stderr, reason = "a developer watches it")]

mod autobahn;
mod bench;
mod chaos;
mod check_peers;
mod conformance;
mod dist;
mod docs;
mod features;
mod fuzz;
mod idle;
mod interop;
mod layout;
mod micro;
mod miri;
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
    /// Install what steps of the tests need, but what cargo builds: `cargo xtask test` does it while it compiles
    #[command(hide = true)]
    Prepare(test::Prepare),
    /// The steps of the tests that run beside others: `cargo xtask test` starts it
    #[command(hide = true)]
    Beside,
    /// Write docs/internals/conformance.md: which test shows which rule of the standards
    Conformance(conformance::Options),
    /// Make what is installed: static and other programs, manual, completions, a Debian package
    Dist(dist::Options),
    /// Build the documents as a book with a search, into target/book
    Book(docs::book::Options),
    /// What mdBook calls while it builds the book
    #[command(hide = true)]
    BookLinks(docs::book::Preprocess),
    /// Each feature of the program, each two of the libraries, and the tests of the channel server without any
    Features,
    /// Fuzz for long; `cargo xtask test fuzz` does it for a few seconds
    Fuzz(fuzz::Options),
    /// Measure what an idle connection costs the server
    Idle(idle::Options),
    /// Measure Sockeye beside its peers and the limits of the machine
    Bench(bench::Options),
    /// Time the pieces that messages pass through, or count their instructions
    Micro(micro::Options),
    /// Run the tests of code with `unsafe` under Miri, which finds undefined behaviour
    Miri,
    /// Hop, cut and kill for long, and count what is lost, repeated or out of order
    Chaos(chaos::Options),
    /// Run all clients and servers of others that are tried, for `docs/channels/works-with.md`
    Interop(interop::Options),
    /// Run `sockeye check` on servers and clients of others, for `docs/tools/check.md`
    CheckPeers(check_peers::Options),
    /// Run the Autobahn test suite on our server and our client, for `docs/internals/autobahn.md`
    Autobahn(autobahn::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Prepare(options) => test::prepare(&options),
        Command::Beside => test::beside::run(),
        Command::Conformance(options) => conformance::run(&options),
        Command::Dist(options) => dist::run(&options),
        Command::Book(options) => docs::book::run(&options),
        Command::BookLinks(options) => docs::book::preprocess(&options),
        Command::Features => features::run(),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Idle(options) => idle::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Micro(options) => micro::run(&options),
        Command::Miri => miri::run(),
        Command::Chaos(options) => chaos::run(&options),
        Command::Interop(options) => interop::run(&options),
        Command::CheckPeers(options) => check_peers::run(&options),
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

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    /// The lines of the public CI file that begin with this key, without it.
    fn values(key: &str) -> Vec<String> {
        let path = shell::root().join(".github/workflows/ci.yml");
        let file = std::fs::read_to_string(path).expect("the CI file");
        let lines = file.lines().map(|line| line.trim().trim_start_matches("- "));
        lines.filter_map(|line| line.strip_prefix(key)).map(|rest| rest.trim().to_owned()).collect()
    }

    #[test]
    fn public_ci_runs_commands_of_xtask_that_exist_and_nothing_else() {
        let commands = values("xtask:");
        assert!(commands.len() > 4, "{commands:?}");
        for command in commands {
            let words = ["cargo xtask"].into_iter().chain(command.split(' '));
            if let Err(wrong) = Arguments::try_parse_from(words) {
                panic!("{command}: {wrong}");
            }
        }
        let runs = values("run:");
        assert_eq!(runs, ["rustup ${{ matrix.rustup }}", "cargo xtask ${{ matrix.xtask }}"]);
        let wrong = Arguments::try_parse_from(["cargo xtask", "test", "no-such-step"]).err();
        assert_eq!(wrong.map(|wrong| wrong.kind()), Some(ErrorKind::InvalidValue));
    }

    #[test]
    fn public_ci_has_the_oldest_rust_that_the_crates_name() {
        let manifest =
            std::fs::read_to_string(shell::root().join("Cargo.toml")).expect("a manifest");
        let [oldest] = &values("toolchain:")[..] else { panic!("one job has another Rust") };
        assert!(manifest.contains(&format!("rust-version = {oldest}")), "{oldest}");
    }
}
