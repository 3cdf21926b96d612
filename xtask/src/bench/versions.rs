//! Which versions of the peers were measured.

use std::process::Command;

use anyhow::Result;

use crate::shell;

/// One sentence with all of them.
pub(super) fn all() -> Result<String> {
    let versions = [rust(), python()?, node(), brokers()].concat();
    Ok(format!("Measured with {}.", versions.join(", ")))
}

/// The libraries that `benches/peers` names.
fn rust() -> Vec<String> {
    let mut tree = shell::cargo(["tree", "--workspace", "--depth=1", "--prefix=none", "--quiet"]);
    tree.args(["--edges=normal", "--format={p}", "--manifest-path=benches/peers/Cargo.toml"]);
    let lines = lines(&mut tree);
    // `name vX.Y.Z`; more is said of the peers themselves, and of what was named before.
    let libraries = lines.iter().filter(|line| line.split(' ').count() == 2);
    let mut libraries: Vec<_> = libraries.map(|line| line.replacen(" v", " ", 1)).collect();
    libraries.sort();
    libraries.dedup();
    libraries
}

fn python() -> Result<Vec<String>> {
    let python = shell::target()?.join("python/bin/python");
    let list = ["-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"];
    let packages = lines(&mut shell::command(&python.to_string_lossy(), list));
    let versions = packages.iter().filter_map(|line| line.split_once("=="));
    let peers = versions.filter(|(name, _)| ["picows", "uvloop", "websockets"].contains(name));
    Ok(peers.map(|(name, version)| format!("Python's {name} {version}")).collect())
}

fn node() -> Vec<String> {
    let program = "console.log(`Node ${process.versions.node}`); \
                   console.log(`its ws ${require('ws/package.json').version}`)";
    let mut node = shell::command("node", ["--eval", program]);
    lines(node.current_dir(shell::root().join("tests")))
}

fn brokers() -> Vec<String> {
    let mut query =
        shell::command("dpkg-query", ["--show", "--showformat=${Package} ${Version}\n"]);
    let packages = lines(query.args(["libnginx-mod-nchan", "mosquitto", "nats-server", "nginx"]));
    let versions = packages.iter().filter_map(|line| line.split_once(' '));
    let version = |(name, version): (&str, &str)| {
        // `epoch:upstream+source-revision`
        let upstream = version.rsplit(':').next().unwrap_or(version);
        let upstream = upstream.split(['+', '-', '~']).next().unwrap_or(upstream);
        format!("{} {upstream}", name.trim_start_matches("libnginx-mod-"))
    };
    versions.map(version).collect()
}

/// What a command prints: nothing, where it is not installed; then it was not measured either.
fn lines(command: &mut Command) -> Vec<String> {
    let output = shell::output(command).unwrap_or_default();
    output.lines().map(str::to_owned).collect()
}
