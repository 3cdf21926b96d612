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

/// A short fan-out to five subscribers of a channel, and what it says.
fn fan_out(server: &Sockeye, path: &str, options: &[&str]) -> Value {
    let common = ["--subscribers", "5", "--rate", "50"];
    report("fanout", &server.ws(path), &[&common, options].concat())
}

#[test]
fn fan_out_is_measured_over_every_transport() {
    let server = Sockeye::serve(&[]);
    for transport in ["ws", "v1", "sse", "ndjson", "longpoll"] {
        let report = fan_out(&server, "/c/bench", &["--transport", transport]);
        assert!(figure(&report, "deliveries") >= 5.0, "{transport}: {report}");
        assert!(figure(&report, "wire_to_subscribers_bytes/delivery") > 128.0, "{report}");
        let each = &report["latency_us"]["max"];
        let last = &report["latency_to_the_last_us"]["max"];
        assert!(last.as_f64() > Some(0.0) && last.as_f64() <= each.as_f64(), "{report}");
    }
}

#[test]
fn fan_out_is_measured_by_polls_in_an_interval() {
    let server = Sockeye::serve(&[]);
    let options = ["--transport", "poll", "--interval", "100ms", "--publishers", "2"];
    let report = fan_out(&server, "/c/bench", &options);
    assert!(figure(&report, "deliveries") >= 5.0, "{report}");
}

#[test]
fn fan_out_is_measured_on_a_channel_that_a_client_names() {
    let server = Sockeye::serve(&[]);
    let options = ["--transport", "v1", "--channel", "news:bench"];
    let report = fan_out(&server, "/connect", &options);
    assert!(figure(&report, "deliveries") >= 5.0, "{report}");
}

#[test]
fn fan_out_is_measured_with_compressed_messages() {
    let server = Sockeye::serve(&[]);
    let report = fan_out(&server, "/c/bench", &["--compressed", "--size", "4k"]);
    assert!(figure(&report, "deliveries") >= 5.0, "{report}");
    let wire = figure(&report, "wire_to_subscribers_bytes/delivery");
    assert!(wire < 1000.0, "4 KiB of x are less when compressed: {report}");
}

#[test]
fn fan_out_is_published_where_the_option_says() {
    let server = Sockeye::serve(&[]);
    for way in [server.http("/c/bench"), server.ws("/c/bench")] {
        let report = fan_out(&server, "/c/bench", &["--publish-to", &way, "--transport", "sse"]);
        assert!(figure(&report, "deliveries") >= 5.0, "{way}: {report}");
    }
}

#[test]
fn connections_are_held_and_handshakes_repeated() {
    let server = Sockeye::echo(&[]);
    let pid = server.id().to_string();
    let held = report("connections", &server.ws("/"), &["--connections", "20", "--pid", &pid]);
    assert!(held["figures"]["server_cpu_per_handshake_us"].is_number());
    assert!(figure(&held, "opened_connections_per_s") > 0.0);
    assert!(held["figures"]["server_memory_per_connection_bytes"].is_number());
    let opened = report("handshakes", &server.ws("/"), &[]);
    assert!(figure(&opened, "handshakes") > 0.0);
}

#[test]
fn memory_is_measured_again_after_messages() {
    let server = Sockeye::echo(&[]);
    let pid = server.id().to_string();
    let options = ["--connections", "20", "--messages", "1,4", "--size", "1k", "--pid", &pid];
    let report = report("connections", &server.ws("/"), &options);
    for messages in ["1", "4"] {
        let after = format!("server_memory_per_connection_after_{messages}_bytes");
        assert!(report["figures"][after].is_number(), "{report}");
    }
    assert!(figure(&report, "wire_bytes/message") >= 1024.0, "{report}");
}

#[test]
fn messages_that_refer_to_earlier_ones_take_fewer_bytes_on_the_wire() {
    let server = Sockeye::echo(&["--deflate", "takeover"]);
    let file = std::env::temp_dir().join(format!("sockeye-bench-{}.txt", std::process::id()));
    // 64 lines that are alike, no two the same.
    let pairs = |line: u32| (0..40).map(move |pair| (line + 1) * (pair + 1) * 7919 % 1000);
    let line = |line| pairs(line).map(|value| format!("{{\"value\":{value}}}")).collect::<String>();
    let text: Vec<String> = (0..64).map(line).collect();
    std::fs::write(&file, text.join("\n")).expect("a file can be written");
    let path = file.to_str().expect("a path in UTF-8");
    let message = ["--connections", "1", "--text", "--lines", "--file", path];
    let wire = |options: &[&str]| {
        let report = report("echo", &server.ws("/"), &[&message, options].concat());
        figure(&report, "wire_bytes/message")
    };
    let [plain, alone, takeover] =
        [wire(&[]), wire(&["--compressed"]), wire(&["--compressed", "--takeover"])];
    std::fs::remove_file(&file).expect("the file can be removed");
    assert!(plain > alone && alone > takeover, "{plain}, {alone}, {takeover}");
}

#[test]
fn a_page_with_a_plot_is_written_on_demand() {
    let server = Sockeye::echo(&[]);
    let page = std::env::temp_dir().join(format!("sockeye-bench-{}.html", std::process::id()));
    let file = page.to_str().expect("a path in UTF-8");
    let url = server.ws("/");
    let told = report("echo", &format!("{url}?token=secret"), &["--html", file]);
    let html = std::fs::read_to_string(&page).expect("the page is there");
    std::fs::remove_file(&page).expect("the page can be removed");
    assert!(html.contains("<svg") && html.contains("throughput"), "{html}");
    let count = figure(&told, "messages");
    assert!(html.contains(&format!("<th>messages</th><td>{count:.0}</td>")), "{html}");
    assert!(html.contains(&format!("<p>{url}, 20")) && !html.contains("secret"), "{html}");
}

#[test]
fn what_goes_wrong_is_said_in_a_line() {
    let unreachable = program::run(&["bench", "echo", "ws://127.0.0.1:1/"], "");
    assert_fails(&unreachable, 1);
    let server = Sockeye::echo(&[]);
    let no_process = ["bench", "echo", &server.ws("/"), "--pid", "4194305"];
    assert_fails(&program::run(&no_process, ""), 1);
}

#[test]
fn a_server_that_does_not_speak_what_is_asked_for_is_found_out() {
    let server = Sockeye::echo(&[]);
    for transport in ["v1", "sse", "ndjson", "longpoll", "poll", "mqtt"] {
        let url = server.ws("/");
        let bench = ["bench", "fanout", &url, "--subscribers", "2", "--transport", transport];
        assert_fails(&program::run(&bench, ""), 1);
    }
}

#[test]
fn a_fan_out_without_room_for_a_time_or_a_place_to_publish_is_refused() {
    let server = Sockeye::serve(&[]);
    let url = server.ws("/c/bench");
    for options in [["--size", "10"], ["--interval", "0s"], ["--publish-to", "http://127.0.0.1:1/"]]
    {
        let bench = [&["bench", "fanout", &url, "--subscribers", "2"], &options[..]].concat();
        assert_fails(&program::run(&bench, ""), 1);
    }
    for rate in ["0", "-1", "often"] {
        let output = program::run(&["bench", "fanout", &url, &format!("--rate={rate}")], "");
        assert_eq!(output.status.code(), Some(2), "{rate}: {output:?}");
    }
}
