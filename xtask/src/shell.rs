//! Running other programs: each is printed before it runs, and a failure names it in one line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask stands in the repository's root")
}

/// The build directory, wherever cargo was told to put it: this program runs from
/// `target/debug/xtask`.
pub(crate) fn target() -> Result<PathBuf> {
    let here = std::env::current_exe().context("where this program is")?;
    let target = here.parent().and_then(Path::parent);
    Ok(target.context("this program is not in a build directory")?.to_owned())
}

/// A command that runs in the repository's root.
pub(crate) fn command<'a>(program: &str, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// The cargo that runs this program, in the repository's root.
pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    command("cargo", args)
}

/// Prints the command, runs it, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("`{line}` did not start"))?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}

/// Whether the command can be started and succeeds. Says nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// What the command prints, without its last line break.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("`{line}` did not start"))?;
    ensure!(output.status.success(), "`{line}` failed: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
