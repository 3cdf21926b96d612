//! Wrong usage: one line that says what to do, then the usage.

use std::{
    io::{self, IsTerminal, Write},
    process,
};

use clap::{CommandFactory as _, error::ErrorKind};

use crate::Cli;

/// Says what is wrong with the arguments. A stderr that takes nothing changes nothing.
pub(crate) fn complain(wrong: &clap::Error) {
    let rendered = wrong.render();
    let text = match io::stderr().is_terminal() {
        true => rendered.ansi().to_string(),
        false => rendered.to_string(),
    };
    let _ = io::stderr().write_all(in_one_line(&text).as_bytes());
}

/// Ends the program as with any wrong usage of the command, for what its flags alone do not show.
pub(crate) fn exit(command: &str, why: &str) -> ! {
    let mut program = Cli::command();
    program.build();
    let found = program.find_subcommand_mut(command).expect("it is a command");
    complain(&found.error(ErrorKind::ValueValidation, why));
    process::exit(2)
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
