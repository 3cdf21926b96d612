//! The examples in the help of every command: they are there, and can be typed as they stand.

use std::{fs, path::Path, process::Command};

use clap::{CommandFactory as _, Parser as _};

use crate::Cli;

/// A shell in which `sockeye` says how it was called, one argument after the other, and starts nothing. Other
/// programs are not found.
const SHELL: &str = "PATH= ; exec 3>&1
pgrep() { echo 4711; }
sockeye() { printf 'sockeye\\037' >&3; printf '%s\\037' \"$@\" >&3; printf '\\036' >&3; }
";

/// How the examples of a help call the program.
fn calls(help: &str, directory: &Path) -> Vec<Vec<String>> {
    let examples = help.split_once("Examples:\n").map_or("", |(_, examples)| examples);
    let mut shell = Command::new("/bin/sh");
    let shell = shell.arg("-c").arg(format!("{SHELL}{examples}")).current_dir(directory);
    let said = String::from_utf8(shell.output().expect("a shell").stdout).expect("UTF-8");
    let arguments = |call: &str| call.split_terminator('\x1f').map(str::to_owned).collect();
    said.split_terminator('\x1e').map(arguments).collect()
}

/// Checks the help of a command, called by these words, and of those below it.
fn check(command: &clap::Command, words: &[&str], directory: &Path) {
    let words = [words, &[command.get_name()]].concat();
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let calls = calls(&help, directory);
    let is_named = |call: &Vec<String>| call.iter().zip(&words).all(|(said, word)| said == word);
    assert!(calls.iter().any(is_named) || words.len() == 1, "{words:?} has no example of itself");
    for call in calls {
        if let Err(why) = Cli::try_parse_from(&call) {
            panic!("{}: {why}", call.join(" "));
        }
    }
    command.get_subcommands().for_each(|below| check(below, &words, directory));
}

#[test]
fn every_command_has_examples_that_can_be_typed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // What an example reads.
    fs::write(directory.path().join("picture.png"), "").expect("a file");
    check(&Cli::command(), &[], directory.path());
}
