//! The program `sockeye`: a channel server, and tools for work with WebSockets.
//!
//! Each command has a file or a folder of its name; the rest is what commands share.
//!
//! | folder or file | |
//! |---|---|
//! | `serve`, `config` | `sockeye serve`, and what it reads again at SIGHUP; its configuration from flags, environment and file |
//! | `echo`, `connect`, `listen`, `check`, `doctor`, `cluster`, `token` | the commands of these names |
//! | `tap` | what passes on a channel or a connection, for operators |
//! | `subscribe`, `publish`, `channel` | a channel as a client sees it: where it is, the transports, positions, tries |
//! | `bench` | `sockeye bench`: load, and what it does to a server |
//! | `help` | completions for shells and pages for man(1), of the same definitions; the examples of the help, run |
//! | `errors` | wrong usage, and why there is no connection: what to do |
//! | `flags` | flags and values that several commands have: compression, certificates, headers, proxies, rates, sizes and times |
//! | `log` | the log on stderr: levels, text or JSON |
//! | `system` | signals, how the program is stopped, processors, files that change |
//! | `terminal` | stdin, stdout and the keyboard; what a peer sent, made harmless |

#![forbid(unsafe_code)]
// What documents an argument is printed as its help.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod channel;
mod check;
#[cfg(feature = "cluster")]
mod cluster;
mod config;
mod connect;
mod doctor;
mod echo;
mod errors;
mod flags;
mod help;
mod listen;
mod log;
mod publish;
mod serve;
mod subscribe;
mod system;
mod tap;
mod terminal;
mod token;

use std::{env, process::ExitCode};

use anyhow::{anyhow, bail};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};

use crate::{
    config::{Shown, Values, environment},
    errors::usage::{self, WrongUsage},
    help::{completions, man},
    log::Log,
    system::signals::ServerSignals,
    terminal::output::{self, OutputError, in_one_line, print_line},
    terminal::prompt,
};

/// WebSockets: a channel server, a client, an echo server.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    Echo(echo::Echo),
    Connect(connect::Connect),
    Listen(Box<listen::Listen>),
    Subscribe(subscribe::Subscribe),
    Publish(publish::Publish),
    Bench(bench::Bench),
    Check(Box<check::Check>),
    Doctor(Box<doctor::Doctor>),
    #[cfg(feature = "cluster")]
    Cluster(cluster::Cluster),
    Tap(tap::Tap),
    Token(token::Token),
    Completions(completions::Completions),
    Man(man::Man),
}

fn main() -> ExitCode {
    // First of all: a server that is told to stop while it starts ends well, too.
    let signals = match env::args_os().nth(1) {
        Some(command) if ["serve", "echo", "listen"].iter().any(|server| command == *server) => {
            ServerSignals::new().map(Some)
        }
        _ => Ok(None),
    };
    // Before the options are built: a default depends on it.
    sockeye::internals::raise_limit();
    let code = signals.map_err(Into::into).and_then(run).unwrap_or_else(|error| conclude(&error));
    // A thread that prints may still hold it.
    prompt::restore();
    code
}

/// Says what went wrong. A reader of the output that has seen enough, such as `head`, is nothing wrong.
fn conclude(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<OutputError>().is_some_and(OutputError::is_closed) {
        return ExitCode::SUCCESS;
    }
    if let Some(wrong) = error.downcast_ref::<WrongUsage>() {
        wrong.complain(Cli::command());
        return ExitCode::from(2);
    }
    output::complain_at_the_end(format_args!("sockeye: {}", in_one_line(error)));
    ExitCode::FAILURE
}

/// The program's arguments with what the file of options says.
struct Parsed {
    program: clap::Command,
    matches: ArgMatches,
    cli: Cli,
}

/// Reads the arguments, the environment and the file of options.
fn parse() -> Result<Parsed, clap::Error> {
    let mut program = environment::without_empty(Cli::command());
    program.build();
    let arguments = config::with_file(&program, env::args_os().collect())?;
    let matches = program.clone().try_get_matches_from(arguments);
    let matches = matches.map_err(|wrong| environment::blame(&program, wrong))?;
    if let Some(("serve", serve)) = matches.subcommand() {
        environment::check(&program, serve)?;
    }
    let cli = Cli::from_arg_matches(&matches)?;
    Ok(Parsed { program, matches, cli })
}

fn run(signals: Option<ServerSignals>) -> anyhow::Result<ExitCode> {
    let parsed = match parse() {
        Ok(parsed) => parsed,
        Err(wrong) => return explain(wrong),
    };
    if let (Some(("serve", matches)), Command::Serve(serve)) =
        (parsed.matches.subcommand(), &parsed.cli.command)
        && let Some(shown) = serve.shown()
    {
        print_line(&match shown {
            Shown::Of(channel) => serve.settings_of(channel)?,
            Shown::All => config::show(&parsed.program, matches),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let log = match &parsed.cli.command {
        Command::Serve(serve) => serve.log().begin()?,
        _ => Log::default().begin()?,
    };
    let values = parsed.values();
    // There are none where the command is not the first argument, which it has to be.
    let signals = || signals.map_or_else(ServerSignals::new, Ok);
    match parsed.cli.command {
        Command::Serve(serve) => {
            let is_default = parsed.matches.subcommand().is_some_and(|(_, serve)| {
                serve.value_source("admin") == Some(ValueSource::DefaultValue)
            });
            serve.run(log.set_filter(), values, is_default, signals()?, serve_again)
        }
        Command::Echo(echo) => echo.run(signals()?),
        Command::Connect(connect) => connect.run(),
        Command::Listen(listen) => listen.run(signals()?),
        Command::Subscribe(subscribe) => subscribe.run(),
        Command::Publish(publish) => publish.run(),
        Command::Bench(bench) => bench.run(),
        Command::Check(check) => return check.run(),
        Command::Doctor(doctor) => return doctor.run(),
        #[cfg(feature = "cluster")]
        Command::Cluster(cluster) => cluster.run(),
        Command::Tap(tap) => tap.run(),
        Command::Token(token) => token.run(),
        Command::Completions(completions) => completions.run(Cli::command()),
        Command::Man(man) => man.run(Cli::command()),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What `serve` is told now: by the same arguments, and by what the environment and the file say since.
fn serve_again() -> anyhow::Result<(Values, Box<serve::Serve>)> {
    let parsed = parse().map_err(|wrong| anyhow!(usage::first_line(&wrong)))?;
    let values = parsed.values();
    match parsed.cli.command {
        Command::Serve(serve) => Ok((values, serve)),
        _ => bail!("this is not a server"),
    }
}

impl Parsed {
    /// The options of `serve`, whatever says them; none for another command.
    fn values(&self) -> Values {
        match self.matches.subcommand() {
            Some(("serve", serve)) => config::values(&self.program, serve),
            _ => Values::new(),
        }
    }
}

/// Prints help or the version on stdout, or says on stderr what is wrong with the arguments.
fn explain(said: clap::Error) -> anyhow::Result<ExitCode> {
    if said.use_stderr() {
        usage::complain(said, Cli::command());
        return Ok(ExitCode::from(2));
    }
    said.print().map_err(OutputError::from)?;
    Ok(ExitCode::SUCCESS)
}
