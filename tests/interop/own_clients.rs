//! The clients of this project in JavaScript and Python, in programs: their own tests, against the program.
//!
//! Those of the JavaScript client in pages and workers are in `browser/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sockeye_tests::chaos::{self, Ground, Language, Plan};
use sockeye_tests::program;
use sockeye_tests::script::{folder, python};
use sockeye_tests::tls::Certificates;

/// Runs tests, and shows what they say when one fails.
fn passes(mut tests: Command) -> Output {
    let output = tests.output().expect("`cargo xtask test interop` installs node and python3");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{complaints}", output.status);
    output
}

/// The tests of a file of `runtimes/`, in Node, Bun and Deno.
fn in_each_runtime(file: &str) {
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec", "--test-timeout=250000"])
        .arg(folder().join("runtimes").join(file))
        .env("SOCKEYE_BIN", program::path());
    passes(node);
}

#[test]
fn the_javascript_client_works_in_node_bun_and_deno() {
    in_each_runtime("client.test.mjs");
}

#[test]
fn the_javascript_client_loses_nothing_over_restarts_in_node_bun_and_deno() {
    in_each_runtime("restarts.test.mjs");
}

/// Readers hop between bare transports and the clients for Rust, JavaScript and Python.
#[test]
fn readers_that_hop_between_all_clients_see_every_message_once_though_the_server_is_killed() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let ground = Ground::Disk { data: data.path().to_owned(), kills: 3 };
    let languages = vec![Language::Rust, Language::JavaScript, Language::Python];
    let report = chaos::run(&Plan { languages, ..Plan::short(ground) });
    assert!(report.findings.is_sound(), "{report}");
    let stretches = report.findings.stretches;
    assert!(stretches.iter().all(|stretches| *stretches > 0), "{report}");
}

fn python_client() -> PathBuf {
    folder().join("../clients/python")
}

/// Python, in the folder of the client's tests.
fn python_in(folder: &Path) -> Command {
    let mut python = Command::new(python());
    python
        .current_dir(folder.join("tests"))
        .env("PYTHONPATH", folder.join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONWARNINGS", "error::ResourceWarning,error::RuntimeWarning")
        .env("SOCKEYE_BIN", program::path());
    python
}

/// The tests of a file of the Python client.
fn python_passes(file: &str) {
    let certificates = Certificates::new();
    let authority = certificates.authority();
    let mut tests = python_in(&python_client());
    tests
        .args(["-m", "unittest", "--verbose", file])
        .env("SOCKEYE_TLS", authority.parent().expect("a folder"));
    passes(tests);
}

#[test]
fn the_python_client_reads_and_publishes() {
    python_passes("test_client");
}

#[test]
fn the_python_client_takes_what_peers_send() {
    python_passes("test_parts");
}

#[test]
fn the_python_client_resumes() {
    python_passes("test_resume");
}

#[test]
fn the_python_client_is_a_package_with_types() {
    python_passes("test_package");
}

#[test]
fn the_python_client_works_without_asyncio() {
    python_passes("test_blocking");
}

#[test]
fn the_python_client_works_over_tls() {
    python_passes("test_tls");
}

#[test]
fn every_test_of_the_python_client_is_run() {
    let source =
        std::fs::read_to_string(folder().join("interop/own_clients.rs")).expect("this file");
    for entry in std::fs::read_dir(python_client().join("tests")).expect("the folder tests/") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        if let Some(module) = name.strip_suffix(".py").filter(|name| name.starts_with("test_")) {
            assert!(source.contains(&format!("python_passes(\"{module}\")")), "{module} is run");
        }
    }
}
