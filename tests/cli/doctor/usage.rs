//! Its forms: for people, for programs, for health checks, on a terminal; its guide.

use std::fs;
use std::io::{BufRead as _, BufReader};

use sockeye_tests::program::{Running, Sockeye, run};
use sockeye_tests::terminal::Terminal;

#[test]
fn people_get_a_line_for_each_check_what_to_do_and_what_works() {
    let server = Sockeye::serve(&[]);
    let output = run(&["doctor", "--idle", "1s", &server.http("/c/chat")], "");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("\nok    longpoll        held for 1.0 s\n"), "{text}");
    let last = text.lines().last().expect("a line");
    assert!(last.starts_with("16 ok, 0 warn, 0 fail, 0 skip in "), "{last}");
    let failed = run(&["doctor", "--idle", "0s", &server.http("/nowhere")], "");
    assert_eq!(failed.status.code(), Some(1));
    let text = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(text.contains("\n                      → look at the path"), "{text}");
}

#[test]
fn a_health_check_says_nothing_and_has_an_exit_code() {
    let server = Sockeye::serve(&[]);
    let admin = server.wait_for("admin on ");
    let admin = admin.split_once("admin on ").expect("it was found by that").1.to_owned();
    let quiet = |url: &str| {
        let output = run(&["doctor", "--quiet", "--timeout", "2s", url], "");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
        output.status.code()
    };
    for url in [server.http("/c/chat"), server.ws("/c/chat"), format!("{admin}/healthz")] {
        assert_eq!(quiet(&url), Some(0), "{url}");
    }
    for url in [server.http("/nowhere"), server.ws("/nowhere"), format!("{admin}/nowhere")] {
        assert_eq!(quiet(&url), Some(1), "{url}");
    }
    let (url, health) = (server.http("/c/chat"), format!("{admin}/healthz"));
    drop(server);
    assert_eq!((quiet(&url), quiet(&health)), (Some(1), Some(1)));
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [
        &["doctor"][..],
        &["doctor", "not a url"],
        &["doctor", "ftp://h/"],
        &["doctor", "--idle", "soon", "http://h/"],
        &["doctor", "--idle", "25h", "http://h/"],
        &["doctor", "--timeout", "0s", "http://h/"],
        &["doctor", "--json", "--quiet", "http://h/"],
    ] {
        let output = run(args, "");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(output.stderr.starts_with(b"error: "), "{args:?}: {output:?}");
    }
}

#[test]
fn on_a_terminal_it_shows_what_it_waits_for() {
    let server = Sockeye::serve(&[]);
    let terminal = Terminal::start(&["doctor", "--idle", "5m", &server.http("/c/chat")]);
    terminal.wait_for("websocket-idle, sse-idle, longpoll for 300 s");
}

#[test]
fn it_ends_at_ctrl_c_and_when_its_output_is_closed() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    let mut running = Running::start(&["doctor", "--idle", "5m", &url]);
    let mut lines = BufReader::new(running.stdout()).lines();
    assert!(lines.any(|line| line.expect("a line").contains("origin")));
    running.interrupt();
    let output = running.finish();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "sockeye: interrupted\n");

    let mut running = Running::start(&["doctor", "--idle", "5m", &url]);
    drop(running.stdout());
    let output = running.finish();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// Figures change from run to run; the checks, their verdicts and the words do not.
fn without_figures(text: &str) -> String {
    let mut kept = String::new();
    let mut is_in_number = false;
    for char in text.chars() {
        let is_of_number = char.is_ascii_digit() || is_in_number && char == '.';
        if is_of_number && !is_in_number {
            kept.push('N');
        }
        if !is_of_number {
            kept.push(char);
        }
        is_in_number = is_of_number;
    }
    // Spans differ in their unit.
    kept.replace("N ms", "N s")
}

#[test]
fn the_session_in_the_guide_is_what_it_prints() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tools/doctor.md");
    let guide = fs::read_to_string(guide).expect("the guide");
    let (_, session) = guide.split_once("```text\n$ sockeye doctor ").expect("a session");
    let (command, recorded) = session.split_once('\n').expect("lines");
    let recorded = recorded.split("```").next().expect("an end");
    let server = Sockeye::serve(&[]);
    let here = server.address().to_string();
    let args: Vec<_> =
        command.split(' ').map(|word| word.replace("127.0.0.1:8080", &here)).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = run(&[&["doctor"], &args[..]].concat(), "");
    let printed = String::from_utf8_lossy(&output.stdout).replace(&here, "127.0.0.1:8080");
    assert_eq!(without_figures(&printed), without_figures(recorded));
}
