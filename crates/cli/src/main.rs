//! The program `sockeye`: a channel server, and tools for everybody who works with WebSockets.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod certificate;
mod channel;
mod compression;
mod config;
mod connect;
mod deadlines;
mod echo;
mod environment;
mod explain;
mod fingerprints;
mod limits;
mod log;
mod output;
mod processors;
mod prompt;
mod publish;
mod reload;
mod serve;
mod signals;
mod stop;
mod subscribe;
mod token;
mod units;
mod visible;
mod way;

use std::{env, process::ExitCode};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};

use crate::{
    log::Log,
    output::{OutputError, print_line},
    reload::Values,
    signals::ServerSignals,
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
    Serve(serve::Serve),
    Echo(echo::Echo),
    Connect(connect::Connect),
    Subscribe(subscribe::Subscribe),
    Publish(publish::Publish),
    Bench(bench::Bench),
    Token(token::Token),
}

fn main() -> ExitCode {
    // First of all: a server that is told to stop while it starts ends well, too.
    let signals = match env::args_os().nth(1) {
        Some(command) if command == "serve" || command == "echo" => ServerSignals::new().map(Some),
        _ => Ok(None),
    };
    // Before the options are built: a default depends on it.
    sockeye::internals::raise_limit();
    signals.map_err(Into::into).and_then(run).unwrap_or_else(|error| conclude(&error))
}

/// Says what went wrong. A reader of the output that has seen enough, such as `head`, is nothing wrong.
fn conclude(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<OutputError>().is_some_and(OutputError::is_closed) {
        return ExitCode::SUCCESS;
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
        Err(wrong) => return explain(&wrong),
    };
    if let Some(("serve", serve)) = parsed.matches.subcommand()
        && serve.get_flag("print_config")
    {
        print_line(&config::show(&parsed.program, serve))?;
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
            serve.run(log.set_filter(), values, is_default, signals()?)
        }
        Command::Echo(echo) => echo.run(signals()?),
        Command::Connect(connect) => connect.run(),
        Command::Subscribe(subscribe) => subscribe.run(),
        Command::Publish(publish) => publish.run(),
        Command::Bench(bench) => bench.run(),
        Command::Token(token) => token.run(),
    }?;
    Ok(ExitCode::SUCCESS)
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
fn explain(said: &clap::Error) -> anyhow::Result<ExitCode> {
    match said.print() {
        Err(error) if !said.use_stderr() => Err(OutputError::from(error).into()),
        _ => Ok(ExitCode::from(if said.use_stderr() { 2 } else { 0 })),
    }
}

/// The error and its causes, each said once: some errors quote their cause, some do not.
fn in_one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| {
        match (line.is_empty(), line.contains(&cause)) {
            (true, _) => cause,
            (false, true) => line,
            (false, false) => format!("{line}: {cause}"),
        }
    })
}
