//! `sockeye completions`: what a shell needs to complete the command line, made of the same definitions.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::terminal::output::print_as_it_is;

/// Print the completions for a shell
///
/// The script is made of the program's own definitions, so it fits the version that prints it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye completions bash > ~/.local/share/bash-completion/completions/sockeye
  sockeye completions zsh > ~/.zfunc/_sockeye  # ~/.zshrc has fpath+=~/.zfunc before compinit
  sockeye completions fish > ~/.config/fish/completions/sockeye.fish
  eval \"$(sockeye completions bash)\"  # for this shell alone
  sockeye completions powershell | Out-String | Invoke-Expression  # in PowerShell")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, mut program: Command) -> anyhow::Result<()> {
        // Written to memory first: the crate panics where its output is closed.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "sockeye", &mut script);
        Ok(print_as_it_is(script)?)
    }
}
