//! Wrong usage: one line that says what to do, then the usage.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fmt::{self, Display},
    io::{self, IsTerminal, Write},
};

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// What is wrong with the arguments of a command, and its flags alone do not show. The program ends with it as
/// with any wrong usage.
#[derive(Debug)]
pub(crate) struct WrongUsage {
    command: &'static str,
    why: String,
}

impl WrongUsage {
    pub(crate) fn new(command: &'static str, why: impl Display) -> Self {
        Self { command, why: why.to_string() }
    }

    /// Says so, with the usage of the program's command.
    pub(crate) fn complain(&self, mut program: Command) {
        program.build();
        let found = program.find_subcommand_mut(self.command).expect("it is a command");
        say(&found.error(ErrorKind::ValueValidation, &self.why));
    }
}

/// Says what is wrong with the arguments of the program.
pub(crate) fn complain(mut wrong: clap::Error, program: Command) {
    let mut command = named(program, env::args_os().skip(1));
    match wrong.kind() {
        // All of its help is its usage.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let wrong = wrong.render();
            say(&command.error(ErrorKind::MissingSubcommand, missing(&command)));
            // As for every complaint.
            let _ = write!(io::stderr(), "\n{wrong}");
        }
        // A wrong value comes without.
        _ if wrong.get(ContextKind::Usage).is_none() => {
            let usage = command.render_usage();
            wrong.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
            say(&wrong);
        }
        _ => say(&wrong),
    }
}

/// The command that the arguments name, with what is above it in its usage.
fn named(mut program: Command, arguments: impl Iterator<Item = OsString>) -> Command {
    program.build();
    let mut found = &program;
    for argument in arguments {
        let Some(command) = found.find_subcommand(&argument) else { break };
        found = command;
    }
    found.clone()
}

/// What to write in the place of a command that is missing.
fn missing(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
    let names: Vec<_> = names.into_iter().filter(|name| *name != "help").collect();
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    format!("{name} needs a command: {} or {last}", others.join(", "))
}

/// Writes what is wrong. A stderr that takes nothing changes nothing.
fn say(wrong: &clap::Error) {
    let rendered = wrong.render();
    let text = match io::stderr().is_terminal() {
        true => rendered.ansi().to_string(),
        false => rendered.to_string(),
    };
    let _ = io::stderr().write_all(in_one_line(&text).as_bytes());
}

impl Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Error for WrongUsage {}

/// What clap says is wrong, without its hints.
pub(crate) fn first_line(wrong: &clap::Error) -> String {
    let said = wrong.to_string();
    said.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// What clap says, whose first paragraphs are made one line; the usage and where there is more stay.
fn in_one_line(text: &str) -> String {
    let is_usage = |paragraph: &&str| paragraph.contains("Usage:");
    let mut paragraphs = text.trim_end().split("\n\n").peekable();
    let mut line = String::new();
    while let Some(paragraph) = paragraphs.next_if(|paragraph| !is_usage(paragraph)) {
        if paragraph.contains("For more information") {
            // There is no usage: nothing but this follows.
            return format!("{line}\n\n{paragraph}\n");
        }
        let words: Vec<_> =
            paragraph.lines().map(str::trim).filter(|part| !part.is_empty()).collect();
        if !line.is_empty() {
            line.push_str("; ");
        }
        line.push_str(&words.join(" "));
    }
    let rest: Vec<_> = paragraphs.collect();
    match rest.is_empty() {
        true => line + "\n",
        false => format!("{line}\n\n{}\n", rest.join("\n\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_one_line_before_the_usage() {
        let missing = "error: the following required arguments were not provided:\n  <URL>\n\nUsage: \
                       sockeye connect <URL>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            in_one_line(missing),
            "error: the following required arguments were not provided: <URL>\n\nUsage: sockeye \
             connect <URL>\n\nFor more information, try '--help'.\n"
        );
        let similar = "error: unexpected argument '--bnary' found\n\n  tip: a similar argument exists: \
                       '--binary'\n\nUsage: x\n";
        assert_eq!(
            in_one_line(similar),
            "error: unexpected argument '--bnary' found; tip: a similar argument exists: \
             '--binary'\n\nUsage: x\n"
        );
        let value = "error: invalid value 'x' for '--listen <ADDR>': write it so\n\nFor more \
                     information, try '--help'.\n";
        assert_eq!(in_one_line(value), value);
        assert_eq!(in_one_line("error: no\n"), "error: no\n");
    }
}
