//! `docs/internals/performance.md`: the parts of it that commands write.

use std::fs;

use anyhow::{Context as _, Result};

use crate::shell;

/// Puts tables between the marks of `cargo xtask {name}`, with the machine and the command that
/// measures them again.
pub(crate) fn write(name: &str, command: &str, tables: &str) -> Result<()> {
    let path = shell::root().join("docs/internals/performance.md");
    let page = fs::read_to_string(&path)?;
    let begin = format!("<!-- written by `cargo xtask {name} --write` -->\n");
    let end = format!("<!-- end of what `cargo xtask {name}` writes -->\n");
    let marked = || {
        let (before, rest) = page.split_once(&begin)?;
        Some((before, rest.split_once(&end)?.1))
    };
    let (before, after) = marked().context("docs/internals/performance.md has lost its marks")?;
    let machine = machine()?;
    let tables = tables.trim_end();
    let page =
        format!("{before}{begin}\n{machine}\n\n```sh\n{command}\n```\n\n{tables}\n\n{end}{after}");
    fs::write(&path, page).context("docs/internals/performance.md cannot be written")
}

/// The day, the machine and the compiler.
fn machine() -> Result<String> {
    let day = shell::output(&mut shell::command("date", ["+%-d %B %Y"]))?;
    let kernel = shell::output(&mut shell::command("uname", ["-sr"]))?;
    // What a vendor has added says nothing to others.
    let kernel = kernel.split('-').next().unwrap_or_default();
    let compiler = shell::output(&mut shell::command("rustc", ["--version"]))?;
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> =
        info.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model = models.first().map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    Ok(format!("{day}; {} × {model}; {kernel}; {compiler}; release profile.", models.len()))
}
