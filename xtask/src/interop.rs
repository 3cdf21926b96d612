//! `cargo xtask interop`: every client and server of the table in `tests/peers`, and the page that is
//! made from it, `docs/channels/works-with.md`.

use std::fs;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;
use sockeye_peers::{Package, Peer};

use crate::prepare::{self, Need};
use crate::{shell, test};

const PAGE: &str = "docs/channels/works-with.md";

/// What `cargo xtask interop` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Write docs/channels/works-with.md, with the versions that are installed, when all has passed
    #[arg(long)]
    write: bool,
}

/// Installs all that the table names, and runs it.
pub(crate) fn run(options: &Options) -> Result<()> {
    prepare::prepare(&[test::NEXTEST, Need::Curl, Need::Node, Need::Peers, Need::Python])?;
    shell::run(&mut shell::cargo(["build", "--workspace"]))?;
    let filter = "package(sockeye-tests) & binary(interop) & test(peers::)";
    shell::run(&mut shell::cargo(["nextest", "run", "--workspace", "--filterset", filter]))?;
    if options.write {
        let versions = Versions::read()?;
        let page = sockeye_peers::page(|peer| versions.of(peer));
        fs::write(shell::root().join(PAGE), page).with_context(|| format!("write {PAGE}"))?;
    }
    Ok(())
}

/// Which versions are installed.
struct Versions {
    npm: Value,
    pip: String,
}

impl Versions {
    fn read() -> Result<Self> {
        let read = |file| fs::read_to_string(shell::root().join(file)).context(file);
        let npm =
            serde_json::from_str(&read("tests/package.json")?).context("tests/package.json")?;
        Ok(Self { npm, pip: read("tests/requirements.txt")? })
    }

    fn of(&self, peer: &Peer) -> String {
        let found = match peer.package {
            Package::Debian(name) => debian(name),
            Package::Npm(name) => self.npm["devDependencies"][name].as_str().map(str::to_owned),
            Package::Pip(name) => self.pip.lines().find_map(|line| {
                let (package, version) = line.split_once("==")?;
                (package.split('[').next() == Some(name)).then(|| version.to_owned())
            }),
            Package::Program(name) => program(name),
        };
        found.unwrap_or_else(|| "?".to_owned())
    }
}

/// The version of a Debian package, without what Debian has added; a commit's day stays.
pub(crate) fn debian(name: &str) -> Option<String> {
    let args = ["--show", "--showformat", "${Version}", name];
    let version = shell::output(&mut shell::command("dpkg-query", args)).ok()?;
    let version = version.rsplit_once(':').map_or(&*version, |(_, version)| version);
    let end = version.rfind('-').unwrap_or(version.len());
    let version = version[..end].split("+").next()?;
    let is_commit = version.contains("~git");
    Some(if is_commit { version } else { version.split('~').next()? }.to_owned())
}

/// The version that a program says it has.
fn program(name: &str) -> Option<String> {
    let words = shell::output(&mut shell::command(name, ["--version"])).ok()?;
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    words.split([' ', 'v', '\n']).find(is_version).map(str::to_owned)
}
