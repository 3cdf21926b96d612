//! The program `sockeye`: a channel server, and tools for everybody who works with WebSockets.

#![forbid(unsafe_code)]

mod bench;
mod certificate;
mod channel;
mod compression;
mod config;
mod connect;
mod echo;
mod limits;
mod log;
mod processors;
mod prompt;
mod publish;
mod serve;
mod stop;
mod subscribe;
mod token;
mod units;
mod way;

use std::{io, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::log::Log;

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
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads our output has seen enough, `head` for one: no reason to complain.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sockeye: {}", in_one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut program = Cli::command();
    program.build();
    let arguments = config::with_file(&program, std::env::args_os().collect());
    let matches = program.clone().get_matches_from(arguments);
    if let Some(("serve", serve)) = matches.subcommand()
        && serve.get_flag("print_config")
    {
        return Ok(echo::print_line(&config::show(&program, serve))?);
    }
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match &cli.command {
        Command::Serve(serve) => serve.log().begin()?,
        _ => Log::default().begin()?,
    }
    match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Echo(echo) => echo.run(),
        Command::Connect(connect) => connect.run(),
        Command::Subscribe(subscribe) => subscribe.run(),
        Command::Publish(publish) => publish.run(),
        Command::Bench(bench) => bench.run(),
        Command::Token(token) => token.run(),
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

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
