//! `cargo xtask autobahn`: the Autobahn test suite on `sockeye echo` and on our client.
//!
//! The suite needs CPython 2.7, which is not installed but looked for; the suite itself is installed
//! into `target/autobahn`.

mod install;
mod report;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::json;

use self::report::CaseResults;
use crate::shell;

/// What the suite needs of a server: long messages, many fragments, no pings that it did not ask for.
const ECHO: &str = "echo --listen 127.0.0.1:0 --max-message 32M --max-fragments 70000 \
                    --keepalive off";
/// How long the suite may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// The sizes of messages that the quick run has of each group of 12 and 13.
const QUICK_SIZES: [u32; 4] = [1, 5, 8, 11];

/// What `cargo xtask autobahn` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Some of the sizes in 12.* and 13.* only: two minutes; writes no `docs/internals/autobahn.md`
    #[arg(long)]
    quick: bool,
}

/// Runs both roles, prints the results, and writes them down if every case was run. Fails if one is
/// not as it should be.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = shell::target()?.join("autobahn");
    let suite = install::suite(&folder)?;
    let sockeye = build()?;
    let cases = if options.quick { quick_cases() } else { vec!["*".to_owned()] };
    let server = test_server(&suite, &sockeye, &cases, &folder.join("server"))?;
    let client = test_client(&suite, &sockeye, &cases, &folder.join("client"))?;
    let table = report::table(&server, &client);
    eprintln!("\n{table}\n");
    if !options.quick {
        let versions = install::versions(&suite)?;
        report::write(&table, &versions, &format!("sockeye {ECHO}"))?;
    }
    for (role, results) in [("server", &server), ("client", &client)] {
        ensure!(results.bad().is_empty(), "the {role} fails: {}", results.bad().join(", "));
    }
    Ok(())
}

/// Builds what is tested, as it is released; gives the directory.
fn build() -> Result<PathBuf> {
    shell::run(&mut shell::cargo(["build", "--release", "--package", "sockeye-cli"]))?;
    let client = ["--package", "sockeye-tests", "--example", "autobahn-client"];
    shell::run(shell::cargo(["build", "--release"]).args(client))?;
    Ok(shell::target()?.join("release"))
}

/// Everything but 12 and 13, and of these some sizes.
fn quick_cases() -> Vec<String> {
    let mut cases: Vec<_> =
        [1, 2, 3, 4, 5, 6, 7, 9, 10].iter().map(|group| format!("{group}.*")).collect();
    for (group, parts) in [(12, 5), (13, 7)] {
        for part in 1..=parts {
            cases.extend(QUICK_SIZES.iter().map(|size| format!("{group}.{part}.{size}")));
        }
    }
    cases
}

/// Autobahn's client on our server.
fn test_server(suite: &Path, built: &Path, cases: &[String], folder: &Path) -> Result<CaseResults> {
    prepare(folder)?;
    let mut command = Command::new(built.join("sockeye"));
    command.args(ECHO.split_whitespace()).stdout(Stdio::piped());
    let mut server = Running(command.spawn().context("`sockeye echo` did not start")?);
    let mut line = String::new();
    let output = server.0.stdout.take().context("its output is piped")?;
    BufReader::new(output).read_line(&mut line)?;
    let url = line.trim().strip_prefix("listening on ").context("it named no address")?;
    let servers = json!([{ "agent": "sockeye", "url": url }]);
    let spec = json!({ "outdir": folder, "servers": servers, "cases": cases,
        "exclude-cases": [], "exclude-agent-cases": {}, "options": {} });
    let mut wstest = wstest(suite, "fuzzingclient", &spec, folder)?;
    ensure!(wstest.0.wait()?.success(), "wstest failed: see {}", log(folder).display());
    report::read(folder, &log(folder))
}

/// Our client on Autobahn's server.
fn test_client(suite: &Path, built: &Path, cases: &[String], folder: &Path) -> Result<CaseResults> {
    prepare(folder)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let url = format!("ws://{address}");
    let spec = json!({ "outdir": folder, "url": url, "cases": cases,
        "exclude-cases": [], "exclude-agent-cases": {}, "options": {} });
    let mut wstest = wstest(suite, "fuzzingserver", &spec, folder)?;
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        if wstest.0.try_wait()?.is_some() || start.elapsed() > PATIENCE {
            bail!("wstest did not start: see {}", log(folder).display());
        }
        sleep(Duration::from_millis(100));
    }
    let client = built.join("examples/autobahn-client");
    shell::run(Command::new(client).args([&url, "sockeye"]))?;
    report::read(folder, &log(folder))
}

/// An empty folder for a report.
fn prepare(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

/// Starts the suite in one of its modes.
fn wstest(suite: &Path, mode: &str, spec: &serde_json::Value, folder: &Path) -> Result<Running> {
    let file = folder.join("spec.json");
    fs::write(&file, spec.to_string())?;
    let log = File::create(log(folder))?;
    let mut command = Command::new(install::python(suite));
    command.arg("-u").arg(install::wstest(suite)).args(["-m", mode, "-u", "0", "-s"]).arg(&file);
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    eprintln!("$ wstest -m {mode} -s {}", file.display());
    Ok(Running(command.spawn().context("wstest did not start")?))
}

fn log(folder: &Path) -> PathBuf {
    folder.join("wstest.log")
}

/// A program that ends when it is no longer needed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
