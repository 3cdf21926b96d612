//! Clients that come over TLS: what a handshake costs, new and resumed, and how all clients come back at once after a
//! restart.

mod servers;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use self::servers::{Certificate, Server};
use super::brokers::table::{Column, Figures, Table};
use super::{Options, Part, build_peers, on_processor};
use crate::prepare::{self, Need};
use crate::shell;

/// How many clients lose their server at once.
const CLIENTS: &str = "10000";

const HANDSHAKES: &str = "handshakes-tls";
const STORM: &str = "storm";

const CASES: [(&str, &str); 2] = [
    (HANDSHAKES, "Handshakes of WebSockets over TLS 1.3, P-256, 16 at once, each closed again"),
    (STORM, "10,000 clients over TLS 1.3 that come back at once after a restart"),
];

const OF_HANDSHAKES: &[Column] = &[
    Column { heading: "CPU of a new session, µs", digits: 1 },
    Column { heading: "per second", digits: 0 },
    Column { heading: "CPU of a resumed one, µs", digits: 1 },
    Column { heading: "per second", digits: 0 },
];

const OF_STORM: &[Column] = &[
    Column { heading: "half are back, s", digits: 2 },
    Column { heading: "all are back, s", digits: 2 },
    Column { heading: "refused, and came again", digits: 0 },
    Column { heading: "CPU for each, µs", digits: 1 },
    Column { heading: "memory at its peak, MiB", digits: 0 },
    Column { heading: "afterwards, KiB for each", digits: 1 },
];

/// The names that can be asked for.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

/// The names, and what they are.
pub(super) fn titles() -> impl Iterator<Item = (&'static str, &'static str)> {
    CASES.into_iter()
}

/// What is measured.
pub(super) fn servers() -> impl Iterator<Item = &'static str> {
    Server::ALL.iter().map(|server| server.name())
}

/// Builds and installs what the wanted cases need.
pub(super) fn install(options: &Options) -> Result<()> {
    if wanted(options).next().is_none() {
        return Ok(());
    }
    prepare::prepare(&[Need::Brokers, Need::OpenSsl])?;
    build_peers()?;
    let measure = ["--package", "sockeye-tests", "--bin", "measure-reconnect"];
    shell::run(shell::cargo(["build", "--release"]).args(measure))
}

/// Measures the cases that are wanted, and shows the table of each.
pub(super) fn run(
    options: &Options,
    mut show: impl FnMut(String, Part) -> Result<()>,
) -> Result<()> {
    let certificate = match wanted(options).next() {
        Some(_) => Certificate::new()?,
        None => return Ok(()),
    };
    wanted(options).try_for_each(|(name, title)| {
        let table = match *name {
            HANDSHAKES => handshakes(title, options, &certificate),
            _ => storm(title, options, &certificate),
        };
        show(table.to_string(), Part::Alone(name))
    })
}

fn wanted(options: &Options) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    CASES.iter().filter(|(name, _)| options.wants(name))
}

fn handshakes(title: &'static str, options: &Options, certificate: &Certificate) -> Table {
    let mut table = Table::new(title, OF_HANDSHAKES);
    let (rounds, seconds) = options.length();
    for round in 1..=rounds {
        for server in Server::ALL.iter().filter(|server| options.wants_server(server.name())) {
            eprintln!("{HANDSHAKES} {round}/{rounds}: {}", server.name());
            table.add(server.name(), handshakes_of(*server, certificate, seconds));
        }
    }
    table
}

fn handshakes_of(server: Server, certificate: &Certificate, seconds: u64) -> Result<Figures> {
    let mut figures = Vec::new();
    for kind in ["full", "resumed"] {
        let running = server.start(certificate, 0)?;
        let mut load = measure()?;
        load.args(["handshakes", kind, &running.worker().to_string(), &running.address()]);
        load.arg(server.websocket()).arg(&certificate.file).arg(seconds.to_string());
        let report = shell::output(&mut load)?;
        let report: Value = serde_json::from_str(&report).context("the report cannot be read")?;
        let (resumed, all) = (report["resumed"].as_f64(), f64::from(u8::from(kind == "resumed")));
        ensure!(resumed == Some(all), "of its sessions {resumed:?} were resumed, not {all}");
        figures.extend(["cpu_us", "per_second"].map(|name| report[name].as_f64()));
    }
    Ok(figures)
}

fn storm(title: &'static str, options: &Options, certificate: &Certificate) -> Table {
    let mut table = Table::new(title, OF_STORM);
    let (rounds, _) = options.length();
    for round in 1..=rounds {
        for server in Server::ALL.iter().filter(|server| options.wants_server(server.name())) {
            for (transport, path, name) in server.storms() {
                eprintln!("{STORM} {round}/{rounds}: {name}");
                table.add(name, storm_of(*server, certificate, transport, path));
            }
        }
    }
    table
}

/// All clients are connected, the server is killed, another one takes its place.
fn storm_of(
    server: Server,
    certificate: &Certificate,
    transport: &str,
    path: &str,
) -> Result<Figures> {
    let first = server.start(certificate, 0)?;
    let mut load = measure()?;
    load.args(["storm", transport, CLIENTS, &first.address(), path]).arg(&certificate.file);
    let mut load = load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut output = BufReader::new(load.stdout.take().context("the output is piped")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    let port = first.port();
    drop(first);
    // What it says is waited for also where the clients were not all connected.
    let second = (line.trim() == "open").then(|| server.start(certificate, port)).transpose();
    if let (Some(mut input), Ok(Some(second))) = (load.stdin.take(), &second) {
        writeln!(input, "{}", second.worker())?;
    }
    let mut report = String::new();
    output.read_to_string(&mut report)?;
    ensure!(load.wait()?.success(), "the clients did not come back");
    second?.context("the clients were not all connected")?;
    let report: Value = serde_json::from_str(&report).context("the report cannot be read")?;
    let figure = |name: &str| report[name].as_f64();
    ensure!(report["back"] == CLIENTS.parse::<u64>()?, "only {} came back", report["back"]);
    let clients: f64 = CLIENTS.parse()?;
    Ok(vec![
        figure("half_s"),
        figure("all_s"),
        figure("refused"),
        figure("cpu_us"),
        figure("peak_bytes").map(|bytes| bytes / (1 << 20) as f64),
        figure("resident_bytes").map(|bytes| bytes / 1024.0 / clients),
    ])
}

/// The clients, on the second processor.
fn measure() -> Result<Command> {
    let program = shell::target()?.join("release/measure-reconnect");
    Ok(on_processor("1", &program.to_string_lossy()))
}
