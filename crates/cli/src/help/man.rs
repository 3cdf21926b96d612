//! `sockeye man`: the help as pages for man(1), made of the same definitions.

use std::{fs, io, path::PathBuf};

use anyhow::Context;
use clap::{Args, Command, builder::Resettable, error::ErrorKind};
use clap_mangen::{
    Man as Page,
    roff::{Roff, roman},
};

use crate::terminal::output::print_as_it_is;

/// The day that stands below the pages, as groff and mandoc want one: in a package that of its commit, which `cargo
/// xtask dist` gives; else that of the last change to what the pages say.
const DATE: &str = match option_env!("SOCKEYE_DATE") {
    Some(date) => date,
    None => "2026-12-01",
};

/// Print a page for man(1): of the program, or of a command
///
/// The pages say what --help says.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye man listen | man -l -
  sockeye man bench echo
  sockeye man --dir ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The command, such as listen or bench echo; without it the page is the program's
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,

    /// Write the pages of all commands into this directory, which is made where it is not there
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, program: Command) -> anyhow::Result<()> {
        let mut program = program.disable_help_subcommand(true);
        // Gives each command its full name.
        program.build();
        if let Some(dir) = self.dir {
            return write_all(&program, &dir)
                .with_context(|| format!("cannot write pages into {}", dir.display()));
        }
        let mut command = &program;
        for name in &self.command {
            let Some(found) = command.find_subcommand(name) else {
                let wrong = format!("{} has no command {name}", full_name(command));
                program.clone().error(ErrorKind::InvalidSubcommand, wrong).exit();
            };
            command = found;
        }
        Ok(print_as_it_is(page(command)?)?)
    }
}

fn write_all(command: &Command, dir: &PathBuf) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join(format!("{}.1", full_name(command))), page(command)?)?;
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .try_for_each(|command| write_all(command, dir))
}

/// The name of a command's page: `sockeye-bench-echo`.
fn full_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page of a command. The examples are a section of their own, line by line as they are.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let plain = command.clone().after_help(Resettable::Reset).after_long_help(Resettable::Reset);
    let mut text = Vec::new();
    let source = format!("sockeye {}", env!("CARGO_PKG_VERSION"));
    Page::new(plain).date(DATE).source(source).manual("Sockeye").render(&mut text)?;
    let mut more = Roff::default();
    let mut is_open = false;
    for line in examples.lines() {
        match line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            Some(heading) => {
                if is_open {
                    more.control("fi", []);
                }
                more.control("SH", [heading.to_uppercase().as_str()]).control("nf", []);
                is_open = true;
            }
            None => drop(more.text([roman(line.trim_start())])),
        }
    }
    if is_open {
        more.control("fi", []);
    }
    more.to_writer(&mut text)?;
    Ok(in_ascii(&without_idle_breaks(&text)))
}

/// The page without the one character beyond ASCII that our texts have: where the locale has no UTF-8 troff does not
/// know it, and warns of it.
fn in_ascii(page: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(page).replace('…', r"\&...").into_bytes()
}

/// The page without the breaks beside a blank line, which clap_mangen writes around possible values: they do
/// nothing, and mandoc warns of them.
fn without_idle_breaks(page: &[u8]) -> Vec<u8> {
    let lines: Vec<_> = page.split(|byte| *byte == b'\n').collect();
    let is_space =
        |at: Option<usize>| at.and_then(|at| lines.get(at)).is_some_and(|line| line.is_empty());
    let is_idle = |at: usize| is_space(at.checked_sub(1)) || is_space(Some(at + 1));
    let kept = lines.iter().enumerate().filter(|(at, line)| **line != b".br" || !is_idle(*at));
    kept.map(|(_, line)| *line).collect::<Vec<_>>().join(&b'\n')
}
