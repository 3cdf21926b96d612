//! `sockeye check`: on our own servers it finds nothing, and says so in every form.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sockeye::tls::ClientTls;
use sockeye::{Client, ConnectError, DeflateConfig};
use sockeye_tests::program::{Sockeye, assert_fails, path, run};
use sockeye_tests::terminal::Terminal;
use sockeye_tests::tls::Certificates;

/// What is printed on stdout.
fn printed(args: &[&str]) -> String {
    let output = run(args, "");
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{errors}");
    text
}

#[test]
fn on_the_echo_server_nothing_is_broken_and_nothing_loose() {
    let server = Sockeye::echo(&[]);
    let text = printed(&["check", "--json", &server.ws("/")]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let cases = report["cases"].as_array().expect("cases");
    let is_fault = |case: &&Value| matches!(case["verdict"].as_str(), Some("broken" | "loose"));
    let faults: Vec<_> = cases.iter().filter(is_fault).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(cases.len() > 500, "{} cases", cases.len());
    // Without TLS the echo server speaks no HTTP/2.
    let not_judged = cases.iter().filter(|case| case["verdict"] == "not judged");
    for case in not_judged {
        assert!(case["id"].as_str().is_some_and(|id| id.starts_with("http2/")), "{case}");
    }
    assert_eq!((&report["echoes"], &report["compresses"]), (&true.into(), &true.into()));
}

/// Over HTTP/2 too, which TLS negotiates.
#[test]
fn with_tls_nothing_is_broken_and_nothing_loose() {
    let certificates = Certificates::new();
    let (certificate, key) = (certificates.certificate(), certificates.key());
    let server = Sockeye::echo(&["--tls-cert", &certificate, "--tls-key", &key]);
    let url = format!("wss://localhost:{}/", server.address().port());
    let authority = certificates.authority();
    let authority = authority.to_str().expect("UTF-8");
    let text = printed(&["check", "--json", "--skip", "limits", "--cacert", authority, &url]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let counts = &report["counts"];
    assert_eq!((&counts["broken"], &counts["loose"]), (&0.into(), &0.into()), "{text}");
    assert_eq!(counts["not_judged"], 0, "{text}");
}

#[test]
fn on_a_channel_nothing_is_broken() {
    let server = Sockeye::serve(&[]);
    // What waits for deadlines is the same as for the echo server.
    let text = printed(&["check", "--json", "--skip", "limits", &server.ws("/c/check")]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["counts"]["broken"], 0, "{text}");
}

#[test]
fn findings_are_told_as_text_as_a_page_for_junit_and_for_a_baseline() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (html, junit, known) = (file("a.html"), file("a.xml"), file("known.txt"));
    // One that takes no message of more than two fragments and 1 KiB breaks what is to be echoed.
    let server = Sockeye::echo(&["--max-message", "1k", "--max-fragments", "2"]);
    let url = server.ws("/");
    let only = ["--only", "fragmentation/text"];
    let args = [&["check"], &only[..], &["--html", &html, "--junit", &junit, &url]].concat();
    let output = run(&args, "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = "broken RFC 6455 §5.4 · text in 3 fragments";
    assert!(text.contains(line) && text.contains("expected MUST"), "{text}");
    assert!(text.contains("→ 01 81 "), "{text}");
    let page = fs::read_to_string(&html).expect("a page");
    assert!(page.contains("text in 3 fragments") && page.contains("</html>"), "{page}");
    assert!(page.contains("rfc-editor.org/rfc/rfc6455#section-5.4"), "{page}");
    let suite = fs::read_to_string(&junit).expect("a suite");
    assert!(suite.contains("<failure message=") && suite.contains("</testsuites>"), "{suite}");
    // Readers that hold to a schema want these.
    let suites = suite.matches("<testsuite").count();
    assert_eq!(suite.matches(" errors=\"0\"").count(), suites, "{suite}");

    printed(&[&["check"], &only[..], &["--write-baseline", &known, &url]].concat());
    let text = printed(&[&["check"], &only[..], &["--baseline", &known, &url]].concat());
    assert!(text.contains("0 broken") && text.contains("known"), "{text}");
    // On a server that has mended all of it, the baseline is out of date, which is not a failure.
    let mended = Sockeye::echo(&[]);
    let text = printed(&[&["check"], &only[..], &["--baseline", &known, &mended.ws("/")]].concat());
    let told = "fixed: fragmentation/text-3 passes: remove it from the baseline";
    assert!(text.contains(told), "{text}");
    // What is misspelt never counts, and is told.
    fs::write(&known, "broken fragmentation/text-3\nbroken utf8/worng-ff\n").expect("a file");
    let output = run(&[&["check"], &only[..], &["--baseline", &known, &url]].concat(), "");
    let told = "warning: utf8/worng-ff in the baseline is not a case for servers";
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(told) && !errors.contains("text-3"), "{errors}");
}

/// One line, before several hundred cases say the same.
#[test]
fn a_url_of_no_websocket_is_told_in_one_line() {
    let server = Sockeye::serve(&[]);
    for (path, told) in [
        ("/nothing", "it answers 404 Not Found to a right request; is the path right?"),
        ("/", "it answers 200 OK to a right request, as for an HTTP resource; is the path right?"),
    ] {
        let output = run(&["check", &server.ws(path)], "");
        assert_fails(&output, 2);
        let errors = String::from_utf8_lossy(&output.stderr);
        let line = format!("sockeye: no WebSocket at {}{path}: {told}\n", server.address());
        assert_eq!(errors, line);
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

/// A bar while it runs, and verdicts in colours; in a pipe neither.
#[test]
fn on_a_terminal_there_are_a_bar_and_colours() {
    let server = Sockeye::echo(&["--max-message", "1k"]);
    let url = server.ws("/");
    let args = ["check", "--only", "framing", &url];
    let (status, shown) = Terminal::start(&args).finish();
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(shown.contains(" cases, "), "{shown}");
    assert!(shown.contains("\u{1b}[36m  info \u{1b}[0m"), "{shown}");
    let output = run(&args, "");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert!(!output.stdout.contains(&0x1b), "{output:?}");
}

#[test]
fn cases_are_listed_and_none_left_is_told() {
    let list = printed(&["check", "--list"]);
    assert!(list.contains("close/code-1000") && list.contains("RFC 7692 §7.2.3"), "{list}");
    assert_eq!(run(&["check"], "").status.code(), Some(2));
    let both = run(&["check", "--listen", "127.0.0.1:0", "ws://127.0.0.1:1/"], "");
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}

#[test]
fn a_server_that_is_not_there_is_told_in_one_line() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", closed.local_addr().expect("an address"));
    drop(closed);
    assert_fails(&run(&["check", &url], ""), 1);
}

/// Connects once, and sends every message back.
async fn talk(url: &str, tls: &ClientTls) -> Result<(), ConnectError> {
    let client = Client::new(url).expect("a URL").tls(tls.clone());
    let client = client.deflate(Some(DeflateConfig::default()));
    let mut socket = client.connect().await?;
    while let Some(Ok(message)) = socket.recv().await {
        // What cannot be sent any more has a connection that ends.
        let _ = socket.send(message).await;
    }
    Ok(())
}

/// The same again and again, until connections are refused.
async fn echo(url: &str, tls: &ClientTls) {
    while !matches!(talk(url, tls).await, Err(ConnectError::Connect { .. })) {}
}

/// `sockeye check --listen` with these options, and where it listens.
fn listening(options: &[&str]) -> (Child, String) {
    let mut command = std::process::Command::new(path());
    started(command.args(["check", "--listen", "127.0.0.1:0", "--json"]).args(options))
}

/// The same of a command that starts it.
fn started(command: &mut std::process::Command) -> (Child, String) {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = command.spawn().expect("the program starts");
    let mut first = String::new();
    let mut stderr = BufReader::new(check.stderr.take().expect("stderr"));
    stderr.read_line(&mut first).expect("a line");
    let mut words = first.split([' ', ',']);
    let url = words.find(|word| word.starts_with("ws")).expect("a URL");
    // No other task reads it, and what is said later is not lost in a closed pipe.
    thread::spawn(move || stderr.lines().for_each(drop));
    (check, url.to_owned())
}

/// Connections that ask for nothing take descriptors until they are cases: the check waits for room, and goes on.
#[test]
fn without_descriptors_a_check_of_a_client_goes_on() {
    let line = "ulimit -n 48 && exec \"$0\" \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", line]).arg(path()).args(["check", "--listen", "127.0.0.1:0", "--json"]);
    command.args(["--only", "close/code,endings", "--timeout", "300ms"]);
    let (check, url) = started(&mut command);
    let address = url.trim_start_matches("ws://").to_owned();
    // The first that is a client shows what it does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(talk(&url, &ClientTls::new())).expect("a WebSocket");
    let silent = || TcpStream::connect(&address).expect("the system accepts it");
    let silent: Vec<_> = (0..120).map(|_| silent()).collect();
    let (report, _) = report_of(check);
    drop(silent);
    let counts = &report["counts"];
    assert_eq!(report["interrupted"], false, "{report}");
    assert_eq!((&counts["broken"], &counts["loose"]), (&0.into(), &0.into()), "{report}");
    assert!(counts["not_judged"].as_u64().is_some_and(|count| count > 10), "{counts}");
}

/// What it prints, and how it ends.
fn report_of(mut check: Child) -> (Value, Option<i32>) {
    let mut text = String::new();
    check.stdout.take().expect("stdout").read_to_string(&mut text).expect("a report");
    let status = check.wait().expect("an end");
    (serde_json::from_str(&text).unwrap_or_else(|_| panic!("JSON: {text}")), status.code())
}

/// A client with several connections at a time, in a thread of its own.
fn client(url: String, tls: ClientTls) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            tokio::join!(echo(&url, &tls), echo(&url, &tls), echo(&url, &tls), echo(&url, &tls));
        });
    })
}

#[test]
fn of_our_own_client_nothing_is_broken_and_nothing_loose() {
    let (check, url) = listening(&[]);
    let client = client(url, ClientTls::new());
    let (report, code) = report_of(check);
    client.join().expect("the client ends");
    let cases = report["cases"].as_array().expect("cases");
    let is_fault = |case: &&Value| matches!(case["verdict"].as_str(), Some("broken" | "loose"));
    let faults: Vec<_> = cases.iter().filter(is_fault).collect();
    assert!(faults.is_empty() && code == Some(0), "{faults:#?}");
    assert!(cases.len() > 400, "{} cases", cases.len());
}

#[test]
fn clients_are_checked_over_tls_too() {
    let certificates = Certificates::new();
    let (certificate, key) = (certificates.certificate(), certificates.key());
    let (check, url) =
        listening(&["--skip", "endings", "--tls-cert", &certificate, "--tls-key", &key]);
    assert!(url.starts_with("wss://"), "{url}");
    let tls = ClientTls::new().without_system_roots();
    let tls = tls.root_file(certificates.authority()).expect("its certificate");
    let client = client(url, tls);
    let (report, code) = report_of(check);
    client.join().expect("the client ends");
    let counts = &report["counts"];
    assert_eq!((&counts["broken"], &counts["loose"]), (&0.into(), &0.into()), "{report}");
    assert_eq!(code, Some(0));
    assert!(counts["passed"].as_u64().is_some_and(|passed| passed > 300), "{counts}");
}

/// What was found so far is not lost.
#[test]
fn an_interrupted_check_of_a_client_reports_what_it_has() {
    let (check, url) = listening(&["--only", "framing,endings/half-close"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        // The first shows what the client does, the others are cases.
        for _ in 0..4 {
            talk(&url, &ClientTls::new()).await.expect("a WebSocket");
        }
    });
    let id = Pid::from_child(&check);
    kill_process(id, Signal::INT).expect("it runs");
    let (report, code) = report_of(check);
    assert_eq!((&report["interrupted"], code), (&true.into(), Some(1)), "{report}");
    let counts = &report["counts"];
    assert_eq!((&counts["broken"], &counts["loose"]), (&0.into(), &0.into()), "{report}");
    assert!(counts["passed"].as_u64().is_some_and(|count| count > 0), "{counts}");
    assert!(counts["not_judged"].as_u64().is_some_and(|count| count > 100), "{counts}");
}

/// So 1 always means that a rule is broken.
#[test]
fn wrong_usage_ends_with_2() {
    let baseline = std::env::temp_dir().join(format!("no-baseline-{}", std::process::id()));
    let baseline = baseline.display().to_string();
    for (args, told) in [
        (&["--only", "nosuch"][..], "no case is left by --only and --skip"),
        (&["--baseline", &baseline], "cannot read the baseline"),
        (&["--html", "/"], "cannot write /: "),
        (&["--junit", "/nowhere/check.xml"], "cannot write /nowhere/check.xml: "),
    ] {
        let output = run(&[&["check", "ws://127.0.0.1:1"], args].concat(), "");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(told), "{errors}");
    }
}

#[test]
fn the_cases_that_are_chosen_are_listed() {
    let listed = printed(&["check", "--list", "--only", "utf8/wrong"]);
    let cases: Vec<_> = listed.lines().filter(|line| line.starts_with("  ")).collect();
    assert!(!cases.is_empty(), "{listed}");
    assert!(cases.iter().all(|case| case.starts_with("  utf8/wrong")), "{listed}");
}
