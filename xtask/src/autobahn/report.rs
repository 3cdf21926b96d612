//! What the suite found: read, put into a table, written into `docs/internals/autobahn.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::shell;

/// The groups of cases.
const GROUPS: [(u32, &str); 11] = [
    (1, "Framing"),
    (2, "Pings and pongs"),
    (3, "Reserved bits"),
    (4, "Opcodes"),
    (5, "Fragmentation"),
    (6, "UTF-8"),
    (7, "Closing"),
    (9, "Limits and performance"),
    (10, "Automatic fragmentation"),
    (12, "Compression: kinds of payload"),
    (13, "Compression: parameters"),
];

/// Cases that have no right outcome.
const INFORMATIONAL: [&str; 3] = ["7.1.6", "7.13.1", "7.13.2"];

/// A case's number, and whether it went as it should.
pub(super) struct CaseResults(BTreeMap<Vec<u32>, CaseResult>);

#[derive(Clone, PartialEq, Eq)]
enum CaseResult {
    Ok,
    Informational,
    /// What the suite says of the exchange, and of the close.
    Bad(String),
}

impl CaseResults {
    /// The cases that did not go as they should, with the suite's words.
    pub(super) fn bad(&self) -> Vec<String> {
        let bad = self.0.iter().filter_map(|(case, result)| match result {
            CaseResult::Bad(words) => Some(format!("{} ({words})", number(case))),
            CaseResult::Ok | CaseResult::Informational => None,
        });
        bad.collect()
    }

    /// How many cases of a group there are, how many are OK, and which are informational.
    fn group(&self, group: u32) -> (usize, usize, Vec<String>) {
        let cases = || self.0.iter().filter(move |(case, _)| case.first() == Some(&group));
        let informational = cases().filter(|(_, result)| **result == CaseResult::Informational);
        let ok = cases().filter(|(_, result)| **result == CaseResult::Ok).count();
        (cases().count(), ok, informational.map(|(case, _)| number(case)).collect())
    }
}

/// Reads a report. The suite stops early, and says nothing of it in the report, when the peer does
/// not accept connections any more: how many cases there should be is in its log.
pub(super) fn read(folder: &Path, log: &Path) -> Result<CaseResults> {
    let index = fs::read_to_string(folder.join("index.json")).context("there is no report")?;
    let index: Value = serde_json::from_str(&index)?;
    let cases = index["sockeye"].as_object().context("the report is not about sockeye")?;
    let mut results = BTreeMap::new();
    for (case, found) in cases {
        let key = case.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        results.insert(key, result(case, found));
    }
    let log = fs::read_to_string(log)?;
    let planned = log.split("will run ").nth(1).and_then(|rest| rest.split(' ').next());
    let planned: usize =
        planned.context("the log does not tell how many cases there are")?.parse()?;
    ensure!(results.len() == planned, "{} of {planned} cases were run", results.len());
    Ok(CaseResults(results))
}

fn result(case: &str, found: &Value) -> CaseResult {
    let words = ["behavior", "behaviorClose"].map(|key| found[key].as_str().unwrap_or("nothing"));
    if words == ["OK", "OK"] {
        return CaseResult::Ok;
    }
    let informational = words.iter().all(|word| ["OK", "INFORMATIONAL"].contains(word));
    if informational && INFORMATIONAL.contains(&case) {
        return CaseResult::Informational;
    }
    CaseResult::Bad(words.join(", close: "))
}

fn number(case: &[u32]) -> String {
    case.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// The results of both roles by group, as a table in Markdown.
pub(super) fn table(server: &CaseResults, client: &CaseResults) -> String {
    let mut table = String::from(
        "| | Group | Cases | Server: OK | Client: OK | Informational |\n\
         |---:|---|---:|---:|---:|---|\n",
    );
    let mut sums = [0; 3];
    for (group, name) in GROUPS {
        let (cases, server_ok, mut informational) = server.group(group);
        let (_, client_ok, of_client) = client.group(group);
        informational.extend(of_client);
        informational.sort();
        informational.dedup();
        for (sum, number) in sums.iter_mut().zip([cases, server_ok, client_ok]) {
            *sum += number;
        }
        let informational = informational.join(", ");
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {group} | {name} | {cases} | {server_ok} | {client_ok} | {informational} |"
        );
    }
    let [cases, server_ok, client_ok] = sums;
    let _ = write!(table, "| | **all** | {cases} | {server_ok} | {client_ok} | |");
    table
}

/// Writes `docs/internals/autobahn.md`.
pub(super) fn write(table: &str, versions: &str, server: &str) -> Result<()> {
    let date = shell::output(&mut shell::command("date", ["--utc", "+%F"]))?;
    let version = env!("CARGO_PKG_VERSION");
    let page = format!(
        "# The Autobahn test suite\n\n\
         <!-- Written by `cargo xtask autobahn`. -->\n\n\
         [Autobahn](https://github.com/crossbario/autobahn-testsuite) is the reference suite for\n\
         WebSocket protocol implementations. `cargo xtask autobahn` runs all of it on both roles,\n\
         wherever CPython 2.7 is found: as a client on `{server}`,\n\
         and as a server for a small client made with the library (`tests/autobahn/client.rs`).\n\n\
         sockeye {version}; {versions}; {date}.\n\n\
         {table}\n\n\
         OK means that the messages and the close were exactly as the suite expects. It accepts\n\
         several outcomes of the informational cases: data after a Close (7.1.6), and close codes\n\
         that RFC 6455 leaves undefined (7.13). Invalid UTF-8 is noticed in mid-frame (6.4).\n"
    );
    fs::write(shell::root().join("docs/internals/autobahn.md"), page)
        .context("cannot write docs/internals/autobahn.md")
}
