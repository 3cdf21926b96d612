//! `cargo xtask check-peers`: `sockeye check` on servers and clients of others, for
//! `docs/tools/check.md`: what each of them is found to do, with its version.

mod bytes;
mod peers;
mod running;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::Value;

use self::bytes::Reading;
use self::peers::{PEERS, Peer};
use self::running::Running;
use crate::prepare::{self, Need};
use crate::shell;

/// How long a client may take for all cases.
const CLIENT: Duration = Duration::from_mins(5);

/// What `cargo xtask check-peers` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Those to check, by their names; all, when none is named
    #[arg(value_name = "NAME", value_parser = names())]
    names: Vec<String>,
    /// Where to put the reports, `NAME.json` and `NAME.html`
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

fn names() -> clap::builder::PossibleValuesParser {
    PEERS.iter().map(|peer| peer.name).collect::<Vec<_>>().into()
}

/// Installs what is to be checked, checks it, and prints what was found of each.
pub(crate) fn run(options: &Options) -> Result<()> {
    prepare::prepare(&[Need::Node, Need::PythonPeers, Need::Brokers, Need::Chromium])?;
    shell::run(&mut shell::cargo(["build", "--package", "sockeye-cli"]))?;
    let chosen = |peer: &&Peer| {
        options.names.is_empty() || options.names.iter().any(|name| name == peer.name)
    };
    if PEERS.iter().filter(chosen).any(|peer| peer.is_rust()) {
        let mut build = shell::cargo(["build", "--package", "sockeye-peers"]);
        build.args(["--manifest-path", "benches/peers/Cargo.toml"]);
        shell::run(build.env("CARGO_TARGET_DIR", shell::target()?))?;
    }
    let folder = match &options.into {
        Some(folder) => folder.clone(),
        None => shell::target()?.join("check"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for peer in PEERS.iter().filter(chosen) {
        let report = folder.join(peer.name.replace([' ', '\'', '/'], "-"));
        let checked = check(peer, &report)?;
        eprintln!("\n## {} {}\n{}", peer.name, peer.version(), summary(&checked));
    }
    eprintln!("\nThe bytes of each finding are in {}.", folder.display());
    Ok(())
}

/// Checks one, and gives its report.
fn check(peer: &Peer, report: &Path) -> Result<Value> {
    let html = report.with_extension("html");
    let html = format!("--html={}", html.display());
    let sockeye = shell::target()?.join("debug/sockeye");
    let sockeye = sockeye.to_string_lossy();
    let json = if peer.is_client() {
        let args = ["check", "--json", &html, "--listen=127.0.0.1:0"];
        let mut check = Running::start(&mut shell::command(&sockeye, args))?;
        let url = check.line_of_stderr("ws://").context("it says where it listens")?;
        let client = Running::start(&mut peer.command(&url)?)?;
        let json = check.output(CLIENT);
        drop(client);
        json.with_context(|| format!("{} was not checked", peer.name))?
    } else {
        let server = peer.serve()?;
        let url = format!("ws://127.0.0.1:{}{}", server.port(), peer.path());
        let args = ["check", "--json", &html].into_iter().chain(peer.options().iter().copied());
        let mut check = Running::start(shell::command(&sockeye, args).arg(&url))?;
        check.output(CLIENT).with_context(|| format!("{} was not checked", peer.name))?
    };
    fs::write(report.with_extension("json"), &json)?;
    let json: Value = serde_json::from_str(&json).context("a report")?;
    ensure!(json["cases"].is_array(), "{} has no report", peer.name);
    Ok(json)
}

/// The counts, and a line for each finding.
fn summary(report: &Value) -> String {
    let count = |name: &str| report["counts"][name].to_string();
    let mut text = format!(
        "{} passed, {} broken, {} loose, {} for information, {} not judged, in {:.0} s",
        count("passed"),
        count("broken"),
        count("loose"),
        count("information"),
        count("not_judged"),
        report["seconds"].as_f64().unwrap_or_default()
    );
    let cases = report["cases"].as_array().map_or(&[][..], Vec::as_slice);
    for verdict in ["broken", "loose"] {
        for case in cases.iter().filter(|case| case["verdict"] == verdict) {
            let (id, came) = (case["id"].as_str(), case["came"].as_str());
            text += &format!("\n{verdict:<6} {}: {}", id.unwrap_or("?"), came.unwrap_or("?"));
        }
    }
    text + &confirmed(cases)
}

/// How many of the loose findings a second reading of their bytes bears out, and which ones people have to read.
fn confirmed(cases: &[Value]) -> String {
    let loose: Vec<_> = cases.iter().filter(|case| case["verdict"] == "loose").collect();
    let of = |wanted: Reading| loose.iter().filter(move |case| bytes::read(case) == wanted);
    let ids = |wanted| of(wanted).filter_map(|case| case["id"].as_str()).collect::<Vec<_>>();
    let confirmed = of(Reading::Confirmed).count();
    let mut text = format!("\nof {} loose, the bytes bear out {confirmed}", loose.len());
    for (reading, told) in
        [(Reading::ByHand, "to be read by hand"), (Reading::Contradicted, "NOT borne out")]
    {
        if of(reading).next().is_some() {
            text += &format!("; {told}: {}", ids(reading).join(", "));
        }
    }
    text
}
