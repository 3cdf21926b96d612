//! `sockeye bench`: loads a server and says what it found.

use serde_json::Value;
use sockeye_tests::program::{self, Sockeye, assert_fails};

/// The report of a short run with these arguments.
fn report(load: &str, url: &str, options: &[&str]) -> Value {
    let common = ["--duration", "300ms", "--warm-up", "100ms", "--json"];
    let output = program::run(&[&["bench", load, url][..], &common, options].concat(), "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "bench {load}: {stderr}");
    assert_eq!(stderr, "", "nothing but the report");
    serde_json::from_slice(&output.stdout).expect("one object")
}

fn figure(report: &Value, name: &str) -> f64 {
    report["figures"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn echo_is_measured_in_a_closed_loop() {
    let server = Sockeye::echo(&[]);
    let pid = server.id().to_string();
    let options = ["--connections", "3", "--in-flight", "4", "--text", "--pid", &pid];
    let report = report("echo", &server.ws("/"), &options);
    assert!(figure(&report, "messages") > 0.0);
    assert!(figure(&report, "server_memory_mib") > 0.0);
    let latency = |name: &str| report["latency_us"][name].as_f64().expect("a latency");
    assert!(0.0 < latency("p50") && latency("p50") <= latency("p99"));
    assert!(latency("p99") <= latency("max"));
}

#[test]
fn echo_is_measured_at_a_rate() {
    let server = Sockeye::echo(&[]);
    let report = report("echo", &server.ws("/"), &["--connections", "2", "--rate", "100"]);
    // 300 ms of 100 a second; a busy machine may shift some out of the window.
    assert!((1.0..=31.0).contains(&figure(&report, "messages")), "{report}");
}

#[test]
fn fan_out_is_measured_on_a_channel() {
    let server = Sockeye::serve(&[]);
    let options = ["--subscribers", "5", "--publishers", "2", "--rate", "50"];
    let report = report("fanout", &server.ws("/c/bench"), &options);
    assert!(figure(&report, "deliveries") >= 5.0, "{report}");
}

#[test]
fn fan_out_is_measured_in_rounds() {
    let server = Sockeye::serve(&[]);
    let options = ["--subscribers", "5", "--in-flight", "3"];
    let report = report("fanout", &server.ws("/c/bench"), &options);
    assert!(figure(&report, "deliveries") >= 15.0, "{report}");
}

#[test]
fn connections_are_held_and_handshakes_repeated() {
    let server = Sockeye::echo(&[]);
    let pid = server.id().to_string();
    let held = report("connections", &server.ws("/"), &["--connections", "20", "--pid", &pid]);
    assert!(figure(&held, "opened_connections_per_s") > 0.0);
    assert!(held["figures"]["server_memory_per_connection_bytes"].is_number());
    let opened = report("handshakes", &server.ws("/"), &[]);
    assert!(figure(&opened, "handshakes") > 0.0);
}

#[test]
fn a_page_with_a_plot_is_written_on_demand() {
    let server = Sockeye::echo(&[]);
    let page = std::env::temp_dir().join(format!("sockeye-bench-{}.html", std::process::id()));
    let file = page.to_str().expect("a path in UTF-8");
    report("echo", &server.ws("/"), &["--html", file]);
    let html = std::fs::read_to_string(&page).expect("the page is there");
    std::fs::remove_file(&page).expect("the page can be removed");
    assert!(html.contains("<svg") && html.contains("throughput"), "{html}");
}

#[test]
fn what_goes_wrong_is_said_in_a_line() {
    let nobody = program::run(&["bench", "echo", "ws://127.0.0.1:1/"], "");
    assert_fails(&nobody, 1);
    let server = Sockeye::echo(&[]);
    let no_process = ["bench", "echo", &server.ws("/"), "--pid", "4194305"];
    assert_fails(&program::run(&no_process, ""), 1);
}
